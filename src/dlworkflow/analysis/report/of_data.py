"""The data of a run: its splits and classes, its columns, some of its samples."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from dlworkflow.analysis.figures import Material
from dlworkflow.analysis.report.document import Block, Fold, Gallery, Picture, Section, Table, Text
from dlworkflow.analysis.report.of_scores import samples_of
from dlworkflow.analysis.report.pictures import of_figure, of_image
from dlworkflow.errors import CodeError, DlwError, few
from dlworkflow.files.numbers import number
from dlworkflow.files.text import without_places
from dlworkflow.runs import Summary

EXAMPLES = 12
"""Training images that are shown."""

_SEED = 42
_MOST_CLASSES = 25  # of a table that is not folded
_log = logging.getLogger("dlworkflow")


def data_section(material: Material) -> Section:
    """Return what a run was trained on; what its data would show is left out where it is no longer there."""
    summary = material.run.summary()
    blocks: list[Block] = [Text(_about(summary)), _splits_table(summary)]
    if summary.columns is not None:
        blocks.append(_columns_table(summary.columns))
    try:
        blocks += _of_samples(material)
    except CodeError:
        raise
    except DlwError as error:
        blocks.append(Text(f"Classes by split and examples are left out: {error}."))
    return Section("Data", blocks)


def _about(summary: Summary) -> str:
    shape = "x".join(map(str, summary.in_shape))
    numbers = "1 number" if shape == "1" else f"{shape} numbers"
    size = f" of {shape} (channels, height, width)" if summary.kind == "image" else f" of {numbers}"
    task = {"regression": "a number is predicted for each", "multilabel": "each has any number of the classes"}
    classes = f" {len(summary.classes):,} classes: {few(summary.classes, 12, quoted=False)}." if summary.classes else ""
    each = task.get(summary.task, "each has one class")
    place = without_places(summary.source)
    source = "" if place == summary.data else f" ({place})"
    return f"{summary.data}{source}: {samples_of(summary)}{size}; {each}.{classes}"


def _splits_table(summary: Summary) -> Table:
    skipped = summary.skipped or {}
    columns = {"split": "split", "samples": samples_of(summary)}
    columns |= {"skipped": "unreadable, left out"} if any(skipped.values()) else {}
    rows = [
        {"split": split, "samples": number(count), "skipped": number(skipped.get(split, 0))}
        for split, count in summary.samples.items()
    ]
    return Table("Splits", columns, rows)


def _columns_table(columns: Mapping[str, Any]) -> Block:
    rows = [
        {
            "name": each["name"],
            "kind": "category" if each.get("categories") else "number",
            "values": few(each["categories"], 8, quoted=False)
            if each.get("categories")
            else f"mean {each.get('mean', 0.0):.4g}, standard deviation {each.get('scale', 1.0):.4g}",
        }
        for each in columns["inputs"]
    ]
    headings = {"name": "column", "kind": "kind", "values": "in the training rows"}
    table = Table(f"Columns by which {columns['target']} is predicted", headings, rows)
    return table if len(rows) <= _MOST_CLASSES else Fold(f"The {len(rows)} columns", [table])


def _of_samples(material: Material) -> list[Block]:
    from dlworkflow.analysis.data_figures import draw_data
    from dlworkflow.data.splits import class_counts

    splits = material.splits
    counts = class_counts(splits)
    blocks: list[Block] = [_classes_table(splits.classes, counts)] if counts else []
    if splits.kind == "image":
        return [*blocks, _examples(material)]
    if splits.in_shape in ((1,), (2,)):
        try:
            about = "All samples of the data, by split"
            blocks.append(of_figure(draw_data(splits), "data", about, about))
        except DlwError:  # categories have no place on an axis
            return blocks
    return blocks


def _classes_table(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Block:
    columns = {"class": "class"} | {split: split for split in counts}
    rows = [
        {"class": name} | {split: number(int(of_split[place])) for split, of_split in counts.items()}
        for place, name in enumerate(classes)
    ]
    table = Table("Samples of each class", columns, rows)
    if len(classes) <= _MOST_CLASSES:
        return table
    most, least = (choose(zip(counts["train"], classes, strict=True)) for choose in (max, min))
    counted = f"{least[0]:,} ({least[1]}) to {most[0]:,} ({most[1]})" if least[0] < most[0] else f"{most[0]:,}"
    title = f"The {len(classes)} classes: {counted} training samples each"
    return Fold(title, [table])


def _examples(material: Material) -> Gallery:
    """Return random training images, of as many classes as they can be."""
    from dlworkflow.analysis.data_figures import held_part
    from dlworkflow.data.protocol import without_augmentation

    splits = material.splits
    part = without_augmentation(held_part(splits.train))
    places = random.Random(_SEED).sample(range(len(part)), len(part))
    labels = _labels(part)
    by_class: dict[Any, list[int]] = {}
    for place in places:
        by_class.setdefault(labels.get(place), []).append(place)
    turns = [place for turn in range(EXAMPLES) for of_class in by_class.values() for place in of_class[turn : turn + 1]]
    chosen = turns[:EXAMPLES]
    chosen.sort(key=lambda place: str(labels.get(place)))
    pictures = [_example(splits, part, place, index) for index, place in enumerate(chosen, start=1)]
    return Gallery(f"{len(pictures)} of {len(splits.train):,} training images, chosen by seed {_SEED}", pictures)  # type: ignore[arg-type]


def _labels(part: Any) -> dict[int, Any]:
    """Return the class of each sample, where the data set knows them without reading a sample."""
    from dlworkflow.data.protocol import labels_of

    labels = labels_of(part)
    return {} if labels is None or labels.ndim > 1 or labels.is_floating_point() else dict(enumerate(labels.tolist()))


def _example(splits: Any, part: Any, place: int, number_: int) -> Picture:
    from dlworkflow.data.protocol import original_of
    from dlworkflow.metrics.multilabel import NO_LABELS

    labels = getattr(part, "labels", None)
    label = splits.label_text(part[place][1] if labels is None else labels[place]) or NO_LABELS
    return of_image(original_of(part, place, longest=500), f"example-{number_}", f"training image of {label}", label)
