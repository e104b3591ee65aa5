"""Which scores of a run are means over batches, and what they are over samples.

A run with `averaging: batch` shows the notes' means over batches, in which a short last batch weighs as much as a full
one, and keeps both. Baselines, intervals and other runs are compared with the mean over samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlworkflow.runs.stored import is_number
from dlworkflow.runs.summary import OVER_SAMPLES, Summary

_SHOWN = [f"{split}_{measure}" for split in ("train", "test", "val") for measure in ("loss", "acc")]


def over_samples(summary: Summary, row: Mapping[str, Any] | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an epoch of a run with means over samples, and the columns for which only means over batches are known.

    Older runs kept only those of the test split in the best epoch. Where all batches have one size, both means are the
    same.
    """
    row = row or {}
    shown = {key: value for key, value in row.items() if not key.endswith(OVER_SAMPLES)}
    if not summary.averages_batches:
        return shown, ()
    best = summary.best or {}
    known = summary.over_samples or {} if row.get("epoch") == best.get("epoch") else {}
    unknown = []
    for key in _SHOWN:
        if not is_number(row.get(key)):
            continue
        value = row.get(f"{key}{OVER_SAMPLES}", known.get(key))
        if is_number(value):
            shown[key] = value
        elif _are_uneven(summary, key):
            unknown.append(key)
    return shown, tuple(unknown)


def epochs_over_samples(
    summary: Summary, history: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return a history with means over samples, and the columns that are means over batches instead in every epoch.

    A column is one or the other as a whole, because its epochs are compared with each other.
    """
    found = [over_samples(summary, row) for row in history]
    unknown = {key for _, keys in found for key in keys}
    rows = [
        shown | {key: row[key] for key in unknown if key in row} for (shown, _), row in zip(found, history, strict=True)
    ]
    return rows, tuple(key for key in _SHOWN if key in unknown)


def shows_batch_means(summary: Summary) -> bool:
    """Return whether the epochs that a run shows differ from means over samples."""
    splits = [key for key in _SHOWN if key.partition("_")[0] in summary.samples]
    return summary.averages_batches and any(_are_uneven(summary, key) for key in splits)


def _are_uneven(summary: Summary, key: str) -> bool:
    """Return whether the batches of a split have different weights in a mean."""
    split, config = key.partition("_")[0], summary.config
    if key == "train_loss" and config.get("loss_weights"):
        return True
    size, n = config["data"]["batch_size"], summary.samples.get(split, 0)
    if size == "full":
        return False
    by_reader = config["data"]["name"] == "image_shards"  # each reader of shards has a last batch of its own
    return by_reader or (n > size and n % size != 0)
