"""Which figures a run can have, as names alone: the command line lists them without importing what draws them."""

from __future__ import annotations

OF_A_SPLIT = ("confusion", "calibration", "predictions", "errors")
"""Figures of a scored split."""

OF_THE_HISTORY = ("curves", "lr")
"""Figures for which no model is needed."""

KINDS = (*OF_THE_HISTORY, "boundary", "fit", *OF_A_SPLIT)
"""Figures of one run, in the order in which one looks at them."""
