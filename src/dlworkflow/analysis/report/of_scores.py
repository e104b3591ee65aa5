"""What a run scores on its test split: sentences, the tables of metrics and classes, and the figures of predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlworkflow.analysis.figures import Material, fitting_kinds
from dlworkflow.analysis.report.document import Block, Fold, Picture, Points, Section, Table
from dlworkflow.analysis.report.pictures import of_figure
from dlworkflow.analysis.run_figures import FIGURES, NothingToDrawError
from dlworkflow.errors import CodeError, DlwError
from dlworkflow.files.numbers import number, percent
from dlworkflow.runs import EvaluationSummary, Summary, leakage_warnings
from dlworkflow.runs.evaluation_text import (
    MOST_CLASSES,
    PAIR_COLUMNS,
    class_columns,
    class_rows,
    metric_columns,
    metric_rows,
    pair_rows,
    sentences,
)

if TYPE_CHECKING:
    from dlworkflow.metrics.report import EvaluationReport

_log = logging.getLogger("dlworkflow")

_OF_SAMPLES = ("predictions", "errors")  # the report has their images one by one


@dataclass(frozen=True)
class Scored:
    """What the best weights score on the test split, now or, without `report`, as stored; `missing` is why."""

    found: EvaluationSummary | None
    report: EvaluationReport | None = None
    missing: str = ""


def score(material: Material) -> Scored:
    """Score the best weights of a run; where that cannot be done, return the evaluation that is stored.

    Raises CodeError where code of the user's own must be named first.
    """
    from dlworkflow.analysis.evaluation import report_data

    run = material.run
    if not run.weights_path("best").is_file():
        return Scored(None, missing="The run has no weights: nothing of it can be scored")
    try:
        _log.info("report  scoring the best weights of %s", run.name)
        report = material.report
        return Scored(report_data(run, material.part, report), report)
    except CodeError:
        raise
    except DlwError as error:
        why = f"The run cannot be scored here: {error}"
    try:
        stored = run.evaluation()
    except DlwError as error:
        return Scored(None, missing=f"{why}; {error}")
    known = "; the scores are those that `dlw evaluate` stored in the run" if stored else ""
    return Scored(stored, missing=f"{why}{known}. Examples, errors and figures of predictions are left out.")


def headline(summary: Summary, scored: Scored) -> list[str]:
    """Return what was trained on what and what it scores, with the interval and the baseline, in sentences."""
    how = "not trained (0 epochs)" if summary.last and not summary.last["epoch"] else "trained"
    trained = f"{summary.model}, {how} on {summary.data} ({summary.samples['train']:,} {samples_of(summary)})"
    found = scored.found
    if found is None:
        return [_last_known(trained, summary)]
    n = f"{found.samples:,} {found.split} {samples_of(summary)}"
    if not found.classes:
        what = (summary.columns or {}).get("target", "the value")
        error, constant = found.metrics.get("mae"), (found.baseline_metrics or {}).get("mae")
        ends = (found.intervals_95 or {}).get("mae")
        interval = f" (95 % confidence interval {' to '.join(map(number, ends))})" if ends else ""
        own = f"{trained}, predicts {what} of {n} with a mean absolute error of {number(error)}{interval}."
        return [own] + ([f"Always answering the training mean has {number(constant)}."] if constant else [])
    accuracy = found.metrics.get("subset_accuracy" if found.thresholds else "accuracy")
    rightly = "every label" if found.thresholds else "the class"
    interval = ""
    if found.accuracy_interval_95 is not None:
        low, high = map(percent, found.accuracy_interval_95)
        interval = f" (95 % confidence interval {low} to {high})"
    lines = [f"{trained}, predicts {rightly} of {percent(accuracy)} of {n} correctly{interval}."]
    if found.baseline is not None:
        lines.append(f"Always answering {found.baseline_answer!r} scores {percent(found.baseline)}.")
    return lines


def _last_known(trained: str, summary: Summary) -> str:
    best = summary.best or {}
    if best.get("test_loss") is None:
        reason = f": {summary.reason}" if summary.reason else ""
        return f"{trained}, has no score: it is {summary.status}, and no epoch has ended{reason}."
    accuracy = percent(best.get("test_acc"))
    accuracy = f" and an accuracy of {accuracy}" if accuracy else ""
    return f"{trained}, had a test loss of {number(best['test_loss'])}{accuracy} after epoch {int(best['epoch'])}."


def samples_of(summary: Summary) -> str:
    """Return what the samples of a run are called."""
    return "images" if summary.kind == "image" else "rows" if summary.columns else "samples"


def warnings_of(material: Material, scored: Scored) -> list[str]:
    """Return what to know before any number of a run is believed."""
    from dlworkflow.data.splits import ONLY_NAMES

    run, summary, found = material.run, material.run.summary(), scored.found
    status = run.status()
    lines = [scored.missing] if scored.missing else []
    if status != "finished":
        reason = f": {summary.reason}" if summary.reason else ""
        done = f"{run.epochs_done()} of {summary.config['epochs']} epochs"
        lines.append(f"The run is {status} after {done}{reason}.")
    ended = int(summary.last["epoch"]) if summary.last else 0
    if (there := run.epochs_done()) < ended:
        lines.append(f"The file history.csv has {there:,} of {ended:,} epochs: curves and diagnosis lack the others.")
    if found is not None:
        lines += found.warnings
        if found.data_changed:
            lines.append(f"The {found.split} split is no longer what the run was trained with: its data has changed.")
        if found.skipped:
            images = "image is" if found.skipped == 1 else "images are"
            lines.append(f"{found.skipped:,} unreadable {images} left out of the {found.split} split.")
    if scored.report is not None and not material.part.changed and material.part.fingerprint_is_former:
        lines.append(f"The run {ONLY_NAMES}")
    lines += leakage_warnings(summary)
    return lines


def warnings_section(lines: Sequence[str]) -> Section | None:
    """Return warnings as a section, None without any."""
    return Section("Warnings", [Points(list(map(_sentence, lines)), warning=True)]) if lines else None


def _sentence(line: str) -> str:
    line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "!", "?")) else f"{line}."


def scores_section(material: Material, scored: Scored) -> Section | None:
    """Return the metrics, what each class scores and what is confused with what; None where nothing is known."""
    found = scored.found
    if found is None:
        return None
    weights = f"{found.weights} weights" + (f", epoch {int(found.epoch)}" if found.epoch is not None else "")
    blocks: list[Block] = [
        Table(f"Scores on the {found.split} split ({weights})", metric_columns(found), metric_rows(found)),
        Points([_sentence(line) for line in sentences(found)]),
    ]
    if found.classes:
        blocks += _class_tables(found)
    if pairs := pair_rows(found):
        blocks.append(Table("The most frequent errors", PAIR_COLUMNS, pairs))
    if scored.report is not None:
        blocks += _figures(material)
    return Section("Scores", [block for block in blocks if not isinstance(block, Points) or block.lines])


def _class_tables(found: EvaluationSummary) -> list[Block]:
    columns = class_columns(found)
    if len(found.classes) <= MOST_CLASSES:
        return [Table("Scores of each class", columns, class_rows(found))]
    worst = Table(f"The {MOST_CLASSES} of {len(found.classes)} classes with the lowest f1", columns, class_rows(found))
    return [worst, Fold("Scores of all classes", [Table("Scores of each class", columns, class_rows(found, None))])]


def _figures(material: Material) -> list[Block]:
    """Return the figures of the model and its predictions that fit the run, those of other packages included."""
    kinds = [kind for kind in fitting_kinds(material.run) if kind not in (*_OF_SAMPLES, "curves", "lr")]
    return [picture for kind in kinds if (picture := picture_of(material, kind)) is not None]


def picture_of(material: Material, kind: str) -> Picture | None:
    """Return a figure of a run, None where it would be empty or what it needs is not there."""
    about = (FIGURES[kind].__doc__ or kind).strip().partition("\n")[0].removeprefix("Draw ").rstrip(".")
    about = about[:1].upper() + about[1:]
    try:
        figure = material.draw(kind)
    except NothingToDrawError:
        return None
    except DlwError as error:
        _log.warning("report  figure %s is left out: %s", kind, error)
        return None
    return of_figure(figure, kind, _alt(material, kind, about), about)


def _alt(material: Material, kind: str, about: str) -> str:
    """Return what a figure shows, with the numbers that matter most."""
    if kind == "curves":
        first, last = material.history[0], material.history[-1]
        split = "test" if "test_loss" in last else "train"
        ends = f"{split} loss {number(first[f'{split}_loss'])} in epoch {int(first['epoch'])}"
        return f"{about}: {ends}, {number(last[f'{split}_loss'])} in epoch {int(last['epoch'])}"
    if kind == "confusion" and (pairs := material.report.confused_pairs(1)):
        pair = pairs[0]
        return f"{about} of {len(material.report.classes)} classes; most often {pair['truth']} is taken for " + (
            f"{pair['prediction']}, {pair['count']} times"
        )
    named = {"calibration": "calibration_error", "scatter": "r2"}.get(kind)
    value = material.report.metrics.get(named) if named else None  # the learning rate needs no scores
    return f"{about}; {named.replace('_', ' ')} {number(value)}" if named and value is not None else about
