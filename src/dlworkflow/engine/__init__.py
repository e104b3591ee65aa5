"""The training loop and its parts: plain values in, numbers out. Knows no settings, no run folder and no terminal.

`loop` has train_step, test_step, train and evaluate. A loss, an optimizer or a schedule is added in the table of its
file.
"""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "loop": (
            "Epoch",
            "Evaluation",
            "evaluate",
            "test_step",
            "train",
            "train_step",
        ),
        "scores": ("Scores",),
        "batch_check": ("check_batch",),
        "device": ("choose_device",),
        "random_state": ("set_seeds",),
    },
)
