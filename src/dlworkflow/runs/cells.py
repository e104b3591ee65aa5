"""Rows of runs as the texts of a table: which columns it shows, their headings, their cells. Knows no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlworkflow.files.numbers import number, percent

BY_BATCH = "* a mean over batches, which overweights a short last batch: the run kept none over samples"
"""What the mark of a cell means."""

_NO_SETTINGS, _SPLITS = ("model", "data", "seeds", "seconds", "over_batches", "letters"), ("train_", "test_", "val_")
"""Keys of a row of `compare_seeds` that are no settings."""

_LONGEST = 60  # characters of a row's name
_HIDDEN = ("path", "chosen_on", "epochs_done", "baseline_metric", "over_batches", "note", "measured_on")
_HEADINGS = {"size_mb": "size MB", "memory_mb": "memory MB", "ms": "ms", "ms_in_batch": "ms in batch"}
_HEADINGS |= {"mult_adds": "mult-adds", "ms_reading": "ms reading"}


def shown_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys of compared runs that people compare by."""
    widest = max(rows, key=len, default={})  # a damaged run's few columns must not decide the order
    keys = list(dict.fromkeys(key for row in [widest, *rows] for key in row))
    shown = [key for key in keys if key not in _HIDDEN and not key.endswith("_sd")]
    if all(row.get("status", "finished") == "finished" for row in rows):
        shown = [key for key in shown if key != "status"]
    return shown


def row_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each row of `compare_seeds`: the model and the settings in which the rows differ.

    Where that is long, or the same for two rows, it is the number of the row.
    """
    settings = [
        [f"{key}={value}" for key, value in row.items() if key not in _NO_SETTINGS and not key.startswith(_SPLITS)]
        for row in rows
    ]
    models = len({row["model"] for row in rows}) > 1 or not all(settings)
    names = [
        " ".join([*([str(row["model"])] if models else []), *own]) for row, own in zip(rows, settings, strict=True)
    ]
    times = Counter(names)
    return [
        name if len(name) <= _LONGEST and times[name] == 1 else f"row {number}"
        for number, name in enumerate(names, start=1)
    ]


def headings(keys: Iterable[str]) -> dict[str, str]:
    """Return {key: heading}; a setting keeps the name that `--set` takes."""
    return {key: _HEADINGS.get(key) or (key if "." in key else key.replace("_", " ")) for key in keys}


def pretty(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a row's numbers into cells: accuracies in percent, losses with five decimals, seconds with one."""
    cells = {}
    for key, value in row.items():
        is_baseline = key in ("baseline", "boosting")
        if (key.endswith("_acc") or is_baseline) and isinstance(value, float):
            is_loss = is_baseline and row.get("baseline_metric") == "loss"
            cells[key] = f"loss {value:.5f}" if is_loss else percent(value)
        elif key == "seconds" and value is not None:
            cells[key] = f"{value:.1f}" if value >= 1 else f"{value:.3f}"
        elif key in _HEADINGS and isinstance(value, float):
            cells[key] = f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
        elif key == "lr" or "." in key:
            cells[key] = f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
        else:
            cells[key] = number(value)
    return cells | {key: f"{cells[key]} *" for key in row.get("over_batches", "").split() if cells.get(key)}


def pretty_seeds(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a row of `compare_seeds` into cells, mean and deviation of a metric in one."""
    cells = pretty(row)
    for key in row:
        deviation = row.get(f"{key}_sd")
        if deviation is not None:
            cells[key] += f" ± {percent(deviation) if key.endswith('_acc') else number(deviation)}"
    return cells
