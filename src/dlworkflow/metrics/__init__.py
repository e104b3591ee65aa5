"""Numbers computed from predictions and labels: `functions` one at a time, `report` all of an evaluation."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "functions": (
            "accuracy_fn",
            "classification_report",
            "confusion_matrix",
        ),
    },
)
