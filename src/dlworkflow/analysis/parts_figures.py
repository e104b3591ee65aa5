"""The figures of what `dlw evaluate --slices` and `--robustness` have stored. Scores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from dlworkflow import plotting
from dlworkflow.analysis.figure_marks import NothingToDrawError, by_name, fits
from dlworkflow.errors import RunError, few
from dlworkflow.files.text import shell_command
from dlworkflow.runs import Found, Run
from dlworkflow.runs.robustness import RobustnessScores
from dlworkflow.runs.slices import SliceScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.analysis.scored_data import Part

F = TypeVar("F", bound=Found)

_CLUSTERS = _EXAMPLES = 5
"""Clusters that one figure shows, those of the lowest score, and images of each."""


@by_name
def draw_slices(run: Run) -> Figure:
    """Draw the score of each slice of the test split, as `dlw evaluate --slices` has found it."""
    found = _found(run, SliceScores, "--slices")
    return plotting.plot_slices(found.slices, found.score or 0.0, metric=found.metric)


@by_name
@fits(lambda summary: summary.kind == "image")
def draw_clusters(run: Run, part: Part) -> Figure:
    """Draw the images in the middle of each cluster that `dlw evaluate --slices` has found."""
    from dlworkflow.analysis.found_text import score_text
    from dlworkflow.data.protocol import original_of
    from dlworkflow.plotting.grid import LONGEST_SIDE

    found = _found(run, SliceScores, "--slices")
    clusters = [row for row in found.slices if row["examples"]]
    n = len(part.dataset)  # type: ignore[arg-type]
    if not clusters or n != found.samples or part.name != found.split:
        raise NothingToDrawError(
            f"{run.name} has no clusters of these samples: `dlw evaluate {run.name} --slices` first"
        )
    worst = sorted(clusters, key=lambda row: row["score"] or 0.0, reverse=found.metric != "accuracy")[:_CLUSTERS]
    shown = [(row, index) for row in worst for index in row["examples"][:_EXAMPLES]]
    images = [original_of(part.dataset, index, longest=LONGEST_SIDE) for _, index in shown]
    titles = [f"cluster {row['slice']}: {score_text(row['score'], found.metric)} of {row['n']:,}" for row, _ in shown]
    return plotting.plot_predicted_images(images, titles, columns=_EXAMPLES)


@by_name
@fits(lambda summary: summary.kind == "image")
def draw_robustness(run: Run) -> Figure:
    """Draw the score by the strength of each corruption, as `dlw evaluate --robustness` has found it."""
    found = _found(run, RobustnessScores, "--robustness")
    return plotting.plot_robustness({run.name: (found.score or 0.0, found.corruptions)}, metric=found.metric)


def draw_robustness_of(runs: Sequence[Run], labels: Mapping[str, str]) -> Figure:
    """Draw what several runs score on the same corrupted images, by the label of each run's path.

    Raises RunError with the command where none is stored, and where they are of different images.
    """
    found = {run: one for run in runs if (one := run.found(RobustnessScores)) is not None}
    if missing := [run.name for run in runs if run not in found]:
        command = shell_command(["dlw", "evaluate", missing[0], "--robustness"])
        raise RunError(f"{few(missing)} have no scores on corrupted images; store those of each run with: {command}")
    if len({(each.samples_fingerprint, each.metric) for each in found.values()}) > 1:
        raise RunError(
            "these runs were scored on different images: no figure compares them; name runs of the same data"
        )
    metric = next(iter(found.values())).metric
    scores = {labels[str(run.path)]: (one.score or 0.0, one.corruptions) for run, one in found.items()}
    return plotting.plot_robustness(scores, metric=metric)


def _found(run: Run, kind: type[F], flag: str) -> F:
    """Return what was found about the test split. Raises NothingToDrawError with the command where nothing was."""
    found = run.found(kind)
    if found is None:
        raise NothingToDrawError(f"{run.name} has no {kind.file} to draw yet: `dlw evaluate {run.name} {flag}` first")
    return found
