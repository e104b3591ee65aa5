"""Files of weights: reading and writing them, published ones, and models that are built to fit them."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "checkpoint": (
            "load_model",
            "load_weights",
            "save_model",
        ),
    },
)
