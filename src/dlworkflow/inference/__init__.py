"""Predictions of a finished run or of saved weights: `inputs` reads what a user gave, `predictor` answers."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "predictor": (
            "Prediction",
            "Predictor",
            "predict_images",
        ),
    },
)
