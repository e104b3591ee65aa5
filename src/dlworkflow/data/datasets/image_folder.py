"""Images in folders: `train/<class>/`, `test/<class>/`, or `<class>/` alone.

The training split decides the classes; other splits are matched to them by name. Nothing in a folder is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dlworkflow.data.datasets.image_splits import image_splits, numbered
from dlworkflow.data.described import Described
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.folders.layout import FolderLayout, Tree, class_folders, read_tree
from dlworkflow.data.folders.listing import Listed, list_images, none_empty
from dlworkflow.data.folders.listing import find_classes as find_classes
from dlworkflow.data.images.decoding import load_image
from dlworkflow.data.images.formats import is_hidden, is_image, left_out
from dlworkflow.data.images.options import ImageOptions, with_image_options
from dlworkflow.data.images.transforms import RangeSetting, parse
from dlworkflow.data.splits import Splits
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
    images, notes = numbered(given, classes, called, path, options), list[str]()
    if tree.root != user_path(path):
        notes.append(f"{path!r} is read from its folder {tree.root.name!r}")
    if outside := tree.outside():
        notes.append(f"left out, as they belong to no split: {few(outside)}")
    notes += [said for split, own in listed.items() if (said := left_out_of(tree, split, own))]
    return image_splits(tree.root, images, pipeline, options, notes=notes)


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
