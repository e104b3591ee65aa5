"""The helpers of the course under their own names, and its worked examples. May use every room but the command line."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "helpers": (
            "eval_model",
            "make_predictions",
            "plot_decision_boundary",
            "plot_transformed_images",
            "pred_and_plot_image",
            "print_train_time",
            "walk_through_dir",
        ),
    },
)
