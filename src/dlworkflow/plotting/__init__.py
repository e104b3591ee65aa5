"""Every figure: plain rows, arrays and tensors in, a matplotlib `Figure` out; nothing is shown, nothing is read."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "boundary": ("plot_decision_regions",),
        "curves": ("plot_learning_rate", "plot_loss_curves", "plot_lr_search", "plot_run_curves"),
        "dataset": (
            *("display_random_images", "plot_class_balance", "plot_image_pairs", "plot_points"),
            "plot_predictions",
        ),
        "embedding": ("plot_embedding", "plot_thumbnails"),
        "heat_maps": ("plot_heat_maps",),
        "images": (
            *("plot_predicted_images", "plot_prediction_bars", "plot_prediction_grid", "plot_probability_bars"),
            "plot_worst_errors",
        ),
        "parts": ("plot_robustness", "plot_slices"),
        "results": ("plot_accuracy_bars", "plot_confusion_matrix", "plot_coverage", "plot_reliability"),
        "scores": ("plot_precision_recall", "plot_predicted_values"),
        "style": ("save_figure",),
        "sweeps": ("plot_sweep",),
        "tradeoff": ("plot_tradeoff",),
        "teaching": ("plot_activations", "plot_convolution", "plot_feature_maps", "plot_loss_surface"),
    },
)
