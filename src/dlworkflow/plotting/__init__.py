"""Every figure: plain rows, arrays and tensors in, a matplotlib `Figure` out; nothing is shown, nothing is read."""

from __future__ import annotations

from dlworkflow.plotting.boundary import plot_decision_regions
from dlworkflow.plotting.curves import plot_learning_rate, plot_loss_curves, plot_lr_search, plot_run_curves
from dlworkflow.plotting.dataset import (
    display_random_images,
    plot_class_balance,
    plot_image_pairs,
    plot_points,
    plot_predictions,
)
from dlworkflow.plotting.pictures import (
    plot_predicted_images,
    plot_prediction_grid,
    plot_probability_bars,
    plot_worst_errors,
)
from dlworkflow.plotting.results import plot_accuracy_bars, plot_confusion_matrix, plot_reliability
from dlworkflow.plotting.style import save_figure
from dlworkflow.plotting.sweeps import plot_sweep
from dlworkflow.plotting.teaching import plot_activations, plot_convolution, plot_feature_maps, plot_loss_surface

__all__ = [
    "display_random_images",
    "plot_accuracy_bars",
    "plot_activations",
    "plot_class_balance",
    "plot_confusion_matrix",
    "plot_convolution",
    "plot_decision_regions",
    "plot_feature_maps",
    "plot_image_pairs",
    "plot_learning_rate",
    "plot_loss_curves",
    "plot_loss_surface",
    "plot_lr_search",
    "plot_points",
    "plot_predicted_images",
    "plot_prediction_grid",
    "plot_predictions",
    "plot_probability_bars",
    "plot_reliability",
    "plot_run_curves",
    "plot_sweep",
    "plot_worst_errors",
    "save_figure",
]
