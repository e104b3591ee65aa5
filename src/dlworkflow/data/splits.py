"""A data set cut into training, test and validation parts, with all that a model must know about it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlworkflow.data import protocol
from dlworkflow.data.described import Described
from dlworkflow.errors import DataError, few
from dlworkflow.files.notebook import Shown

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

    from dlworkflow.data.images.pipeline import Pipeline

_MOST_SHOWN = 20
"""Classes of a table of splits; more would be too wide."""


@dataclass(frozen=True)
class Splits(Shown):
    """What a loader of the table returns.

    `train`, `test` and `val` are data sets of (inputs of `in_shape`, label), map-style or read as a stream; `task` is
    regression, binary or multiclass; `classes` are in the order of the labels, empty for a regression; `transform` is
    what an image goes through in evaluation and prediction; `indices` are the samples of each split where the library
    cut it; `notes` are things a user should know; `skipped` is how many unreadable samples were left out of a split,
    where any were, each named in the notes.
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

    def __post_init__(self) -> None:
        for part in self.parts().values():
            if isinstance(part, Described):
                part.named(self.classes)

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
        """Return splits of images; `parts` is {split: data set}, `pipeline` that of training, `more` other fields."""
        more |= {"in_shape": (channels, *pipeline.size), "classes": tuple(classes)}
        return cls(name, "multiclass", **parts, **more, transform=pipeline.for_evaluation())

    @property
    def n_outputs(self) -> int:
        """Raw scores that a model gives a sample: one per class, a single one for two classes or a regression."""
        return len(self.classes) if self.task == "multiclass" else 1

    @property
    def kind(self) -> str:
        """`image` or `tabular`."""
        return "image" if len(self.in_shape) == 3 else "tabular"

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
        """Return one split. Raises DataError that names those that are there."""
        parts = self.parts()
        if name not in parts:
            raise DataError(f"data {self.name!r} has no split {name!r}; it has {', '.join(parts)}")
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

    Samples for validation are not augmented. Of shards, whole ones are held out, and a note names them. Raises
    DataError where there is a validation split already, or where a class would have no samples in either part.
    """
    if splits.val is not None:
        raise DataError(f"data.val_fraction: data {splits.name!r} has a validation split already; leave it out")
    if (files := protocol.cut_files(splits.train, fraction, random_state)) is not None:
        train, val, note = files
        return replace(splits, train=train, val=val, notes=(*splits.notes, note))
    kept, chosen = _chosen(splits, fraction, random_state)
    indices = splits.indices
    if indices is not None:
        own = indices["train"]
        indices = {**indices, "train": [own[index] for index in kept], "val": [own[index] for index in chosen]}
    train = protocol.subset_of(splits.train, kept, name="train without val")
    val = protocol.without_augmentation(protocol.subset_of(splits.train, chosen, name="val of train"))
    return replace(splits, train=train, val=val, indices=indices)


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
    n = len(splits.train)  # type: ignore[arg-type]
    if splits.classes:
        labels = protocol.labels_of(splits.train)
        if labels is None:
            raise DataError(
                f"data.val_fraction: data {splits.name!r} keeps no labels beside its samples (attribute labels)"
            )
        return stratified_split(
            labels.long(),
            test_fraction=fraction,
            random_state=random_state,
            names=splits.classes,
            setting="data.val_fraction",
            part="validation",
        )
    from sklearn.model_selection import train_test_split

    if not 1 <= round(n * fraction) < n:
        raise DataError(f"data.val_fraction: {fraction:g} of {n} samples leaves training or validation without any")
    kept, chosen = train_test_split(range(n), test_size=round(n * fraction), random_state=random_state)
    return sorted(kept), sorted(chosen)


def stratified_split(
    labels: Sequence[int] | Tensor,
    *,
    test_fraction: float,
    random_state: int,
    names: Sequence[str] | None = None,
    setting: str = "data.test_fraction",
    part: str = "test",
) -> tuple[list[int], list[int]]:
    """Cut indices into training and test so that every class keeps its share in both; sorted, the same every time.

    `setting` and `part` are what an error calls the fraction and the smaller part. Raises DataError naming a class
    that has too few samples for both, and a fraction with which it does.
    """
    labels = [int(label) for label in labels]
    sizes = Counter(labels)
    called = {label: repr(names[label] if names else label) for label in sorted(sizes)}
    for label, name in called.items():
        if sizes[label] < 2:
            raise DataError(f"class {name} has 1 sample; two are needed to split it into training and {part}")
    parts = _cut(labels, test_fraction, random_state)
    if parts and not (lost := _lost(labels, parts)):
        return parts
    working = _working_fraction(labels, test_fraction, random_state)
    way_out = f"{setting}={working:g} works" if working else "each class needs more samples"
    if not parts:
        raise DataError(
            f"{setting}: {test_fraction:g} of {len(labels)} samples leaves a class without training or {part}; "
            f"{way_out}"
        )
    raise DataError(
        f"class {called[lost[0]]} has {sizes[lost[0]]} samples, too few for both training and {part} "
        f"with {setting} {test_fraction:g}; {way_out}"
    )


def _cut(labels: Sequence[int], test_fraction: float, random_state: int) -> tuple[list[int], list[int]] | None:
    """Return the indices of training and test, or None where one of them would have fewer samples than classes."""
    from sklearn.model_selection import train_test_split

    classes = len(set(labels))
    n_test = math.ceil(len(labels) * test_fraction)  # as scikit-learn counts
    if not classes <= n_test <= len(labels) - classes:
        return None
    train, test = train_test_split(
        range(len(labels)), test_size=test_fraction, random_state=random_state, stratify=labels
    )
    return sorted(train), sorted(test)


def _lost(labels: Sequence[int], parts: Sequence[Sequence[int]]) -> list[int]:
    """Return the classes that one of the parts lacks."""
    return sorted({label for part in parts for label in {*labels} - {labels[index] for index in part}})


def _working_fraction(labels: Sequence[int], test_fraction: float, random_state: int) -> float | None:
    """Return the hundredth nearest to `test_fraction` that leaves every class in training and test, tried out."""
    smallest = min(Counter(labels).values())
    hundredths = (number / 100 for number in range(1, 100))
    for fraction in sorted(hundredths, key=lambda fraction: abs(fraction - test_fraction)):
        likely = smallest * min(fraction, 1 - fraction) >= 0.5  # a share below half a sample is none
        if likely and (parts := _cut(labels, fraction, random_state)) and not _lost(labels, parts):
            return fraction
    return None
