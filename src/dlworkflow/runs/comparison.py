"""Runs side by side: best epochs, the settings that differ, means over seeds. Knows no table and no terminal."""

from __future__ import annotations

import json
import logging
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dlworkflow.errors import ConfigError, RunError, unknown
from dlworkflow.files.notebook import Rows
from dlworkflow.runs import (
    COLUMNS,
    VAL_COLUMNS,
    Run,
    RunLike,
    Summary,
    as_run,
    best_epoch,
    epochs_over_samples,
    over_samples,
)
from dlworkflow.runs.costs import Costs
from dlworkflow.runs.folder import HISTORY, SUMMARY
from dlworkflow.runs.index import RunIndex, states
from dlworkflow.runs.notes import NOTES, SEPARATOR, Notes
from dlworkflow.runs.stored import unless_damaged

_log = logging.getLogger(__name__)

Row = dict[str, Any]

SCORES = (*COLUMNS[3:], *VAL_COLUMNS)
_HELD_OUT = ("test_", "val_")
"""The metrics by which a best epoch can be chosen and runs can be averaged."""

_NOT_COMPARED = ("model.name", "data.name", "data.data_dir", "loss.name", "track")
_OF_NO_GROUP = ("seed", "track")
"""Settings in which the runs of one group may differ: seeds, and what changes no number."""


@dataclass(frozen=True)
class _Entry:
    run: Run
    row: Row
    settings: Row
    """Settings by dotted key; empty for a damaged run."""
    lasts: bool = False
    """Whether it is the same until one of the files changes, without a warning."""


class ReadRuns(list[Run]):
    """Runs that were read once, for several comparisons that choose epochs alike; see `read_runs`."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        super().__init__(entry.run for entry in entries)
        self.entries = entries


def read_runs(runs: Iterable[RunLike], *, by: str | None = None, at: Literal["best", "last"] = "best") -> ReadRuns:
    """Read runs for the functions below, which take them in place of `runs`, with the same `by` and `at`."""
    found = map(as_run, runs)
    if by or at == "last":
        return ReadRuns([_entry(run, by, at) for run in found])
    entries, indices = [], dict[Path, RunIndex]()
    for run in found:
        folder = run.path.parent
        index = indices[folder] if folder in indices else indices.setdefault(folder, RunIndex.of(folder))
        state = states(run.path, _READ)
        known = index.get(run.name, state)
        if known is not None:
            entries.append(_Entry(run, {"run": run.name, "path": str(run.path), **known[1]}, known[2]))
            continue
        entry = _entry(run, None, at)
        entries.append(entry)
        if entry.lasts:
            row = {key: value for key, value in entry.row.items() if key not in ("run", "path")}
            index.put(run.name, state, (run.summary().started, row, entry.settings))
    for index in indices.values():
        index.write()
    return ReadRuns(entries)


_READ = (SUMMARY, HISTORY, NOTES, f"{Costs.file}.json")
"""The files of a run that an entry is read from, the summary first."""


def compare_runs(
    runs: Iterable[RunLike],
    *,
    by: str | None = None,
    where: Mapping[str, str] | None = None,
    at: Literal["best", "last"] = "best",
) -> list[Row]:
    """Return a row per run: what it is, its best epoch, and the settings in which the runs differ.

    Keys: run, path, status, model, data, best_epoch, epochs_done, train_loss, train_acc, test_loss, test_acc (val_loss
    and val_acc where there are any), baseline, baseline_metric, boosting (of tables), parameters, seconds, chosen_on,
    over_batches, the columns of `Costs` (of a run that was measured), tags and note (of a run that has any), then
    `section.setting` for each difference. Scores are means over samples; `over_batches` names those (separated by
    spaces) of which an older run with `averaging: batch` kept
    only the mean over batches.
    `by` names the metric that chooses the best epoch (the first of equals), by default the validation loss, else the
    test loss; `at` "last" chooses none: best_epoch is then the last, and chosen_on None. `where` keeps runs with
    these values of columns or settings; `tag` keeps those with all of these tags, separated by commas. A damaged run is
    a row with that status; damaged costs or notes are left out, with a warning. Raises ConfigError for an unknown
    metric or key.
    """
    entries = _entries(runs, by, where or {}, at)
    differing = _differing(entries)
    rows = [entry.row | {key: entry.settings.get(key) for key in differing} for entry in entries]
    return Rows(rows, first=("run", "best_epoch", "epochs_done", *SCORES, *differing))


def run_rows(runs: Iterable[Run], *, where: Mapping[str, str] | None = None) -> list[Row]:
    """Return the rows of `compare_runs` without settings."""
    return [entry.row for entry in _entries(runs, None, where or {})]


def compare_seeds(
    runs: Iterable[RunLike],
    *,
    by: str | None = None,
    where: Mapping[str, str] | None = None,
    at: Literal["best", "last"] = "best",
) -> list[Row]:
    """Return a row per group of finished runs that differ only in their seed: mean and deviation of each metric.

    Of runs that repeat one seed the newest counts.

    Keys: model, data, seeds (how many), each metric as `<metric>` (mean) and `<metric>_sd` (sample standard deviation,
    None for one run), seconds, over_batches (of any of them), then the settings in which the groups differ.
    """
    rows, groups = [], _seed_groups(runs, by, where or {}, at)
    differing = [key for key in _differing([entry for group in groups for entry in group]) if key != "seed"]
    for members in groups:
        first = members[0]
        row: Row = {"model": first.row["model"], "data": first.row["data"], "seeds": len(members)}
        for key in (key for key in first.row if key in SCORES or key.startswith(_HELD_OUT)):
            values = [entry.row[key] for entry in members if entry.row[key] is not None]
            row[key] = statistics.fmean(values) if values else None
            row[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else None
        row["seconds"] = statistics.fmean(entry.row["seconds"] for entry in members)
        row["over_batches"] = " ".join(dict.fromkeys(" ".join(e.row["over_batches"] for e in members).split()))
        rows.append(row | {key: first.settings.get(key) for key in differing})
    return Rows(rows, first=("model", "data", "seeds", *SCORES, *differing))


def seed_scores(
    runs: Iterable[Run],
    metric: str,
    *,
    by: str | None = None,
    where: Mapping[str, str] | None = None,
    at: Literal["best", "last"] = "best",
) -> list[dict[int, float]]:
    """Return a metric of each run by its seed, a dictionary for each row of `compare_seeds`."""
    return [
        {entry.settings["seed"]: entry.row[metric] for entry in group if entry.row.get(metric) is not None}
        for group in _seed_groups(runs, by, where or {}, at)
    ]


def _seed_groups(
    runs: Iterable[RunLike], by: str | None, where: Mapping[str, str], at: Literal["best", "last"]
) -> list[list[_Entry]]:
    """Return the finished runs that differ only in their seed together; of those that repeat one, the newest."""
    finished = [entry for entry in _entries(runs, by, where, at) if entry.row["status"] == "finished"]
    varying = [key for key in _varying([entry.settings for entry in finished]) if key not in _OF_NO_GROUP]
    groups: dict[str, dict[Any, _Entry]] = {}
    for entry in finished:
        own = {key: entry.settings[key] for key in varying if key in entry.settings}
        groups.setdefault(json.dumps(own), {})[entry.settings.get("seed")] = entry
    return [list(group.values()) for group in groups.values()]


def all_columns(runs: Iterable[Run], *, where: Mapping[str, str] | None = None) -> list[Row]:
    """Return a row per run with every setting, whether the runs differ in it or not."""
    return [entry.settings | entry.row for entry in _entries(runs, None, where or {})]


def higher_is_better(column: str) -> bool:
    """Return whether a high value of a column is the good one: all metrics but losses, and baselines."""
    of_a_split = column.startswith(("train_", *_HELD_OUT)) and not column.endswith(("_loss", "_sd"))
    return of_a_split or column in ("baseline", "boosting")


def metric_columns(summary: Summary) -> list[str]:
    """Return the columns of the setting `metrics` in a run's history."""
    splits = [split for split in ("test", "val") if split in summary.samples]
    return [f"{split}_{name}" for split in splits for name in summary.config.get("metrics") or ()]


def sort_rows(rows: Sequence[Row], column: str) -> list[Row]:
    """Return rows by a column, the best first, equals in their order, rows without a value last."""
    have = [row for row in rows if row.get(column) is not None]
    numeric = all(isinstance(row[column], (int, float)) for row in have)
    have.sort(key=lambda row: row[column] if numeric else str(row[column]), reverse=higher_is_better(column))
    return have + [row for row in rows if row.get(column) is None]


def are_alike(rows: Sequence[Row]) -> bool:
    """Return whether rows may be of the same samples: those of several data sets or folds are not."""
    return unlike_in(rows) is None


def unlike_in(rows: Sequence[Row], metric: str = "") -> str | None:
    """Return in what rows differ whose scores are not to be compared, None where they are.

    It is `data`, `data.fold` or, for a metric that is a loss, a setting of the loss.
    """
    of_loss = {key for row in rows for key in row if key == "loss" or key.startswith("loss.")}
    keys = ["data", "data.fold", *(sorted(of_loss) if metric.endswith("_loss") else ())]
    return next((key for key in keys if len({json.dumps(row.get(key)) for row in rows}) > 1), None)


def _entries(
    runs: Iterable[RunLike], by: str | None, where: Mapping[str, str], at: Literal["best", "last"] = "best"
) -> Sequence[_Entry]:
    entries = (runs if isinstance(runs, ReadRuns) else read_runs(runs, by=by, at=at)).entries
    if by is not None and by not in SCORES and not any(by in entry.row for entry in entries):
        raise ConfigError(f"--by: {unknown('metric', by, SCORES)}")
    if not where:
        return entries
    known = list(dict.fromkeys(["tag", *(key for entry in entries for key in (*entry.row, *entry.settings))]))
    for key in where:
        if key not in known:
            raise ConfigError(f"--filter: {unknown('column or setting', key, known)}")
    return [entry for entry in entries if all(_fits(entry, key, text) for key, text in where.items())]


def _fits(entry: _Entry, key: str, text: str) -> bool:
    if key == "tag":
        return {*map(str.strip, text.split(","))} <= {*entry.row.get("tags", "").split(SEPARATOR)}
    return _equal((entry.settings | entry.row).get(key), text)


def _entry(run: Run, by: str | None, at: str) -> _Entry:
    try:
        summary = run.summary()
        status = run.status()
        ended = status not in ("running", "killed") and summary.best and summary.last
        history = run.history() if by or at == "last" or not ended else []
        epochs_done = int(history[-1]["epoch"]) if history else run.epochs_done()
    except RunError as error:
        return _Entry(run, {"run": run.name, "path": str(run.path), "status": f"damaged: {error}"}, {})
    faults: list[str] = []
    notes = unless_damaged(run.notes, faults) or Notes()
    costs = unless_damaged(partial(run.found, Costs), faults)
    for fault in faults:
        _log.warning("warning %s; it is left out", fault)
    config, baseline = summary.config, summary.baseline
    if by or at == "last":
        epochs, over_batches = epochs_over_samples(summary, history) if by else (history, ())
        best = _epoch_of(epochs, by, at)
    else:
        best = summary.best or best_epoch(history)
    if not by:
        best, over_batches = over_samples(summary, best or {})
    best = best or {}
    row: Row = {
        "run": run.name,
        "path": str(run.path),
        "status": status,
        "model": summary.model,
        "data": summary.data,
        "best_epoch": int(best["epoch"]) if best else None,
        "epochs_done": epochs_done,
    }
    scores = [key for key in SCORES if key in best or key not in VAL_COLUMNS] + metric_columns(summary)
    row |= {key: _number(best.get(key)) for key in scores}
    row |= {
        "baseline": baseline.score if baseline else None,
        "baseline_metric": baseline.metric if baseline else None,
        **({"boosting": summary.boosting} if summary.boosting is not None else {}),
        "parameters": summary.parameters,
        "seconds": summary.seconds or sum(epoch["seconds"] for epoch in history),
        "chosen_on": None if at == "last" else by.partition("_")[0] if by else summary.chosen_on,
        "over_batches": " ".join(key for key in over_batches if row.get(key) is not None),
        **(costs.as_columns() if costs is not None and costs.is_of(summary) else {}),
        **({"tags": SEPARATOR.join(notes.tags)} if notes.tags else {}),
        **({"note": notes.note} if notes.note else {}),
    }
    return _Entry(run, row, _settings(config), lasts=summary.status != "running" and not faults)


def _epoch_of(history: Sequence[Mapping[str, float]], by: str | None, at: str) -> Mapping[str, float] | None:
    """Return the last epoch, or the best by a metric; None where there is none."""
    if at == "last" or by is None:
        return history[-1] if history else None
    finite = [row for row in history if math.isfinite(row.get(by, math.nan))]
    if higher_is_better(by):
        return max(finite, key=lambda row: row[by], default=None)
    return min(finite, key=lambda row: row[by], default=None)


def _differing(entries: Sequence[_Entry]) -> list[str]:
    """Return the settings in which whole runs differ.

    A setting that only some models or data sets have counts where runs of the same model and data differ in it.
    """
    whole = [entry for entry in entries if entry.settings]
    groups: dict[object, list[Row]] = {}
    for entry in whole:
        groups.setdefault((entry.row["model"], entry.row["data"]), []).append(entry.settings)
    every = [[entry.settings for entry in whole]] if len(groups) != 1 else []
    found = {key for group in (*every, *groups.values()) for key in _varying(group) if all(key in one for one in group)}
    keys = dict.fromkeys(key for entry in whole for key in entry.settings)
    return [key for key in keys if key in found and key not in _NOT_COMPARED]


def _varying(group: Sequence[Row]) -> list[str]:
    """Return the keys that do not have one value in all of a group, or that some of it lack."""
    shapes = {tuple(one) for one in group}
    keys = dict.fromkeys(key for keys in shapes for key in keys)
    if len(shapes) == 1:
        return [key for key in keys if not _is_one_value([one[key] for one in group])]
    return [key for key in keys if not _is_one_value([one.get(key, _NOTHING) for one in group])]


def _is_one_value(values: Sequence[Any]) -> bool:
    first = values[0]
    if values.count(first) < len(values):  # settles nearly all: what differs in `_identity` only is equal here
        return False
    others = {_identity(value) for value in values if value is not first}
    return first is not _NOTHING and others <= {_identity(first)}


_NOTHING = object()


def _identity(value: Any) -> Any:
    """Return a value by which settings are compared: 1 is not true, and not 1.0."""
    return json.dumps(value) if isinstance(value, (list, dict)) else (type(value), value)


def _equal(value: Any, text: str) -> bool:
    """Compare a value with what a user typed: `0.1`, `true`, `none` and `tinyvgg` mean what they look like."""
    if isinstance(value, bool) or value is None:
        return text.casefold() == str(value).casefold() or (value is None and text.casefold() in ("null", ""))
    if isinstance(value, (int, float)):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text == (value if isinstance(value, str) else json.dumps(value))


def _settings(config: Mapping[str, Any]) -> Row:
    """Return settings by dotted key; the name of a loss is `loss`, too, as where it has no settings of its own."""
    loss = config.get("loss")
    return _flatten(config) | ({"loss": loss.get("name")} if isinstance(loss, Mapping) else {})


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Row:
    flat: Row = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
