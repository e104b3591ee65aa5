"""How a folder of images is laid out: which folders hold which class of which split; opens no image.

A folder whose name may mean two things is an error, never taken to mean one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlworkflow.data.folders.class_names import folded, nfc, one_form
from dlworkflow.data.folders.listing import SPLIT_NAMES, classes_in, entries_of, folders_of, look_into
from dlworkflow.data.images.formats import is_hidden, is_image
from dlworkflow.errors import DataError, few

FolderLayout = Literal["auto", "split_first", "class_first", "classes"]
"""split_first is train/<class>/, class_first is <class>/train/, classes is <class>/ alone, which is split by a seed."""


@dataclass(frozen=True)
class Tree:
    """The class folders of each split, {split: {class: folder}}; the only split is `all` where nothing is split.

    `tops` are the folders that hold a split's classes, `loose` is {split: what is there and belongs to no class},
    with "" for what belongs to no split.
    """

    layout: str
    root: Path
    folders: dict[str, dict[str, Path]]
    tops: dict[str, Path]
    loose: dict[str, list[Path]]

    def outside(self) -> list[Path]:
        """Return images, and folders that hold some, which belong to no split."""
        seen = [entry for entry in self.loose.get("", ()) if not is_hidden(entry)]
        return [e for e in seen if (look_into(e).images if e.is_dir() else is_image(e.name))]

    def fault(self) -> str | None:
        """Return what a model cannot be trained without, or None; val is used for test."""
        if "all" in self.folders or {"train", "test"} <= {*self.folders} or {"train", "val"} <= {*self.folders}:
            return None
        if "train" not in self.folders:
            return f"has {few(self.folders)} but no folder 'train'"
        return "has a folder 'train' but no 'test'; add one, or give the class folders alone"


def read_tree(root: Path, layout: str = "auto", *, known: Collection[str] = ()) -> Tree:
    """Find the class folders below `root`, or in the only folder there where that holds them all.

    Folders that are all called as `known` classes are classes, whatever else their names may mean.
    Raises MissingDataError where there are none, DataError where `layout` is auto and names may mean two things, and
    where two folders are one split or one class in two ways of writing.
    """
    if layout == "auto":
        layout, root = _recognised(root, known)
    return _READ[layout](root)


def class_folders(folder: Path) -> dict[str, Path]:
    """Return {class: its folder} in a folder, sorted by the folders' names, the classes' names in NFC.

    Raises MissingDataError where there are none.
    """
    found = classes_in(folder)
    one_form((path.name for path in found), folder)
    return {nfc(path.name): path for path in found}


def _recognised(root: Path, known: Collection[str]) -> tuple[str, Path]:
    """Return which layout a folder has, and where it begins: in its only folder, where that holds all classes."""
    folders = folders_of(root)
    if known and {nfc(folder.name) for folder in folders} <= set(known) and not any(map(_is_split, folders)):
        return "classes", root
    if len(folders) == 1 and not _by_split(folders) and not _images_in(folders[0]):
        inner = folders_of(folders[0])
        if _by_split(inner) or len(_with_images(inner)) > 1:
            root, folders = folders[0], inner
    if by_split := _by_split(folders):
        if others := _with_images(set(folders) - {folder for named in by_split.values() for folder in named}):
            raise _ambiguous(root, others, f"beside {few(by_split)}: another split, or are all of them classes?")
        return "split_first", root
    split = [folder for folder in folders if _is_split(folder)]
    if not split:
        return "classes", root
    outside = _with_images(set(folders) - set(split))
    for folder in split:
        inner = folders_of(folder)
        named = {part for parts in _by_split(inner).values() for part in parts}
        outside += ([folder] if _images_in(folder) else []) + _with_images(set(inner) - named)
    if outside:
        raise _ambiguous(root, outside, f"outside of {few(_by_split(folders_of(split[0])))}, which its classes have.")
    return "class_first", root


def _split_first(root: Path) -> Tree:
    folders = folders_of(root)
    tops = _one_each(root, _by_split(folders))
    found = {split: class_folders(top) for split, top in tops.items()}
    loose = {split: _others(top, found[split].values()) for split, top in tops.items()}
    loose[""] = _others(root, tops.values())
    return Tree("split_first", root, found, tops, loose)


def _class_first(root: Path) -> Tree:
    classes = class_folders(root)
    parts = {name: _one_each(folder, _by_split(folders_of(folder))) for name, folder in classes.items()}
    found = {
        split: folders
        for split in SPLIT_NAMES
        if (folders := {name: own[split] for name, own in parts.items() if split in own})
    }
    loose = [entry for name, folder in classes.items() for entry in _others(folder, parts[name].values())]
    tops = dict.fromkeys(found, root)
    return Tree("class_first", root, found, tops, {"": [*_others(root, classes.values()), *loose]})


def _classes(root: Path) -> Tree:
    found = class_folders(root)
    return Tree("classes", root, {"all": found}, {"all": root}, {"all": _others(root, found.values())})


_READ = {"split_first": _split_first, "class_first": _class_first, "classes": _classes}


def _one_each(root: Path, by_split: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """Return {split: folder}. Raises DataError where two folders may be one split."""
    for split, folders in by_split.items():
        if len(folders) > 1:
            names = few(folder.name for folder in folders)
            raise DataError(f"{str(root)!r} has {names}, of which one can be the split {split!r}; rename or remove one")
    return {split: folders[0] for split, folders in by_split.items()}


def _ambiguous(root: Path, odd: Iterable[Path], where: str) -> DataError:
    names = few(sorted(str(folder.relative_to(root)) for folder in odd))
    return DataError(
        f"{str(root)!r} has images in {names} {where} Rename or move them, or set data.layout to split_first "
        "(train/<class>/), class_first (<class>/train/) or classes (<class>/)"
    )


def _by_split(folders: Iterable[Path]) -> dict[str, list[Path]]:
    """Return {split: folders that are called so}, of the splits that have any."""
    found = {
        split: [folder for folder in folders if folded(folder.name) in names] for split, names in SPLIT_NAMES.items()
    }
    return {split: named for split, named in found.items() if named}


def _is_split(folder: Path) -> bool:
    return bool(_by_split(folders_of(folder)))


def _others(root: Path, used: Iterable[Path]) -> list[Path]:
    taken = set(used)
    return [entry for entry in entries_of(root) if entry not in taken]


def _images_in(folder: Path) -> bool:
    """Return whether images are in a folder itself."""
    return any(is_image(entry.name) and not is_hidden(entry) and not entry.is_dir() for entry in entries_of(folder))


def _with_images(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if look_into(folder).images]
