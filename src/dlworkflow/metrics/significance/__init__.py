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
    from dlworkflow.metrics.significance.bootstrap import bootstrap_difference as bootstrap_difference
    from dlworkflow.metrics.significance.bootstrap import bootstrap_interval as bootstrap_interval
    from dlworkflow.metrics.significance.bootstrap import bootstrap_intervals as bootstrap_intervals
    from dlworkflow.metrics.significance.bootstrap import bootstrap_pairs as bootstrap_pairs
    from dlworkflow.metrics.significance.optimism import optimism_of_best as optimism_of_best
    from dlworkflow.metrics.significance.optimism import optimism_of_draws as optimism_of_draws
    from dlworkflow.metrics.significance.scores import Score as Score
    from dlworkflow.metrics.significance.scores import of_f1_macro as of_f1_macro
    from dlworkflow.metrics.significance.scores import of_f1_macro_labels as of_f1_macro_labels
    from dlworkflow.metrics.significance.scores import of_mean as of_mean
    from dlworkflow.metrics.significance.scores import of_r2 as of_r2
    from dlworkflow.metrics.significance.scores import of_roc_auc as of_roc_auc
    from dlworkflow.metrics.significance.scores import of_root_mean as of_root_mean
    from dlworkflow.metrics.significance.seeds import Pairs as Pairs
    from dlworkflow.metrics.significance.seeds import SeedTest as SeedTest
    from dlworkflow.metrics.significance.seeds import Welch as Welch
    from dlworkflow.metrics.significance.seeds import over_seeds as over_seeds
    from dlworkflow.metrics.significance.seeds import permutation_of_pairs as permutation_of_pairs
    from dlworkflow.metrics.significance.seeds import permutations_of_runs as permutations_of_runs
    from dlworkflow.metrics.significance.seeds import seed_rule as seed_rule
    from dlworkflow.metrics.significance.seeds import seeds_needed as seeds_needed
    from dlworkflow.metrics.significance.seeds import welch as welch
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
        "bootstrap": ("bootstrap_difference", "bootstrap_interval", "bootstrap_intervals", "bootstrap_pairs"),
        "optimism": ("optimism_of_best", "optimism_of_draws"),
        "scores": ("Score", "of_f1_macro", "of_f1_macro_labels", "of_mean", "of_r2", "of_roc_auc", "of_root_mean"),
        "seeds": (
            *("Pairs", "SeedTest", "Welch"),
            *("over_seeds", "permutation_of_pairs", "permutations_of_runs", "seed_rule", "seeds_needed", "welch"),
        ),
        "several": (
            "holm",
            "letters",
        ),
        "words": ("chance",),
    },
)
