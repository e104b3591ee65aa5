"""Image files with labels to score a trained model on: a folder or a CSV, matched to the model's classes by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from dlworkflow.data.check.facts import unreadable
from dlworkflow.data.datasets.image_folder import left_out_of
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.folders.layout import read_tree
from dlworkflow.data.folders.listing import list_images, read_csv
from dlworkflow.data.images.dataset import ImageData, ImageFiles
from dlworkflow.data.images.options import OnBad
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.splits import left_out_notes
from dlworkflow.errors import DataError, MissingDataError, few
from dlworkflow.files.paths import user_path


class Labelled(NamedTuple):
    """Images to score a model on, how many could not be read and were left out, and sentences that name those."""

    images: ImageData
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
    """Load images to score a trained model on: labels by name among `classes`, the model's own.

    `path` is a folder with the split's folder in it, or class folders alone, or a CSV of path,label[,split]. Raises
    DataError with both lists for a class that the model does not know, unless `ignore_extra` leaves its images out.
    """
    root = user_path(path)
    labels = {nfc(name): label for label, name in enumerate(classes)}
    labelled, notes = _labelled(root, path, split, labels)
    found = sorted({label for _, label in labelled})
    extra = [name for name in found if name not in labels]
    if extra and not ignore_extra:
        raise DataError(
            f"{path!r} has classes that the model does not know: {few(extra)}; it has {few(found)}, "
            f"the model {few(classes)} (--ignore-extra leaves the others out)"
        )
    known = [(image, labels[label]) for image, label in labelled if label in labels]
    if not known:
        raise DataError(f"{path!r} has no {split} images of the model's classes {few(classes)}")
    every = [image for image, _ in known]
    bad = unreadable(root, every) if on_bad == "skip" else {}
    left_out = left_out_notes(split, [bad[path] for path in every if path in bad], len(every)) if bad else []
    notes += left_out
    known = [(image, label) for image, label in known if image not in bad]
    if not known:
        raise DataError(f"no {split} image of {path!r} can be read: {'; '.join(left_out[1:11])}")
    way = pipeline.for_evaluation()
    chosen = [image for image, _ in known]
    files = ImageFiles(chosen, way, channels, part=split)
    images = ImageData(files, torch.tensor([label for _, label in known]), way, paths=chosen, skips=on_bad == "skip")
    return Labelled(images, len(every) - len(chosen), tuple(notes))


def _labelled(root: Path, path: str, split: str, known: Collection[str]) -> tuple[list[tuple[Path, str]], list[str]]:
    """Return (image, class) of a split, or of all images where there are no splits, and notes on what is left out."""
    if root.is_file():
        given = read_csv(root)
        return given.get("all", given.get(split, [])), []
    if not root.is_dir():
        raise MissingDataError(f"--data: no such folder or file: {path!r}")
    tree = read_tree(root, known=known)
    if "all" not in tree.folders and split not in tree.folders:
        raise DataError(f"{path!r} has no split {split!r}; it has {', '.join(tree.folders)}")
    chosen = split if split in tree.folders else "all"
    listed = list_images(tree.folders[chosen])
    notes = [f"split {split!r} has no images of {few(listed.empty)}"] if listed.empty else []
    if said := left_out_of(tree, chosen, listed):
        notes.append(said)
    return [*zip(listed.paths, listed.names, strict=True)], notes
