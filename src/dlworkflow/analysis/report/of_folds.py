"""The folds of a cross-validation together, as `dlw crossval` stored them: their means and all predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from dlworkflow.analysis.report.document import Section, Table
from dlworkflow.files.numbers import number, percent
from dlworkflow.runs import Run, list_runs
from dlworkflow.runs.cells import headings
from dlworkflow.runs.evaluation import FoldsSummary
from dlworkflow.runs.evaluation_text import fold_columns, fold_rows, fold_sentence, metric_columns, metric_rows
from dlworkflow.runs.naming import OUT_OF_FOLD
from dlworkflow.runs.stored import unless_damaged


def stored_folds(runs: Sequence[Run], faults: list[str]) -> FoldsSummary | None:
    """Return what was found by the cross-validation whose runs these are; None of other runs, and of some of its."""
    folder = runs[0].path.parent
    found = unless_damaged(partial(Run(folder).found, FoldsSummary), faults)
    if found is None or found.split != OUT_OF_FOLD or not found.folds:
        return None
    return found if {run.path for run in list_runs(folder)} == {run.path for run in runs} else None


def folds_lead(found: FoldsSummary) -> list[str]:
    """Return the means over folds, the accuracy of all predictions with its interval, and what it is to be above."""
    lines = [f"{fold_sentence(found).capitalize()}."]
    if found.accuracy_interval_95 is not None:
        low, high = map(percent, found.accuracy_interval_95)
        key = "subset_accuracy" if found.thresholds else "accuracy"
        lines.append(
            f"The {key.replace('_', ' ')} of all predictions together is {percent(found.metrics[key])} (95 % "
            f"confidence interval {low} to {high}); always answering {found.baseline_answer!r} scores "
            f"{percent(found.baseline)}."
        )
    if found.boosting is not None:
        score = percent(found.boosting) if found.classes else f"a loss of {number(found.boosting)}"
        lines.append(f"scikit-learn's gradient boosting on the same folds: {score}.")
    return lines


def folds_section(found: FoldsSummary) -> Section:
    """Return the scores of each fold with their means, and those of all predictions with their intervals."""
    title = f"Scores on the samples held out, of the {found.weights} weights of each fold"
    each = Table(title, headings(fold_columns(found)), fold_rows(found))
    columns = metric_columns(found) | {"what": "all folds"}
    return Section("Cross-validation", [each, Table("All predictions together", columns, metric_rows(found))])
