"""The labels of a data set that are probably wrong: a section of a report, and a page of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dlworkflow._version import __version__
from dlworkflow.analysis.report.document import Block, Document, Gallery, Picture, Points, Section, Table, Text
from dlworkflow.analysis.report.of_samples import MOST_INPUTS, cell
from dlworkflow.analysis.report.pictures import of_image
from dlworkflow.analysis.report.writing import check_report_file, report_file, write_document
from dlworkflow.data.splits import Splits
from dlworkflow.errors import CodeError, DlwError
from dlworkflow.files.numbers import number, percent
from dlworkflow.files.outside import check_outside
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.runs import Run, now
from dlworkflow.runs.labels import COPY, DOUBTFUL, OUTLIER, PREDICTED, Labels, Suspect, is_for
from dlworkflow.runs.stored import unless_damaged

SHOWN = 24
"""Suspects that a section shows; a page of its own has `ON_A_PAGE`."""

ON_A_PAGE = 200

TITLE = "Labels that are probably wrong"


def labels_section(found: Labels, splits: Splits, *, most: int = SHOWN) -> Section:
    """Return what a search for wrong labels found, with the images of the worst, or their rows."""
    rows = found.suspects[:most]
    blocks: list[Block] = [*map(Text, about(found))]
    blocks += [Points(found.notes, warning=True)] if found.notes else []
    if rows:
        total = len(found.suspects)
        title = (
            f"The {len(rows)} worst of {total:,} suspects"
            if total > len(rows)
            else f"All suspects, the worst first ({total})"
        )
        blocks.append((_gallery if splits.kind == "image" else _table)(splits, title, rows))
    return Section(TITLE, blocks)


def about(found: Labels) -> list[str]:
    """Return in sentences what was looked at and how much of it is suspect."""
    n, rows = found.samples, found.suspects
    counts = {kind: sum(is_for(row, kind) for row in rows) for kind in (PREDICTED, DOUBTFUL, COPY, OUTLIER)}
    are = {kind: "is" if count == 1 else "are" for kind, count in counts.items()}
    first = (
        f"{counts[PREDICTED]:,} of {n:,} labels {are[PREDICTED]} probably wrong: another one is predicted. The "
        f"estimate of confident learning is {found.estimated:,} ({percent(found.estimated / n)})."
    )
    if counts[DOUBTFUL]:
        first += f" {counts[DOUBTFUL]:,} more {are[DOUBTFUL]} doubtful: another one is predicted with less certainty."
    if counts[COPY]:
        first += f" {counts[COPY]:,} {are[COPY]} of samples that are there more than once, with different labels."
    if counts[OUTLIER]:
        what = "is of an outlier" if counts[OUTLIER] == 1 else "are of outliers"
        first += (
            f" {counts[OUTLIER]:,} {what}, unlike the others of {'its' if counts[OUTLIER] == 1 else 'their'} label."
        )
    sentences = [first]
    sentences.append(
        f"Each sample was predicted by a model that was not trained on it ({found.folds} folds); "
        f"{percent(found.agreement)} of the predictions are the label. A suspect may also be a hard sample whose label "
        "is right: look first."
    )
    return sentences


def labels_of_run(run: Run, faults: list[str], *, data_dir: str | None = None) -> Section | None:
    """Return what was found about the labels of a run's data, None where nobody has looked for wrong ones."""
    return _shown(run, run, faults, data_dir)


def labels_of_runs(runs: Sequence[Run], faults: list[str], *, data_dir: str | None = None) -> Section | None:
    """Return what was found by a cross-validation whose runs these are, None where they are of none."""
    folders = {run.path.parent for run in runs}
    return _shown(Run(folders.pop()), runs[0], faults, data_dir) if len(folders) == 1 else None


def _shown(where: Run, run: Run, faults: list[str], data_dir: str | None) -> Section | None:
    """Return what is stored in a folder, with the images of a run's data."""
    from dlworkflow.analysis.scored_data import load_splits

    found = unless_damaged(partial(where.found, Labels, "train"), faults)
    if found is None:
        return None
    try:
        splits = load_splits(run, offline=True, data_dir=data_dir, whole=True)
        return labels_section(found, splits) if _fits(found, splits) else _without_images(found, "the data has changed")
    except CodeError:
        raise
    except DlwError as error:
        return _without_images(found, str(error))


def _without_images(found: Labels, reason: str) -> Section:
    return Section(TITLE, [*map(Text, about(found)), Text(f"The samples are left out: {reason}.")])


def _fits(found: Labels, splits: Splits) -> bool:
    """Return whether the suspects have the labels still that they had."""
    from dlworkflow.data.protocol import labels_of

    parts = splits.parts()
    labels = {split: labels_of(parts[split]) for split in {row["split"] for row in found.suspects} & parts.keys()}
    return all(
        (known := labels.get(row["split"])) is not None
        and row["index"] < len(known)
        and splits.label_text(known[row["index"]]) == row["label"]
        for row in found.suspects
    )


def write_labels_page(
    found: Labels,
    splits: Splits,
    path: str | os.PathLike[str],
    *,
    data: Iterable[Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write a page with the images of the suspects: HTML, or Markdown with a folder of images beside it.

    Raises as `check_outside` and `report_file` do.
    """
    file, form = report_file(path, None, option="--page")
    check_outside(file, data, option="--page", overwrite=overwrite)
    check_report_file(file, form, option="--page", overwrite=overwrite)
    section = labels_section(found, splits, most=ON_A_PAGE)
    shown = Section("Suspects", [block for block in section.blocks if not isinstance(block, Text)])
    made = f"Made on {now()[:10]} with dlworkflow {__version__}, by the cross-validation {found.run}."
    document = Document(f"Labels of {splits.name}", about(found), [shown], made)
    return write_document(document, file, form, overwrite=overwrite)


def _gallery(splits: Splits, title: str, rows: Sequence[Suspect]) -> Gallery:
    return Gallery(title, [_picture(splits, row) for row in rows])


def _picture(splits: Splits, row: Suspect) -> Picture:
    from dlworkflow.data.protocol import original_of, without_augmentation

    image = original_of(without_augmentation(splits.part(row["split"])), row["index"], longest=500)
    name = name_of(row)
    caption = f"{_said(row)}\n{name}"
    return of_image(image, f"suspect-{row['split']}-{row['index']}", caption.replace("\n", ", "), caption)


def name_of(row: Suspect) -> str:
    """Return what a suspect is called: its file, or its place."""
    return Path(row["file"]).name if row["file"] else f"{row['split']} sample {row['index']}"


def _said(row: Suspect) -> str:
    suggested = [] if row["suggested"] is None else [f"predicted: {row['suggested'] or NO_LABELS}"]
    reasons = [reason for reason in row["reason"].split("; ") if reason not in (PREDICTED, DOUBTFUL)]
    return "\n".join([f"label: {row['label'] or NO_LABELS} ({100 * row['score']:.1f} %)", *suggested, *reasons])


def _table(splits: Splits, title: str, rows: Sequence[Suspect]) -> Table:
    from dlworkflow.data.first_rows import sample_row
    from dlworkflow.data.protocol import without_augmentation

    given = [sample_row(splits, without_augmentation(splits.part(row["split"])), row["index"]) for row in rows]
    known = ("label", "class", "labels", *([splits.columns.target] if splits.columns is not None else []))
    inputs = [key for key in given[0] if key not in known][:MOST_INPUTS]
    columns = {"index": "sample", "label": "label", "suggested": "suggested", "score": "score", "reason": "reason"}
    columns |= {f"input {key}": key for key in inputs}
    shown: list[dict[str, Any]] = [
        {"index": number(row["index"]), "label": row["label"] or NO_LABELS, "reason": row["reason"]}
        | {"suggested": number(row["suggested"]), "score": number(row["score"])}
        | {f"input {key}": cell(cells[key]) for key in inputs}
        for row, cells in zip(rows, given, strict=True)
    ]
    return Table(title, columns, shown)
