"""The samples of a data set that a run uses: a limited number, a fold held out, a fraction for validation.

Knows splits and what their data sets offer, no settings class and no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dlworkflow.data import protocol
from dlworkflow.data.partition import folds_of, share_of
from dlworkflow.data.splits import Splits, divided, with_validation
from dlworkflow.data.strata import strata
from dlworkflow.errors import DataError

SELECTION = ("limit", "folds", "fold", "fold_seed", "val_fraction", "val_seed")
"""The settings of `select`."""

LIMIT_SEED = 42
"""Chooses the samples of `limit`: the same ones in each run."""

_MOST_BYTES = 2 * 1024**3
"""Samples of shards up to this size are held in memory."""


def select(
    splits: Splits,
    *,
    limit: float | None = None,
    folds: int | None = None,
    fold: int | None = None,
    fold_seed: int = 42,
    val_fraction: float | None = None,
    val_seed: int = 42,
) -> Splits:
    """Return the samples that a run uses: `limited`, then `with_fold`, then `with_validation`, each where it is set."""
    if limit is not None:
        splits = limited(splits, limit)
    if folds is not None and fold is not None:
        splits = with_fold(splits, folds, fold, random_state=fold_seed)
    if val_fraction is not None:
        splits = with_validation(splits, val_fraction, random_state=val_seed)
    return splits


def limited(splits: Splits, limit: float) -> Splits:
    """Return splits of a fraction of their samples (a float), or of at most so many each (an int), for a quick run.

    See `limited_part`. A note states the numbers.
    """
    parts: dict[str, Any] = {}
    indices, counts = dict(splits.indices or {}), []
    for name, part in splits.parts().items():
        parts[name], chosen = limited_part(part, limit, classes=bool(splits.classes), name=name)
        if name in indices:
            indices[name] = [indices[name][index] for index in chosen]
        counts.append(f"{len(parts[name]):,} of {len(part):,} {name}")  # type: ignore[arg-type]
    note = f"limited to {', '.join(counts)} samples (data.limit): the scores are of these alone"
    return _noted(replace(splits, **parts, indices=indices or None), note)


def limited_part(part: Any, limit: float, *, classes: bool, name: str) -> tuple[Any, Sequence[int]]:
    """Return a fraction of the samples (a float), or at most so many (an int), and their indices.

    Classes keep their shares, each with one sample at least; the samples are the same every time. Of shards, the first
    samples are read and held in memory. Raises DataError where these do not fit.
    """
    n = len(part)
    wanted = max(1, min(n, limit if isinstance(limit, int) else round(limit * n)))
    if isinstance(part, protocol.Streamed):
        return _first(part, wanted), range(wanted)
    chosen = share_of(_labels(part, classes=classes), wanted, LIMIT_SEED)
    return protocol.subset_of(part, chosen, name=f"limited {name}"), chosen


def with_fold(splits: Splits, folds: int, fold: int, *, random_state: int) -> Splits:
    """Hold out fold number `fold` of the training data, from 1, in place of the test split, which is left out.

    Its samples are not augmented. See `held_out`.
    """
    if not (folds >= 2 and 1 <= fold <= folds and random_state < 2**32):
        raise DataError(f"data.fold: fold {fold} of {folds} by seed {random_state} is none")
    chosen = held_out(splits, folds, random_state)[fold - 1]
    others = {*chosen}
    kept = [index for index in range(len(splits.train)) if index not in others]  # type: ignore[arg-type]
    note = f"fold {fold} of {folds} of the training data is held out as the test split; the own test split is not used"
    return _noted(divided(splits, kept, chosen, "test"), note)


def held_out(splits: Splits, folds: int, random_state: int) -> list[list[int]]:
    """Return the indices of each fold of the training data, in order: every sample is in one fold.

    Classes keep their shares in every fold, and no group is in two. Samples with several labels are spread by the
    rarest of each, with groups at random. Raises DataError where a class has fewer samples
    than there are folds, or where groups leave a fold or a class without any.
    """
    if isinstance(splits.train, protocol.Streamed):
        raise DataError("data.folds: shards are read in their order and have no folds; give a folder or a CSV")
    groups, several = protocol.groups_of(splits.train), splits.task == "multilabel"
    labels = _labels(splits.train, classes=bool(splits.classes) and not (several and groups), least=folds)
    if splits.classes and not several:
        label, smallest = min(Counter(labels).items(), key=lambda item: (item[1], item[0]))
        called = f"class {splits.classes[label]!r}"
    else:
        called, smallest = f"data {splits.name!r}", len(labels)
    if smallest < folds:
        way_out = f"give at most {smallest}" if smallest > 1 else "two are needed, one to train on and one to hold out"
        has = f"{called} has {smallest} training sample{'' if smallest == 1 else 's'}"
        raise DataError(f"data.folds: {has}, fewer than {folds} folds; {way_out}")
    return folds_of(labels, folds, random_state, groups, () if several else splits.classes)


def _labels(part: Any, *, classes: bool, least: int = 2) -> list[int]:
    """Return the label of each sample, of several the one that stands for them (`strata`); zeros without classes."""
    if not classes:
        return [0] * len(part)
    labels = protocol.labels_of(part)
    if labels is None:
        raise DataError("data.limit and data.folds need the labels of all samples beside them (attribute labels)")
    found: list[int] = strata(labels, least).tolist()
    return found


def _first(part: Any, n: int) -> Any:
    """Return the first samples of a stream, held in memory."""
    if (size := n * protocol.held(part, 1).n_bytes) > _MOST_BYTES:
        raise DataError(
            f"data.limit: {n:,} samples of shards need {size / 2**30:.0f} GiB of memory; give a number, as 1000"
        )
    return protocol.held(part, n)


def _noted(splits: Splits, note: str) -> Splits:
    return replace(splits, notes=(*splits.notes, note), selected=(*splits.selected, note))
