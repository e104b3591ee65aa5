"""Every figure: plain rows, arrays and tensors in, a matplotlib `Figure` out; nothing is shown, nothing is read."""

from __future__ import annotations

from dlworkflow.plotting.pictures import plot_predicted_images
from dlworkflow.plotting.style import save_figure

__all__ = ["plot_predicted_images", "save_figure"]
