"""Tests of whether a difference is more than chance, intervals, and how many samples or runs would tell.

Functions of numpy arrays that return plain numbers; each names its source. They know no run, no torch and no terminal.
A difference is always that of b minus a. What is sampled has a generator of its own: the same input is the same output.
A new test belongs here once `tests/metrics/significance` simulates it on data of known truth: how often it rejects
where nothing differs, how often its interval holds the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlworkflow.registry import lazy_names

if TYPE_CHECKING:
    from dlworkflow.metrics.significance.answers import Groups as Groups
    from dlworkflow.metrics.significance.answers import Interval as Interval
    from dlworkflow.metrics.significance.answers import Mcnemar as Mcnemar
    from dlworkflow.metrics.significance.answers import difference_interval as difference_interval
    from dlworkflow.metrics.significance.answers import mcnemar as mcnemar
    from dlworkflow.metrics.significance.answers import samples_needed as samples_needed
    from dlworkflow.metrics.significance.answers import two_groups as two_groups
    from dlworkflow.metrics.significance.several import holm as holm
    from dlworkflow.metrics.significance.several import letters as letters
    from dlworkflow.metrics.significance.words import chance as chance

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "answers": (
            *("Groups", "Interval", "Mcnemar"),
            *("difference_interval", "mcnemar", "samples_needed", "two_groups"),
        ),
        "several": ("holm", "letters"),
        "words": ("chance",),
    },
)
