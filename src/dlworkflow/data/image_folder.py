"""Pictures in folders (`train/<class>/`, `test/<class>/`, or `<class>/` alone) or listed in a CSV file.

The training split decides the classes; other splits are matched to them by name. Nothing in a folder is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import Dataset

from dlworkflow.data.decoding import load_image, pixel_limit
from dlworkflow.data.facts import examine
from dlworkflow.data.images import ImageData, ImageFiles
from dlworkflow.data.listing import (
    csv_faults,
    find_classes,
    in_several_splits,
    is_there,
    label_faults,
    list_pictures,
    listed,
    match_classes,
    not_there,
    read_csv,
    split_fault,
    split_folders,
)
from dlworkflow.data.splits import Splits, stratified_split
from dlworkflow.data.transforms import Pipeline, Spec, parse
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.paths import user_path
from dlworkflow.signatures import Fraction, Seed

TEST_FRACTION, RANDOM_STATE = 0.2, 42
"""How pictures are cut into training and test where nothing else is asked for."""

OnBad = Literal["error", "skip"]
"""What becomes of pictures that cannot be read: an error that names them, or they are left out and named in a note."""


class ImageFolderCustom(Dataset[Any]):
    """What torchvision's `ImageFolder` does, built from nothing: `targ_dir/<class>/<picture>` with labels by name.

    A sample is (transform(picture), label), or (picture, label) without a transform; pictures are RGB, the way up
    that their EXIF data says. Raises DataError for an empty class.
    """

    def __init__(self, targ_dir: str | os.PathLike[str], transform: Callable[[Any], Any] | None = None) -> None:
        self.classes, self.class_to_idx = find_classes(targ_dir)
        self.paths, self.targets, _ = list_pictures(Path(targ_dir), self.classes)
        self.transform = transform

    def use_classes(self, classes: Sequence[str]) -> None:
        """Take the labels from the classes of another split, by name."""
        labels = {name: label for label, name in enumerate(classes)}
        self.targets = [labels[self.classes[target]] for target in self.targets]
        self.classes, self.class_to_idx = list(classes), labels

    def load_image(self, index: int) -> Any:
        """Return one picture, RGB, untransformed."""
        return load_image(self.paths[index])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = self.load_image(index)
        return (self.transform(picture) if self.transform else picture), self.targets[index]


def load_image_folder(
    *,
    path: str,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    test_fraction: Fraction = TEST_FRACTION,
    random_state: Seed = RANDOM_STATE,
    on_bad: OnBad = "error",
    fast_decode: bool = False,
) -> Splits:
    """Load `path/train/<class>/`, `path/test/<class>/` (and `val`), or `path/<class>/` cut by a seeded split.

    With `on_bad` skip, pictures that cannot be read are left out and named in the notes.
    """
    root = user_path(path)
    if not root.is_dir():
        raise MissingDataError(f"data.path: no folder {path!r}")
    pipeline = parse(transform, image_size=image_size, channels=channels, fast_decode=fast_decode)
    folders = split_folders(root)
    if not folders:
        classes, _ = find_classes(root)
        paths, labels, notes = list_pictures(root, classes)
        cut, indices = _cut(paths, labels, classes, test_fraction, random_state)
        return _splits(root, classes, cut, pipeline, channels, on_bad=on_bad, notes=notes, indices=indices)
    if fault := split_fault(folders):
        raise DataError(f"{path!r} {fault}")
    notes = _unused_settings(path, test_fraction, random_state)
    if "test" not in folders:
        folders["test"] = folders.pop("val")
        notes.append(f"no folder 'test' in {path!r}: {folders['test'].name!r} is used as the test split")
    classes, _ = find_classes(folders["train"])
    numbered = {}
    for split, folder in folders.items():
        own, _ = find_classes(folder)
        match_classes(classes, own, folders["train"], folder)
        numbered[split], more = _list_split(folder, own, classes)
        notes += more
        if missing := [name for name in classes if name not in own]:
            notes.append(f"split {split!r} has no pictures of {listed(missing)}")
    return _splits(root, classes, numbered, pipeline, channels, on_bad=on_bad, notes=notes)


def load_image_csv(
    *,
    path: str,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    test_fraction: Fraction = TEST_FRACTION,
    random_state: Seed = RANDOM_STATE,
    on_bad: OnBad = "error",
    fast_decode: bool = False,
) -> Splits:
    """Load pictures listed in a CSV file with columns `path`, `label` and, where it is there, `split`.

    Paths are relative to the file. Without a `split` column, a seeded, stratified split is made. A file in several
    splits is named in the notes, one with two labels is an error. `on_bad` as for `load_image_folder`; a file that is
    not there is an error all the same.
    """
    file = user_path(path)
    if not file.exists():
        raise MissingDataError(f"data.path: no file {path!r}")
    given = read_csv(file)
    pipeline = parse(transform, image_size=image_size, channels=channels, fast_decode=fast_decode)
    if missing := [picture for rows in given.values() for picture, _ in rows if not is_there(picture)]:
        raise MissingDataError(f"{path!r} lists files that are not there: {not_there(missing)}")
    for fault in (*csv_faults(given), *label_faults(given)):
        raise DataError(f"{path!r}: {fault}")
    classes = sorted({label for _, label in given.get("train", given.get("all", []))})
    labels = {name: label for label, name in enumerate(classes)}
    for split, rows in given.items():
        match_classes(classes, sorted({label for _, label in rows}), f"{path} (train)", f"{path} ({split})")
    numbered = {
        split: ([picture for picture, _ in rows], [labels[label] for _, label in rows]) for split, rows in given.items()
    }
    indices = None
    if "all" in numbered:
        numbered, indices = _cut(*numbered["all"], classes, test_fraction, random_state)
    notes = [] if indices else _unused_settings(path, test_fraction, random_state)
    notes += in_several_splits({split: pictures for split, (pictures, _) in numbered.items()})
    return _splits(file, classes, numbered, pipeline, channels, on_bad=on_bad, notes=notes, indices=indices)


class Labelled(NamedTuple):
    """Pictures to score a model on, how many could not be read and were left out, and sentences that name those."""

    pictures: ImageData
    skipped: int
    notes: tuple[str, ...]


def load_labelled(
    path: str,
    classes: Sequence[str],
    pipeline: Pipeline,
    channels: int,
    *,
    split: str = "test",
    ignore_extra: bool = False,
    on_bad: OnBad = "error",
) -> Labelled:
    """Load pictures to score a trained model on: labels by name among `classes`, the model's own.

    `path` is a folder with the split's folder in it, or class folders alone, or a CSV of path,label[,split]. Raises
    DataError with both lists for a class that the model does not know, unless `ignore_extra` leaves its pictures out.
    """
    root = user_path(path)
    labelled, notes = _labelled(root, path, split)
    found = sorted({label for _, label in labelled})
    extra = [name for name in found if name not in classes]
    if extra and not ignore_extra:
        raise DataError(
            f"{path!r} has classes that the model does not know: {listed(extra)}; it has {listed(found)}, "
            f"the model {listed(classes)} (--ignore-extra leaves the others out)"
        )
    labels = {name: label for label, name in enumerate(classes)}
    known = [(picture, labels[label]) for picture, label in labelled if label in labels]
    if not known:
        raise DataError(f"{path!r} has no {split} pictures of the model's classes {listed(classes)}")
    every = [picture for picture, _ in known]
    bad = _unreadable(root, every) if on_bad == "skip" else {}
    notes += _left_out(split, every, bad) if bad else []
    known = [(picture, label) for picture, label in known if picture not in bad]
    if not known:
        raise DataError(f"no {split} picture of {path!r} can be read: {'; '.join(_left_out(split, every, bad)[1:11])}")
    way = pipeline.for_evaluation()
    chosen = [picture for picture, _ in known]
    files = ImageFiles(chosen, way, channels, part=split)
    pictures = ImageData(files, torch.tensor([label for _, label in known]), way, paths=chosen)
    return Labelled(pictures, len(every) - len(chosen), tuple(notes))


def _labelled(root: Path, path: str, split: str) -> tuple[list[tuple[Path, str]], list[str]]:
    """List (picture, class) of a split, or of all there is where nothing is split, and say what is left out."""
    if root.is_file():
        given = read_csv(root)
        return given.get("all", given.get(split, [])), []
    if not root.is_dir():
        raise MissingDataError(f"--data: no such folder or file: {path!r}")
    folders = split_folders(root)
    if folders and split not in folders:
        raise DataError(f"{path!r} has no split {split!r}; it has {', '.join(folders)}")
    folder = folders.get(split, root)
    own, _ = find_classes(folder)
    paths, labels, notes = list_pictures(folder, own)
    return [(picture, own[label]) for picture, label in zip(paths, labels, strict=True)], notes


_Listed = tuple[list[Path], list[int]]


def _cut(
    paths: list[Path], labels: list[int], classes: Sequence[str], test_fraction: float, random_state: int
) -> tuple[dict[str, _Listed], dict[str, list[int]]]:
    train, test = stratified_split(labels, test_fraction=test_fraction, random_state=random_state, names=classes)
    indices = {"train": train, "test": test}
    return {
        split: ([paths[i] for i in chosen], [labels[i] for i in chosen]) for split, chosen in indices.items()
    }, indices


def _unused_settings(path: str, test_fraction: float, random_state: int) -> list[str]:
    """Say which settings of the cut were asked for though nothing is cut: a run's own settings hold the usual ones."""
    given = {"test_fraction": test_fraction != TEST_FRACTION, "random_state": random_state != RANDOM_STATE}
    return [f"data.{name} is not used: {path!r} has its own train and test" for name, asked in given.items() if asked]


def _splits(
    root: Path,
    classes: Sequence[str],
    numbered: dict[str, _Listed],
    pipeline: Pipeline,
    channels: int,
    *,
    on_bad: OnBad,
    notes: Iterable[str] = (),
    indices: dict[str, list[int]] | None = None,
) -> Splits:
    if len(classes) < 2:
        raise DataError(f"{str(root)!r} has one class, {classes[0]!r}; a model needs two or more to tell apart")
    every = [path for paths, _ in numbered.values() for path in paths]
    bad = _unreadable(root, every) if on_bad == "skip" else {}
    data, skipped = {}, {}
    notes = list(notes)
    for split, (paths, labels) in numbered.items():
        keep = [index for index, path in enumerate(paths) if path not in bad]
        if len(keep) < len(paths):
            notes += _left_out(split, paths, bad)
            skipped[split] = len(paths) - len(keep)
            if lost := sorted({*labels} - {labels[index] for index in keep}):
                raise DataError(
                    f"no picture of {listed(classes[label] for label in lost)} in split {split!r} of {str(root)!r} "
                    f"can be read: {'; '.join(notes[-skipped[split] :][:10])}"
                )
            paths, labels = [paths[index] for index in keep], [labels[index] for index in keep]
            if indices is not None:
                indices = indices | {split: [indices[split][index] for index in keep]}
        way = pipeline if split == "train" else pipeline.for_evaluation()
        data[split] = ImageData(ImageFiles(paths, way, channels, part=split), torch.tensor(labels), way, paths=paths)
    return Splits(
        name=root.stem if root.is_file() else root.resolve().name,
        task="multiclass",
        train=data["train"],
        test=data["test"],
        val=data.get("val"),
        in_shape=(channels, *pipeline.size),
        classes=tuple(classes),
        transform=pipeline.for_evaluation(),
        indices=indices,
        source=str(root.resolve()),
        notes=tuple(notes),
        skipped=skipped,
    )


def _unreadable(root: Path, every: Sequence[Path]) -> dict[Path, str]:
    """Return {picture: reason} of those that cannot be read; what was found before is remembered (see `facts`)."""
    limit = pixel_limit()
    found = examine(every, root, max_pixels=limit).facts
    return {path: reason for path, facts in found.items() if (reason := facts.fault(limit))}


def _left_out(split: str, paths: Sequence[Path], bad: dict[Path, str]) -> list[str]:
    named = [f"left out of {split}: {str(path)!r}: {bad[path]}" for path in paths if path in bad]
    return [f"{len(named)} of {len(paths)} {split} pictures cannot be read and are left out", *named]


def _list_split(folder: Path, own: Sequence[str], classes: Sequence[str]) -> tuple[_Listed, list[str]]:
    """List a split's pictures with labels of the training split."""
    paths, targets, notes = list_pictures(folder, own)
    labels = [classes.index(name) for name in own]
    return (paths, [labels[target] for target in targets]), notes
