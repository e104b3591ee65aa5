"""Labelled image files made into splits: labels by name, matched between splits, cut by a seed where there are none.

Knows paths and labels, no folder and no CSV file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlworkflow.data.check.facts import unreadable
from dlworkflow.data.check.value_ranges import with_range
from dlworkflow.data.folders.class_names import alike_in_case, match_classes
from dlworkflow.data.folders.image_rows import Target, names_in
from dlworkflow.data.images.dataset import ImageData, ImageFiles
from dlworkflow.data.images.options import RANDOM_STATE, TEST_FRACTION, ImageOptions
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.splits import Splits, left_out_notes
from dlworkflow.data.strata import present, split_samples
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.errors import DataError, few


@dataclass
class LabelledImages:
    """{split: images} and {split: labels} of a `task`, labels (n,), of a multilabel task (n, classes).

    The only split is `all` until they are cut; `indices` are those of the cut.
    """

    task: str
    classes: Sequence[str]
    paths: dict[str, list[Path]]
    labels: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)
    indices: dict[str, list[int]] | None = None

    def keep(self, split: str, kept: Sequence[int]) -> None:
        """Leave out all images of a split but those at these places."""
        self.paths[split] = [self.paths[split][index] for index in kept]
        self.labels[split] = self.labels[split][list(kept)]
        if self.indices is not None:
            self.indices = self.indices | {split: [self.indices[split][index] for index in kept]}


def encoded(targets: Sequence[Target], classes: Sequence[str], task: str) -> Tensor:
    """Return labels as numbers: (n,) int64, (n, classes) float32 of 0 and 1, or (n,) float64 of a regression."""
    if task == "regression":
        return torch.tensor(targets, dtype=torch.float64)
    numbers = {name: label for label, name in enumerate(classes)}
    if task == "multiclass":
        return torch.tensor([numbers[name] for target in targets for name in names_in(target)], dtype=torch.int64)
    labels = torch.zeros(len(targets), len(classes))
    for row, target in zip(labels, targets, strict=True):
        row[[numbers[name] for name in names_in(target)]] = 1
    return labels


def numbered(
    given: Mapping[str, Sequence[tuple[Path, Target]]],
    classes: Sequence[str],
    called: Mapping[str, str],
    path: str,
    options: ImageOptions,
    *,
    task: str = "multiclass",
    groups: Mapping[Path, str] | None = None,
) -> LabelledImages:
    """Turn {split: [(image, label)]} into numbers, cut into splits where it is not; val is used for a missing test.

    `called` is how errors call a split. Raises DataError for a class that training lacks.
    """
    images = LabelledImages(task, classes, {}, {}, alike_in_case(classes))
    for split, rows in given.items():
        own = sorted({name for _, target in rows for name in names_in(target)})
        match_classes(classes, own, called.get("train", ""), called[split])
        if missing := [name for name in classes if name not in own]:
            images.notes.append(f"split {split!r} has no images of {few(missing)}")
        images.paths[split] = [image for image, _ in rows]
        images.labels[split] = encoded([target for _, target in rows], classes, task)
    if "all" in images.paths:
        _cut(images, options, groups)
        return images
    images.notes = [*_unused_settings(path, options), *images.notes]
    if "test" not in images.paths:
        images.paths["test"], images.labels["test"] = images.paths.pop("val"), images.labels.pop("val")
        images.notes.append(f"no split 'test' in {path!r}: 'val' is used as the test split")
    return images


def _cut(images: LabelledImages, options: ImageOptions, groups: Mapping[Path, str] | None) -> None:
    """Cut `all` into training and test."""
    paths, labels = images.paths.pop("all"), images.labels.pop("all")
    train, test = split_samples(
        labels,
        images.classes,
        test_fraction=options.test_fraction,
        random_state=options.random_state,
        groups=[groups[path] for path in paths] if groups is not None else None,
    )
    images.indices = {"train": train, "test": test}
    for split, chosen in images.indices.items():
        images.paths[split], images.labels[split] = [paths[index] for index in chosen], labels[chosen]


def _unused_settings(path: str, options: ImageOptions) -> list[str]:
    """Return notes on settings of the split that were given though the data has its own; defaults are not noted."""
    defaults = {"test_fraction": TEST_FRACTION, "random_state": RANDOM_STATE}
    given = [name for name, default in defaults.items() if getattr(options, name) != default]
    return [f"data.{name} is not used: {path!r} has its own train and test" for name in given]


def image_splits(
    root: Path,
    images: LabelledImages,
    pipeline: Pipeline,
    options: ImageOptions,
    *,
    notes: Iterable[str] = (),
    groups: Mapping[Path, str] | None = None,
) -> Splits:
    """Return the splits of labelled images of `root`, a folder or a CSV file.

    The values of a regression are scaled by those of training. Raises DataError for a single class, and where no image
    of a class can be read.
    """
    classes, task = images.classes, images.task
    if task != "regression" and len(classes) < 2:
        raise DataError(f"{str(root)!r} has one class, {classes[0]!r}; a model needs two or more to tell apart")
    skips, channels = options.on_bad == "skip", options.channels
    bad = unreadable(root, [path for paths in images.paths.values() for path in paths]) if skips else {}
    skipped: dict[str, int] = {}
    readable = {split: [path for path in paths if path not in bad] for split, paths in images.paths.items()}
    pipeline, ranged = with_range(pipeline, root, readable)
    notes = [*images.notes, *notes, *ranged]
    for split, paths in [*images.paths.items()]:
        kept = [index for index, path in enumerate(paths) if path not in bad]
        if len(kept) < len(paths):
            notes += left_out_notes(split, [bad[path] for path in paths if path in bad], len(paths))
            skipped[split] = len(paths) - len(kept)
            before = present(images.labels[split])
            images.keep(split, kept)
            lost = [classes[label] for label in sorted(before - present(images.labels[split]))]
            if lost or not kept:
                raise DataError(
                    f"no image {f'of {few(lost)} ' if lost else ''}in split {split!r} of {str(root)!r} "
                    f"can be read: {'; '.join(notes[-skipped[split] :][:10])}"
                )
    target = TargetScale.of(images.labels["train"]) if task == "regression" else None
    data: dict[str, Any] = {}
    for split, paths in images.paths.items():
        labels = images.labels[split] if target is None else target.scaled(images.labels[split])
        way = pipeline if split == "train" else pipeline.for_evaluation()
        data[split] = ImageData(ImageFiles(paths, way, channels, part=split), labels, way, paths=paths, skips=skips)
        data[split].groups = [groups[path] for path in paths] if groups is not None else None
    name, source = root.stem if root.is_file() else root.resolve().name, str(root.resolve())
    more = {"indices": images.indices, "source": source, "notes": tuple(notes), "skipped": skipped}
    return Splits.of_images(name, data, pipeline, channels, classes, task=task, target=target, **more)
