"""Images in folders (`train/<class>/`, `test/<class>/`, or `<class>/` alone) or listed in a CSV file.

The training split decides the classes; other splits are matched to them by name. Nothing in a folder is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from dlworkflow.data.check.facts import unreadable
from dlworkflow.data.check.value_ranges import with_range
from dlworkflow.data.described import Described
from dlworkflow.data.folders.class_names import alike_in_case, match_classes, nfc
from dlworkflow.data.folders.layout import FolderLayout, Tree, class_folders, read_tree
from dlworkflow.data.folders.listing import (
    Listed,
    csv_faults,
    in_several_splits,
    is_there,
    label_faults,
    list_images,
    none_empty,
    not_there,
    read_csv,
    read_groups,
)
from dlworkflow.data.folders.listing import find_classes as find_classes
from dlworkflow.data.images.dataset import ImageData, ImageFiles
from dlworkflow.data.images.decoding import load_image
from dlworkflow.data.images.formats import is_hidden, is_image, left_out
from dlworkflow.data.images.options import RANDOM_STATE, TEST_FRACTION, ImageOptions, with_image_options
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import RangeSetting, parse
from dlworkflow.data.splits import Splits, left_out_notes, stratified_split
from dlworkflow.errors import DataError, MissingDataError, few
from dlworkflow.files.paths import user_path


class ImageFolderCustom(Described, Dataset[Any]):
    """What torchvision's `ImageFolder` does, built from nothing: `targ_dir/<class>/<image>` with labels by name.

    A sample is (transform(image), label), or (image, label) without a transform; images are RGB, the way up
    that their EXIF data says. `range` [low, high] are the values of images of more than 8 bits that become black and
    white. Raises DataError for an empty class.
    """

    def __init__(
        self,
        targ_dir: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        *,
        range: RangeSetting = None,
    ) -> None:
        folders = class_folders(Path(targ_dir))
        listed = list_images(folders)
        none_empty(listed, Path(targ_dir))
        self.classes, self.paths, self._root = [*folders], listed.paths, Path(targ_dir)
        self.labels = [self.class_to_idx[name] for name in listed.names]
        self.transform, self._value_range = transform, parse(None, image_size=1, value_range=range).value_range

    def use_classes(self, classes: Sequence[str]) -> None:
        """Take the labels from the classes of another split, by name."""
        labels = {nfc(name): label for label, name in enumerate(classes)}
        self.labels = [labels[self.classes[label]] for label in self.labels]
        self.classes = list(classes)

    def load_image(self, index: int) -> Any:
        """Return one image, RGB, untransformed."""
        return load_image(self.paths[index], value_range=self._value_range)

    def _facts(self) -> dict[str, object]:
        return {"Root location": self._root} | ({"Transform": self.transform} if self.transform else {})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.load_image(index)
        return (self.transform(image) if self.transform else image), self.labels[index]


@with_image_options
def load_image_folder(options: ImageOptions, *, path: str, layout: FolderLayout = "auto") -> Splits:
    """Load `path/train/<class>/`, `path/test/<class>/` (and `val`), or `path/<class>/` split by a seed.

    `layout` says how to read a folder whose names may mean several things, `auto` finds out: `split_first` is
    `train/<class>/`, `class_first` is `<class>/train/`, `classes` is `<class>/` alone.
    """
    if not user_path(path).is_dir():
        raise MissingDataError(f"data.path: no folder {path!r}")
    pipeline = options.pipeline()
    tree = read_tree(user_path(path), layout)
    if fault := tree.fault():
        raise DataError(f"{path!r} {fault}")
    listed = {split: list_images(folders) for split, folders in tree.folders.items()}
    for split, own in listed.items():
        if split in ("train", "all"):
            none_empty(own, tree.tops[split])
        elif not own.paths:
            raise DataError(f"no images in split {split!r} of {path!r}")
    given = {split: [*zip(own.paths, own.names, strict=True)] for split, own in listed.items()}
    classes = [*tree.folders.get("train", tree.folders.get("all", {}))]
    called = {
        split: str(top) if tree.layout == "split_first" else f"{path} ({split})" for split, top in tree.tops.items()
    }
    numbered, indices, notes = _numbered(given, classes, called, path, options)
    if tree.root != user_path(path):
        notes.append(f"{path!r} is read from its folder {tree.root.name!r}")
    if outside := tree.outside():
        notes.append(f"left out, as they belong to no split: {few(outside)}")
    notes += [said for split, own in listed.items() if (said := left_out_of(tree, split, own))]
    return _splits(tree.root, classes, numbered, pipeline, options, notes=notes, indices=indices)


@with_image_options
def load_image_csv(options: ImageOptions, *, path: str, group: str | None = None) -> Splits:
    """Load images listed in a CSV file with columns `path`, `label` and, where it is there, `split`.

    Paths are relative to the file. Without a `split` column, a seeded, stratified split is made. Images
    that are equal in column `group` stay in one split. A file in several
    splits is named in the notes, one with two labels is an error, and so is a file that is not there.
    """
    file = user_path(path)
    if not file.exists():
        raise MissingDataError(f"data.path: no file {path!r}")
    given = read_csv(file)
    pipeline = options.pipeline()
    if missing := [image for rows in given.values() for image, _ in rows if not is_there(image)]:
        raise MissingDataError(f"{path!r} lists files that are not there: {not_there(missing)}")
    for fault in (*csv_faults(given), *label_faults(given)):
        raise DataError(f"{path!r}: {fault}")
    classes = sorted({label for _, label in given.get("train", given.get("all", []))})
    called = {split: f"{path} ({split})" for split in given}
    groups = read_groups(file, group) if group is not None else None
    numbered, indices, notes = _numbered(given, classes, called, path, options, groups)
    notes += in_several_splits({split: images for split, (images, _) in numbered.items()})
    return _splits(file, classes, numbered, pipeline, options, notes=notes, indices=indices, groups=groups)


def left_out_of(tree: Tree, split: str, listed: Listed) -> str | None:
    """Return how many files of which kinds are left out of a split's folder."""
    loose = tree.loose.get(split, [])
    beside = [entry for entry in loose if entry.is_file() and not is_hidden(entry)]
    said = left_out(
        [*listed.others, *(entry for entry in beside if not is_image(entry.name))],
        [*listed.hidden, *(entry for entry in loose if is_hidden(entry))],
        [entry for entry in beside if is_image(entry.name)],
    )
    return f"left out of {str(tree.tops[split])!r}: {said}" if said else None


_Numbered = dict[str, tuple[list[Path], list[int]]]
"""{split: (images, labels)}."""


def _numbered(
    given: Mapping[str, list[tuple[Path, str]]],
    classes: Sequence[str],
    called: Mapping[str, str],
    path: str,
    options: ImageOptions,
    groups: Mapping[Path, str] | None = None,
) -> tuple[_Numbered, dict[str, list[int]] | None, list[str]]:
    """Turn {split: [(image, class)]} into labels, cut into splits where it is not; val is used for a missing test.

    Returns the splits, the indices of a cut, and notes. `called` is how errors call a split.
    """
    numbers = {name: label for label, name in enumerate(classes)}
    numbered, notes = {}, alike_in_case(classes)
    for split, rows in given.items():
        own = sorted({name for _, name in rows})
        match_classes(classes, own, called.get("train", ""), called[split])
        if missing := [name for name in classes if name not in own]:
            notes.append(f"split {split!r} has no images of {few(missing)}")
        numbered[split] = [image for image, _ in rows], [numbers[name] for _, name in rows]
    if "all" in numbered:
        cut, indices = _cut(*numbered["all"], classes, options, groups)
        return cut, indices, notes
    notes = [*_unused_settings(path, options), *notes]
    if "test" not in numbered:
        numbered["test"] = numbered.pop("val")
        notes.append(f"no split 'test' in {path!r}: 'val' is used as the test split")
    return numbered, None, notes


def _cut(
    paths: list[Path],
    labels: list[int],
    classes: Sequence[str],
    options: ImageOptions,
    groups: Mapping[Path, str] | None,
) -> tuple[_Numbered, dict[str, list[int]]]:
    fraction, seed = options.test_fraction, options.random_state
    train, test = stratified_split(
        labels,
        test_fraction=fraction,
        random_state=seed,
        names=classes,
        groups=[groups[path] for path in paths] if groups is not None else None,
    )
    indices = {"train": train, "test": test}
    return {
        split: ([paths[i] for i in chosen], [labels[i] for i in chosen]) for split, chosen in indices.items()
    }, indices


def _unused_settings(path: str, options: ImageOptions) -> list[str]:
    """Return notes on settings of the split that were given though the data has its own; defaults are not noted."""
    defaults = {"test_fraction": TEST_FRACTION, "random_state": RANDOM_STATE}
    given = [name for name, default in defaults.items() if getattr(options, name) != default]
    return [f"data.{name} is not used: {path!r} has its own train and test" for name in given]


def _splits(
    root: Path,
    classes: Sequence[str],
    numbered: _Numbered,
    pipeline: Pipeline,
    options: ImageOptions,
    *,
    notes: Iterable[str] = (),
    indices: dict[str, list[int]] | None = None,
    groups: Mapping[Path, str] | None = None,
) -> Splits:
    if len(classes) < 2:
        raise DataError(f"{str(root)!r} has one class, {classes[0]!r}; a model needs two or more to tell apart")
    every = [path for paths, _ in numbered.values() for path in paths]
    skips, channels = options.on_bad == "skip", options.channels
    bad = unreadable(root, every) if skips else {}
    data, skipped = {}, {}
    readable = {split: [path for path in paths if path not in bad] for split, (paths, _) in numbered.items()}
    pipeline, ranged = with_range(pipeline, root, readable)
    notes = [*notes, *ranged]
    for split, (paths, labels) in numbered.items():
        keep = [index for index, path in enumerate(paths) if path not in bad]
        if len(keep) < len(paths):
            notes += left_out_notes(split, [bad[path] for path in paths if path in bad], len(paths))
            skipped[split] = len(paths) - len(keep)
            if lost := sorted({*labels} - {labels[index] for index in keep}):
                raise DataError(
                    f"no image of {few(classes[label] for label in lost)} in split {split!r} of {str(root)!r} "
                    f"can be read: {'; '.join(notes[-skipped[split] :][:10])}"
                )
            paths, labels = [paths[index] for index in keep], [labels[index] for index in keep]
            if indices is not None:
                indices = indices | {split: [indices[split][index] for index in keep]}
        way = pipeline if split == "train" else pipeline.for_evaluation()
        files = ImageFiles(paths, way, channels, part=split)
        data[split] = ImageData(files, torch.tensor(labels), way, paths=paths, skips=skips)
        data[split].groups = [groups[path] for path in paths] if groups is not None else None
    name, source = root.stem if root.is_file() else root.resolve().name, str(root.resolve())
    more = {"indices": indices, "source": source, "notes": tuple(notes), "skipped": skipped}
    return Splits.of_images(name, data, pipeline, channels, classes, **more)
