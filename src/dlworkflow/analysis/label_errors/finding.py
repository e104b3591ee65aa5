"""The labels of a data set that are probably wrong, worst first, by all signs of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dlworkflow.analysis.label_errors.copies import contradictions, copies_in_memory, copies_of_files
from dlworkflow.analysis.label_errors.correcting import Corrected, csv_rows, write_corrected, write_suspects
from dlworkflow.analysis.label_errors.out_of_fold import Checked, checked_samples
from dlworkflow.analysis.label_errors.outliers import outliers_among
from dlworkflow.analysis.label_errors.planning import check_extra, plan_check, subject_of
from dlworkflow.analysis.label_errors.ranking import rank_labels
from dlworkflow.analysis.scored_data import load_splits
from dlworkflow.config import from_mapping
from dlworkflow.data import input_files
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.splits import Splits
from dlworkflow.errors import RunError
from dlworkflow.files.notebook import Shown
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.runs import Run
from dlworkflow.runs.labels import COPY, DOUBTFUL, OUTLIER, PREDICTED, Labels, Suspect, is_for
from dlworkflow.training.sweep.folder import FINISHED, Plan, Sweep
from dlworkflow.training.sweep.folds import place_of, scored_at
from dlworkflow.training.sweep.running import run_sweep


@dataclass(frozen=True)
class LabelErrors(Shown):
    """The labels of a data set that are probably wrong.

    `found` has the suspects, worst first, and what they rest on; `splits` are the data, `config` its settings; `sweep`
    is the cross-validation whose models predicted the samples.
    """

    found: Labels
    splits: Splits = field(repr=False)
    sweep: Sweep
    config: dict[str, Any] = field(repr=False)

    @property
    def suspects(self) -> list[Suspect]:
        """A row for each label that is probably wrong, the worst first."""
        return self.found.suspects

    def __repr__(self) -> str:
        name, n = self.splits.name, self.found.samples
        return f"LabelErrors({name!r}: {len(self.suspects):,} suspects among {n:,} labels)"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: the suspects."""
        return csv_rows(self.suspects)

    def confused(self, most: int = 5) -> list[dict[str, Any]]:
        """Return the most frequent pairs among labels that are predicted otherwise: label, suggested, count."""
        pairs = Counter((row["label"], row["suggested"]) for row in self.suspects if is_for(row, PREDICTED))
        return [
            {"label": label, "suggested": suggested, "count": n} for (label, suggested), n in pairs.most_common(most)
        ]

    def write_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the suspects as CSV: file, label, suggested, score, reason, split, index. Raises as `write_page`."""
        return write_suspects(self.suspects, path, data=self.data_files(), overwrite=overwrite)

    def write_corrected(
        self, path: str | os.PathLike[str], *, accept: str | os.PathLike[str] | None = None, overwrite: bool = False
    ) -> Corrected:
        """Write the data as a CSV file with the suggested labels; see `correcting.write_corrected`."""
        given: dict[str, Any] = {"accept": accept, "config": self.config, "data": self.data_files()}
        return write_corrected(self.splits, self.suspects, path, **given, overwrite=overwrite)

    def write_page(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a page with the images of the suspects, HTML or Markdown.

        Raises ConfigError for a file that is there (without `overwrite`) or that is inside the data.
        """
        from dlworkflow.analysis.report.of_labels import write_labels_page

        return write_labels_page(self.found, self.splits, path, data=self.data_files(), overwrite=overwrite)

    def data_files(self) -> list[Path]:
        """Return the files and folders of the data, in which nothing is ever written."""
        return [*input_files(self.config)]

    def store(self, *runs: Run) -> None:
        """Write the suspects into the cross-validation's folder and those of runs on the same data."""
        for run in (Run(self.sweep.path), *runs):
            run.write_found(self.found, {"labels": csv_rows(self.suspects)})


def find_label_errors(
    data: Any,
    *,
    folds: int = 5,
    repeats: int = 1,
    all_splits: bool = False,
    backbone: str | None = None,
    runs_dir: str | os.PathLike[str] | None = None,
    name: str | None = None,
    offline: bool = False,
    jobs: int = 1,
    device: str = "auto",
    **settings: Any,
) -> LabelErrors:
    """Return the labels of a data set that are probably wrong.

    `data` is the name of a data set or a path, of which a model is cross-validated (`settings` are those of
    `cross_validate`; without `model` it is one that suits the data); or a run, whose settings are cross-validated; or a
    cross-validation, which is finished first where it is not, and whose stored predictions are taken. `all_splits`
    checks the labels of the test split, too; `backbone` and the rest is as for `label_errors_of`. The run that was
    named keeps what was found for its report. Raises DlwError where cleanlab is not installed, and DataError for
    numbers, which are no labels.
    """
    check_extra()
    subject = subject_of(data, runs_dir)
    if isinstance(subject, Sweep):
        sweep = subject
        run_sweep(sweep)
    else:
        given = [from_mapping(settings)]
        check = plan_check(subject, given, folds=folds, repeats=repeats, offline=offline)
        sweep = Sweep.create(runs_dir, name or check.plan.stem("labels"), check.plan)
        run_sweep(sweep, check.settings.model_copy(update={"jobs": jobs}))
    found = label_errors_of(sweep, all_splits=all_splits, backbone=backbone, device=device)
    found.store(*([subject] if isinstance(subject, Run) else []))
    return found


def label_errors_of(
    sweep: Sweep,
    *,
    all_splits: bool = False,
    backbone: str | None = None,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> LabelErrors:
    """Return the labels that are probably wrong by a cross-validation that has finished; see `find_label_errors`.

    Outliers are looked for among images, in the features of its first model, or of the published weights of `backbone`,
    which are on this machine already. Raises RunError where a fold has no finished run.
    """
    check_extra()
    plan = sweep.read()
    first = _first_run(sweep, plan)
    whole = load_splits(first, offline=True, whole=True)
    checked = checked_samples(sweep, plan, whole, all_splits=all_splits, device=device)
    labels, probabilities = (
        np.concatenate([getattr(one, key) for one in checked]) for key in ("labels", "probabilities")
    )
    predicted = probabilities >= 0.5 if whole.task == "multilabel" else probabilities.argmax(axis=1)
    agrees = (predicted == labels).reshape(len(labels), -1).all(axis=1)
    ranking = rank_labels(labels, probabilities)
    config = first.summary().config["data"]
    outliers, notes = outliers_among(checked, whole, first, backbone=backbone, device=device)
    samples = _Samples.of(checked, whole, labels, predicted)
    notes += too_little_learned(samples.labels, agrees)
    copies = contradictions(samples.labels, _copies(checked, [*input_files(config)], on_progress))
    chosen = [n for n in range(len(labels)) if ranking.flagged[n] or outliers[n] or n in copies or not agrees[n]]
    suspects: list[Suspect] = []
    for n in sorted(chosen, key=lambda n: ranking.scores[n]):
        reasons = [PREDICTED] if ranking.flagged[n] else [DOUBTFUL] if not agrees[n] else []
        reasons += [f"{COPY} {samples.name(other)} ({samples.labels[other]})" for other in copies.get(n, ())]
        reasons += [OUTLIER] if outliers[n] else []
        suspects.append(samples.row(n, float(ranking.scores[n]), None if agrees[n] else samples.predicted[n], reasons))
    found = Labels(
        run=sweep.name,
        weights=scored_at(first.summary()),
        epoch=None,
        split="train",
        samples=len(labels),
        estimated=ranking.estimated,
        agreement=float(agrees.mean()),
        folds=len({place_of(point, plan)[0] for point in plan.points}),
        suspects=suspects,
        notes=notes,
    )
    return LabelErrors(found, whole, sweep, config)


def too_little_learned(labels: Sequence[str], agrees: np.ndarray) -> list[str]:
    """Return a warning where the predictions agree with no more labels than the most frequent one, or with few.

    Where they agree with fewer than half, most samples are suspects, and labels are rarely as bad as that.
    """
    answer, most = Counter(labels).most_common(1)[0]
    low, _ = wilson_interval(int(agrees.sum()), len(agrees))
    found = f"the models predict {agrees.mean():.2%} of the labels"
    if low <= most / len(labels):
        found += f", and always answering {answer or NO_LABELS!r} {most / len(labels):.2%}"
    elif agrees.mean() >= 0.5:
        return []
    return [
        f"{found}: they have learned too little for this list to mean anything; train longer (--epochs), or choose "
        "another --model"
    ]


@dataclass(frozen=True)
class _Samples:
    """Where each checked sample is, and its labels in words."""

    places: list[tuple[str, int, str | None]]
    labels: list[str]
    predicted: list[str]

    @classmethod
    def of(cls, checked: Sequence[Checked], whole: Splits, labels: np.ndarray, predicted: np.ndarray) -> _Samples:
        places: list[tuple[str, int, str | None]] = []
        for one in checked:
            files = [None] * len(one.indices) if one.files is None else [*map(str, one.files)]
            places += [(one.split, int(index), file) for index, file in zip(one.indices, files, strict=True)]
        return cls(places, [*map(whole.label_text, labels)], [*map(whole.label_text, predicted)])

    def name(self, n: int) -> str:
        split, index, file = self.places[n]
        return f"{split} sample {index}" if file is None else Path(file).name

    def row(self, n: int, score: float, suggested: str | None, reasons: Sequence[str]) -> Suspect:
        split, index, file = self.places[n]
        reason = "; ".join(reasons)
        return Suspect(
            index=index, split=split, file=file, label=self.labels[n], suggested=suggested, score=score, reason=reason
        )


def _first_run(sweep: Sweep, plan: Plan) -> Run:
    for point in plan.points:
        if point.run is not None and point.status == FINISHED:
            return sweep.run(point.run)
    reasons = [point.reason for point in plan.points if point.reason]
    raise RunError(f"{sweep.name}: no fold has finished{f'; the first: {reasons[0]}' if reasons else ''}")


def _copies(
    checked: Sequence[Checked], data: Sequence[Path], on_progress: OnProgress | None
) -> Iterator[Sequence[int]]:
    """Yield the groups of copies among all checked samples, by their places in the order of `checked`."""
    if all(one.files is not None for one in checked) and data:
        files = [file for one in checked for file in one.files or ()]
        yield from copies_of_files(files, data[0], on_progress)
        return
    yield from copies_in_memory([(one.dataset, one.indices) for one in checked])
