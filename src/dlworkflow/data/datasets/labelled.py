"""Image files with labels to score a trained model on: a folder or a CSV, matched to the model's classes by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from dlworkflow.data.check.facts import unreadable
from dlworkflow.data.datasets.image_folder import left_out_of
from dlworkflow.data.datasets.image_splits import encoded
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.folders.image_rows import Target, names_in
from dlworkflow.data.folders.image_table import Columns, read_image_table
from dlworkflow.data.folders.layout import read_tree
from dlworkflow.data.folders.listing import list_images
from dlworkflow.data.images.dataset import ImageData, ImageFiles
from dlworkflow.data.images.options import OnBad
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.splits import left_out_notes
from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.errors import DataError, MissingDataError, MissingSplitError, few
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
    columns: Columns | None = None,
    target: TargetScale | None = None,
) -> Labelled:
    """Load images to score a trained model on: labels by name among `classes`, the model's own.

    `path` is a folder with the split's folder in it, or class folders alone, or a CSV file, whose `columns` are those
    of the model's training data and name its task; the values of a regression are scaled by `target`. Raises DataError
    with both lists for a class that the model does not know, unless `ignore_extra` leaves its images out.
    """
    root, columns = user_path(path), columns or Columns(task="multiclass")
    labels = list(map(nfc, classes))
    labelled, notes = _labelled(root, path, split, labels, columns)
    found = sorted({name for _, label in labelled for name in names_in(label)})
    extra = [name for name in found if name not in labels]
    if extra and not ignore_extra:
        raise DataError(
            f"{path!r} has classes that the model does not know: {few(extra)}; it has {few(found)}, "
            f"the model {few(classes)} (--ignore-extra leaves the others out)"
        )
    known = [(image, label) for image, label in labelled if not {*names_in(label)} & {*extra}]
    if not known:
        of_classes = f" of the model's classes {few(classes)}" if classes else ""
        raise DataError(f"{path!r} has no {split} images{of_classes}")
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
    numbers = encoded([label for _, label in known], labels, columns.task)
    numbers = numbers if target is None else target.scaled(numbers)
    images = ImageData(files, numbers, way, paths=chosen, skips=on_bad == "skip")
    return Labelled(images, len(every) - len(chosen), tuple(notes))


def _labelled(
    root: Path, path: str, split: str, known: Collection[str], columns: Columns
) -> tuple[list[tuple[Path, Target]], list[str]]:
    """Return (image, label) of a split, or of all images where there are no splits, and notes on what is left out."""
    if root.is_file():
        given = read_image_table(root, columns).rows
        if "all" not in given and split not in given:
            raise MissingSplitError(f"{path!r} has no split {split!r}; it has {', '.join(given)}")
        return given.get("all", given.get(split, [])), []
    if not root.is_dir():
        raise MissingDataError(f"--data: no such folder or file: {path!r}")
    if columns.task != "multiclass":
        labels = "path,value" if columns.task == "regression" else "path,labels"
        raise DataError(
            f"--data: {path!r} is a folder of classes, the model's task is {columns.task}; give a CSV of {labels}"
        )
    tree = read_tree(root, known=known)
    if "all" not in tree.folders and split not in tree.folders:
        raise MissingSplitError(f"{path!r} has no split {split!r}; it has {', '.join(tree.folders)}")
    chosen = split if split in tree.folders else "all"
    listed = list_images(tree.folders[chosen])
    notes = [f"split {split!r} has no images of {few(listed.empty)}"] if listed.empty else []
    if said := left_out_of(tree, chosen, listed):
        notes.append(said)
    return [*zip(listed.paths, listed.names, strict=True)], notes
