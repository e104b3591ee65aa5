"""Drawing the figures of a run by name: which suit it, and what each needs, loaded once; imports no torch by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow import plotting
from dlworkflow.analysis.run_figures import FIGURES, GRID, NothingToDrawError
from dlworkflow.errors import DataError, RunError
from dlworkflow.runs import Run, trained_epochs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.analysis.scored_data import Part
    from dlworkflow.data.splits import Splits
    from dlworkflow.engine.loop import Evaluation
    from dlworkflow.inference.predictor import Predictor
    from dlworkflow.metrics.report import EvaluationReport
    from dlworkflow.plotting.points import Palette

_OF_A_SPLIT = {"part", "evaluation", "report"}
_OF_WEIGHTS = {"predictor", "evaluation", "report"}


@dataclass
class Material:
    """What the figures of a run may need, by the names of their parameters; each is loaded on first use."""

    run: Run
    split: str = "test"
    weights: str = "best"
    data_dir: str | None = None
    n: int = GRID
    seed: int = 42
    palette: Palette = None
    method: str = "pca"
    thumbnails: bool = False

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the run. Raises RunError where there are none, NothingToDrawError for an untrained model."""
        rows = self.run.history()
        if rows and not trained_epochs(rows):
            raise NothingToDrawError(f"{self.run.name} is not trained (0 epochs): it has no curves to draw")
        if not rows:
            raise RunError(f"{self.run.name} has not finished an epoch yet: there is nothing to draw")
        return rows

    @cached_property
    def splits(self) -> Splits:
        """The data that the run was trained on."""
        from dlworkflow.analysis.scored_data import load_splits

        return load_splits(self.run, data_dir=self.data_dir, offline=True)

    @cached_property
    def predictor(self) -> Predictor:
        """The model of the run with the chosen weights."""
        from dlworkflow.inference.predictor import Predictor

        return Predictor.from_run(self.run, weights=self.weights)

    @cached_property
    def part(self) -> Part:
        """The chosen split."""
        from dlworkflow.analysis.scored_data import load_part

        return load_part(self.run, self.split, data_dir=self.data_dir, offline=True)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Outputs and labels of the chosen split."""
        from dlworkflow.analysis import evaluation

        return evaluation.evaluate_part(self.run, self.part, weights=self.weights)

    @cached_property
    def report(self) -> EvaluationReport:
        """The metrics and the samples of the chosen split."""
        from dlworkflow.analysis.evaluation import report_part

        return report_part(self.run, self.part, self.evaluation)

    def draw(self, kind: str) -> Figure:
        """Draw one figure; where it needs weights, its title names their epoch."""
        from dlworkflow.plotting.style import settle

        needs = FIGURES.needs(kind)
        figure = FIGURES[kind](**{name: getattr(self, name) for name in needs})
        if needs & _OF_WEIGHTS:
            row = self.run.summary().row(self.weights)
            title = f"{self.weights} epoch: {int(row['epoch'])}" if row else f"{self.weights} weights"
            figure.suptitle(title, fontsize=9)
            settle(figure)
        return figure


def draw(run: Run, kind: str, *, split: str = "test", data_dir: str | None = None, weights: str = "best") -> Figure:
    """Draw one figure of a run, with its `best` or `last` weights where it needs any.

    Raises ConfigError for an unknown kind and DataError for one that does not fit the run.
    """
    [(_, figure)] = draw_all(run, [kind], split=split, data_dir=data_dir, weights=weights)
    return figure


def draw_all(
    run: Run,
    kinds: Sequence[str] | None = None,
    *,
    split: str = "test",
    data_dir: str | None = None,
    weights: str = "best",
    **chosen: Any,
) -> Iterator[tuple[str, Figure]]:
    """Draw several figures of a run, by default `fitting_kinds`, as (kind, figure); the run is scored once for all.

    An empty figure (errors, where there are none) is left out unless it is named. `chosen` are `n`, the number of
    images in a grid (9), `seed`, by which they are chosen (42), `palette`, the colours of a boundary's classes, and of
    a map `method` (pca) and `thumbnails` (False).
    Raises as `draw` does.
    """
    material = Material(run, split, weights, data_dir, **chosen)
    for kind in kinds or fitting_kinds(run):
        if not fits(run, kind):
            shape = run.summary().in_shape
            sample = f"{shape[0]:,} numbers" if len(shape) == 1 else "x".join(map(str, shape))
            possible = ", ".join(kind for kind in FIGURES.names() if fits(run, kind))
            raise DataError(
                f"figure {kind!r} does not fit {run.name}, whose samples are {sample}; possible: {possible}"
            )
        try:
            yield kind, material.draw(kind)
        except NothingToDrawError:
            if kinds:
                raise


def draw_evaluation(
    run: Run, part: Part, result: Evaluation, report: EvaluationReport, *, weights: str = "best"
) -> list[Path]:
    """Draw the figures of an evaluation into the run's folder; return their paths."""
    material = Material(run, part.name, weights)
    material.part, material.evaluation, material.report = part, result, report
    paths = []
    for kind in fitting_kinds(run):
        if FIGURES.needs(kind) & _OF_A_SPLIT:
            try:
                paths.append(plotting.save_figure(material.draw(kind), run.plot_path(file_stem(kind, part.name))))
            except NothingToDrawError:
                continue
    return paths


def fits(run: Run, kind: str) -> bool:
    """Return whether a figure suits a run. Raises ConfigError for an unknown one."""
    suits = getattr(FIGURES[kind], "fits", None)
    return suits is None or suits(run.summary())


def fitting_kinds(run: Run) -> list[str]:
    """Return the figures that suit a run, without those that are drawn only by name."""
    return [kind for kind in FIGURES.names() if fits(run, kind) and not getattr(FIGURES[kind], "by_name", False)]


def file_stem(kind: str, split: str = "test", weights: str = "best") -> str:
    """Return the name of a figure's file: with the split and the weights where it is of other than the usual ones."""
    needs = FIGURES.needs(kind)
    stem = kind if split == "test" or not needs & _OF_A_SPLIT else f"{kind}-{split}"
    return stem if weights == "best" or not needs & _OF_WEIGHTS else f"{stem}-{weights}"
