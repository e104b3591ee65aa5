"""Images listed in a CSV file, with one class, several classes or a number each. Nothing beside the file is changed."""

from __future__ import annotations

from dlworkflow.data.datasets.image_splits import image_splits, numbered
from dlworkflow.data.folders.image_rows import label_faults, names_in
from dlworkflow.data.folders.image_table import Columns, EmptyLabels, TaskSetting, read_image_table
from dlworkflow.data.folders.listing import csv_faults, in_several_splits, is_there, not_there, read_groups
from dlworkflow.data.images.options import ImageOptions, with_image_options
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError, MissingDataError, few
from dlworkflow.files.paths import user_path


@with_image_options
def load_image_csv(
    options: ImageOptions,
    *,
    path: str,
    path_column: str | None = None,
    label_column: str | list[str] | None = None,
    task: TaskSetting = "auto",
    empty_labels: EmptyLabels = "error",
    group: str | None = None,
) -> Splits:
    """Load images listed in a CSV file with a column of paths, one or more of labels, and perhaps `split`.

    Columns and task are as in `read_image_table`. Paths are relative to the file. Without a `split` column, a seeded,
    stratified split is made. Images that are equal in column `group` stay in one split. A file in several splits is
    named in the notes, one with two labels is an error, and so is a file that is not there.
    """
    file = user_path(path)
    if not file.exists():
        raise MissingDataError(f"data.path: no file {path!r}")
    other = [group] if group is not None else []
    table = read_image_table(file, Columns(path_column, label_column, task, empty_labels, other))
    pipeline = options.pipeline()
    if missing := [image for rows in table.rows.values() for image, _ in rows if not is_there(image)]:
        raise MissingDataError(f"{path!r} lists files that are not there: {not_there(missing)}")
    for fault in (*csv_faults(table.rows), *label_faults(table.rows)):
        raise DataError(f"{path!r}: {fault}")
    if table.task == "multilabel" and len(table.classes) == 1:
        raise DataError(
            f"{path!r} has one class, {table.classes[0]!r}; for images with it and without it, name its column of 0 "
            "and 1 with --label-column"
        )
    trained = {name for _, target in table.rows.get("train", table.rows.get("all", [])) for name in names_in(target)}
    if never := [name for name in table.classes if name not in trained]:
        others = ", ".join(name for name in table.classes if name in trained)
        raise DataError(
            f"{path!r}: no training image has a 1 in column(s) {few(never)}; leave them out with "
            f"data.label_column=[{others}]"
        )
    called = {split: f"{path} ({split})" for split in table.rows}
    groups = read_groups(file, group, table.path_column) if group is not None else None
    images = numbered(table.rows, table.classes, called, path, options, task=table.task, groups=groups)
    if table.task == "regression" and len({*images.labels["train"].tolist()}) == 1:
        raise DataError(f"{path!r}: every training image has the value {float(images.labels['train'][0]):g}")
    images.notes += [*in_several_splits(images.paths), *table.notes]
    return image_splits(file, images, pipeline, options, groups=groups)
