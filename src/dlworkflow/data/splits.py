"""A data set cut into training, test and validation parts, with all that a model must know about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlworkflow.data import protocol
from dlworkflow.data.described import Described
from dlworkflow.data.images.augmentations import not_fast
from dlworkflow.data.partition import random_split
from dlworkflow.data.partition import stratified_split as stratified_split
from dlworkflow.data.strata import split_samples
from dlworkflow.errors import DataError, MissingSplitError, few
from dlworkflow.files.notebook import Shown
from dlworkflow.files.text import LABEL_SEPARATOR

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from dlworkflow.data.columns import Columns
    from dlworkflow.data.images.pipeline import Pipeline
    from dlworkflow.engine.target_scale import TargetScale

_MOST_SHOWN = 20
"""Classes of a table of splits; more would be too wide."""


@dataclass(frozen=True)
class Splits(Shown):
    """What a loader of the table returns.

    `train`, `test` and `val` are data sets of (inputs of `in_shape`, label), map-style or read as a stream; `task` is
    regression, binary, multiclass or multilabel (labels (classes,) of 0 and 1); `classes` are in the order of the
    labels, empty for a regression, whose labels are scaled by `target` where it is given; `transform` is
    what an image goes through in evaluation and prediction; `indices` are the samples of each split where the library
    cut it; `notes` are things a user should know; `skipped` is how many unreadable samples were left out of a split,
    where any were, each named in the notes; `selected` are those notes that state which samples of the data are used.
    `columns` are those of a table, and how they became inputs.
    """

    name: str
    task: str
    train: Dataset[Any]
    test: Dataset[Any]
    in_shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    val: Dataset[Any] | None = None
    transform: Pipeline | None = None
    indices: dict[str, list[int]] | None = None
    source: str = "made on the spot"
    notes: tuple[str, ...] = field(default=())
    skipped: dict[str, int] = field(default_factory=dict)
    columns: Columns | None = None
    target: TargetScale | None = None
    selected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in self.parts().values():
            if isinstance(part, Described):
                part.named(self.classes)
        _check_groups(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{size} {split}" for split, size in self._sizes().items())
        classes = f", classes {few(self.classes)}" if self.classes else ""
        return f"Splits({self.name!r}: {self.task}; {sizes}; inputs {self.in_shape}{classes})"

    def _sizes(self) -> dict[str, str]:
        return {
            split: f"{len(part):,}" if isinstance(part, Sized) else "streamed" for split, part in self.parts().items()
        }

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: the samples of each split, by class where that is known."""
        counts = class_counts(self) if len(self.classes) <= _MOST_SHOWN else {}
        return [
            {"split": split, "samples": size, **dict(zip(self.classes, counts.get(split, ()), strict=False))}
            for split, size in self._sizes().items()
        ]

    @classmethod
    def of_images(
        cls, name: str, parts: Mapping[str, Any], pipeline: Pipeline, channels: int, classes: Sequence[str], **more: Any
    ) -> Splits:
        """Return splits of images; `parts` is {split: data set}, `pipeline` that of training, `more` other fields.

        The task is multiclass unless they name another.
        """
        more = {"task": "multiclass", **more, "in_shape": (channels, *pipeline.size), "classes": tuple(classes)}
        if pipeline.fast_augment:
            more["notes"] = (*more.get("notes", ()), *not_fast([name for name, _ in pipeline.augmentations]))
        return cls(name, **parts, **more, transform=pipeline.for_evaluation())

    @property
    def n_outputs(self) -> int:
        """Raw scores that a model gives a sample: one per class, a single one for two classes or a regression."""
        return len(self.classes) if self.task in ("multiclass", "multilabel") else 1

    @property
    def kind(self) -> str:
        """`image` or `tabular`."""
        return "image" if len(self.in_shape) == 3 else "tabular"

    def label_text(self, label: Any) -> str:
        """Return a label as it is shown: its class, its classes as `cat|dog`, or its number in the data's unit."""
        if self.task == "multilabel":
            return LABEL_SEPARATOR.join(name for name, there in zip(self.classes, label, strict=True) if there)
        if self.classes:
            return self.classes[int(label)]
        return f"{float(label if self.target is None else self.target.undone(label)):.6g}"

    def parts(self) -> dict[str, Dataset[Any]]:
        """Return {split name: data set} of those that are there."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in found.items() if part is not None}

    def fingerprints(self, *, known: bool = False) -> dict[str, str]:
        """Return {split name: digest that changes when its data does} of those that have one.

        Where files have not been read yet they are read for it; with `known`, such splits are left out.
        """
        parts = {name: part for name, part in self.parts().items() if not known or protocol.knows_fingerprint(part)}
        return {name: found for name, part in parts.items() if (found := protocol.fingerprint_of(part)) is not None}

    def part(self, name: str) -> Dataset[Any]:
        """Return one split. Raises MissingSplitError that names those that are there."""
        parts = self.parts()
        if name not in parts:
            raise MissingSplitError(f"data {self.name!r} has no split {name!r}; it has {', '.join(parts)}")
        return parts[name]


ONLY_NAMES = "is of an older version: its files have the names and sizes that they had, their content is not compared"
"""Said of a run whose fingerprints `is_former`."""


def is_former(fingerprint: str | None, part: Any) -> bool:
    """Return whether a fingerprint is of names and sizes alone, as version 0.1 took it of image files."""
    return fingerprint is not None and ":" not in fingerprint and protocol.former_fingerprint_of(part) is not None


def has_changed(part: Any, fingerprint: str | None) -> bool:
    """Return whether a split is no longer what it was with this fingerprint, by the rule of its version.

    False where that is not known. Files that have not been read yet are read for it.
    """
    if fingerprint is None:
        return False
    now = protocol.former_fingerprint_of(part) if is_former(fingerprint, part) else protocol.fingerprint_of(part)
    return now not in (None, fingerprint)


def class_counts(splits: Splits) -> dict[str, list[int]]:
    """Return {split: how many samples each class has}, of the splits where that is known; empty for a regression."""
    n = len(splits.classes)
    found = {split: protocol.counts_of(part, n) for split, part in splits.parts().items() if n}
    return {split: counts.tolist() for split, counts in found.items() if counts is not None}


def with_validation(splits: Splits, fraction: float, *, random_state: int) -> Splits:
    """Hold out a fraction of the training data for validation; every class keeps its share, and no test sample is used.

    Groups stay whole where the training data has them. Samples for validation are not augmented. Of shards, whole ones
    are held out, and a note names them. Raises DataError where there is a validation split already, or where a class
    would have no samples in either part.
    """
    if splits.val is not None:
        raise DataError(f"data.val_fraction: data {splits.name!r} has a validation split already; leave it out")
    if (files := protocol.cut_files(splits.train, fraction, random_state)) is not None:
        train, val, note = files
        return replace(splits, train=train, val=val, notes=(*splits.notes, note))
    try:
        kept, chosen = _chosen(splits, fraction, random_state)
    except DataError as error:
        raise DataError(f"{error}; --set data.val_fraction=null holds nothing out") from error
    return divided(splits, kept, chosen, "val")


def divided(splits: Splits, kept: Sequence[int], chosen: Sequence[int], part: str) -> Splits:
    """Return splits whose split `part` are the `chosen` training samples, not augmented; `kept` are left for training.

    All training samples are read at once, so that another division of them needs no further reading.
    """
    train = protocol.subset_of(splits.train, kept, name=f"train without {part}")
    held = protocol.subset_of(splits.train, chosen, name=f"{part} of train")
    protocol.remember_with(train, splits.train, kept)
    protocol.remember_with(held, splits.train, chosen)
    indices = splits.indices
    if indices is not None:
        own = indices["train"]
        indices = {**indices, "train": [own[index] for index in kept], part: [own[index] for index in chosen]}
    parts: dict[str, Any] = {"train": train, part: protocol.without_augmentation(held)}
    return replace(splits, **parts, indices=indices)


def without_unreadable(splits: Splits) -> Splits:
    """Return splits with notes on what was left out as they were decoded."""
    notes, skipped = [*splits.notes], dict(splits.skipped)
    for name, part in splits.parts().items():
        if left_out := protocol.left_out_of(part):
            skipped[name] = skipped.get(name, 0) + len(left_out)
            notes += [f"left out of {name}: {fault}" for fault in left_out.values()]
    return splits if skipped == splits.skipped else replace(splits, notes=tuple(notes), skipped=skipped)


def left_out_notes(split: str, errors: Sequence[object], n: int) -> list[str]:
    """Return notes on the images of a split that are left out: how many of `n`, and the error of each."""
    named = [f"left out of {split}: {error}" for error in errors]
    return [f"{len(named)} of {n} {split} images cannot be read and are left out", *named]


def _chosen(splits: Splits, fraction: float, random_state: int) -> tuple[list[int], list[int]]:
    """Return the indices that stay in training and those of the validation split."""
    given: Any = {"test_fraction": fraction, "random_state": random_state, "groups": protocol.groups_of(splits.train)}
    given |= {"setting": "data.val_fraction", "part": "validation"}
    if not splits.classes:
        return random_split(len(splits.train), **given)  # type: ignore[arg-type]
    labels = protocol.labels_of(splits.train)
    if labels is None:
        raise DataError(
            f"data.val_fraction: data {splits.name!r} keeps no labels beside its samples (attribute labels)"
        )
    return split_samples(labels, splits.classes, **given)


def _check_groups(splits: Splits) -> None:
    """Raise DataError for a group that is in two splits."""
    found: dict[str, dict[Any, None]] = {}
    for name, part in splits.parts().items():
        groups = dict.fromkeys(protocol.groups_of(part) or ())
        for other, theirs in found.items():
            if shared := [group for group in groups if group in theirs]:
                raise DataError(
                    f"data {splits.name!r}: group(s) {few(shared)} are in {other} and in {name}; samples of one group "
                    "belong in one split"
                )
        found[name] = groups
