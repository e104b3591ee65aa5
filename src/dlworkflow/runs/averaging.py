"""Which of a run's figures are means over batches, and what they are over samples.

A run with `averaging: batch` shows the notes' means over batches, in which a short last batch weighs as much as a full
one, and keeps both. What is compared with a baseline, an interval or another run is the mean over samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

OVER_SAMPLES = "_over_samples"
"""How the name of a column ends that holds the mean over samples of a run whose own columns are means over batches."""

_SHOWN = [f"{split}_{measure}" for split in ("train", "test", "val") for measure in ("loss", "acc")]


def over_samples(summary: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an epoch of a run with means over samples, and the columns for which only means over batches are known.

    Older runs kept none but those of the test split in the best epoch; where all batches are of one size, both are the
    same.
    """
    shown = {key: value for key, value in row.items() if not key.endswith(OVER_SAMPLES)}
    if summary["config"].get("averaging") != "batch":
        return shown, ()
    best = summary.get("best") or {}
    known = summary.get("over_samples") or {} if row.get("epoch") == best.get("epoch") else {}
    unknown = []
    for key in _SHOWN:
        if not _is_number(row.get(key)):
            continue
        value = row.get(f"{key}{OVER_SAMPLES}", known.get(key))
        if _is_number(value):
            shown[key] = value
        elif _are_uneven(summary, key):
            unknown.append(key)
    return shown, tuple(unknown)


def epochs_over_samples(
    summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return a history with means over samples, and the columns that are means over batches instead in every epoch.

    A column is one or the other as a whole: its epochs are compared with each other.
    """
    found = [over_samples(summary, row) for row in history]
    unknown = {key for _, keys in found for key in keys}
    rows = [
        shown | {key: row[key] for key in unknown if key in row} for (shown, _), row in zip(found, history, strict=True)
    ]
    return rows, tuple(key for key in _SHOWN if key in unknown)


def shows_batch_means(summary: Mapping[str, Any]) -> bool:
    """Tell whether what a run shows of its epochs differs from means over samples."""
    splits = [key for key in _SHOWN if key.partition("_")[0] in summary["samples"]]
    return summary["config"].get("averaging") == "batch" and any(_are_uneven(summary, key) for key in splits)


def _are_uneven(summary: Mapping[str, Any], key: str) -> bool:
    """Tell whether a split's batches do not all weigh the same."""
    split, config = key.partition("_")[0], summary["config"]
    if key == "train_loss" and config.get("loss_weights"):
        return True
    size, n = config["data"]["batch_size"], summary["samples"].get(split, 0)
    if size == "full" or (n <= size and config["data"]["name"] != "image_shards"):
        return False
    return (
        n % size != 0 or config["data"]["name"] == "image_shards"
    )  # each reader of shards has a last batch of its own


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
