"""What `dlw data` prints: the report of a check, classes and first samples of a data set, an image in numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.tables import render
from dlworkflow.files.numbers import number, percent
from dlworkflow.files.text import printable

if TYPE_CHECKING:
    from dlworkflow.data.check.report import Finding, FolderReport
    from dlworkflow.data.images.one_image import ImageFacts
    from dlworkflow.data.splits import Splits

MOST_REMARKS = 10
"""A report names this many warnings of a kind and counts the others; it names all errors."""


def report_lines(report: FolderReport) -> Iterator[str]:
    """Return a report as lines: what there is, then errors and warnings by kind."""
    from dlworkflow.data.check.report import FAULTS, REMARKS

    yield printable(f"{report.path}: {report.n_files:,} files, of which {report.n_read:,} were read now")
    classes = sorted({name for counts in report.counts.values() for name in counts})
    rows = [{"class": name, **{s: counts.get(name) for s, counts in report.counts.items()}} for name in classes]
    yield render(
        [{key: number(value) for key, value in row.items()} for row in rows],
        {key: key for key in ("class", *report.counts)},
    )
    yield ""
    for split, ratio in report.ratios.items():
        yield f"{split}: the largest class has {ratio:.2f} times the images of the smallest"
    for side in ("width", "height"):
        if spread := getattr(report, side):
            yield f"{side}: {spread.min:,} to {spread.max:,} pixels, median {spread.median:,}"
    for what in ("modes", "formats"):
        if counts := getattr(report, what):
            yield f"{what}: {', '.join(f'{printable(name)} {n:,}' for name, n in counts.items())}"
    for kinds, findings, most in ((FAULTS, report.faults, None), (REMARKS, report.remarks, MOST_REMARKS)):
        for kind, heading in kinds.items():
            found = [finding for finding in findings if finding.kind == kind]
            if found:
                yield f"\n{'error' if most is None else 'warning'}: {heading}: {len(found):,}"
            yield from (f"  {_finding_line(finding)}" for finding in found[:most])
            if most is not None and len(found) > most:
                yield f"  and {len(found) - most:,} more (--json lists all)"
    yield f"\n{counted(len(report.faults), 'error')}, {counted(len(report.remarks), 'warning')}"


def place_text(name: str, data_dir: str | None) -> str:
    """Return where the files of a data set are, or how to get them."""
    from dlworkflow.data import find, place

    found = find(name, data_dir)
    return str(found or f"not here; `dlw data get {name}`, or put its files into {place(name, data_dir)}")


def _finding_line(finding: Finding) -> str:
    """Return where and what; names are harmless to a terminal."""
    return printable(": ".join(filter(None, (" = ".join(finding.paths), finding.text))))


def counted(n: int, what: str) -> str:
    """Return a number of things: `1 error`, `2 errors`."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def class_rows(splits: Splits) -> list[dict[str, Any]]:
    """Return a row a class with its samples in each split."""
    from dlworkflow.data.splits import class_counts

    counts = class_counts(splits)
    return [
        {"label": label, "class": name, **{split: counts[split][label] for split in counts}}
        for label, name in enumerate(splits.classes)
    ]


def constant_line(splits: Splits) -> str:
    """Return what always giving the same answer scores on the test split of a table."""
    from dlworkflow.data.protocol import labels_of
    from dlworkflow.data.splits import class_counts
    from dlworkflow.metrics.functions import majority_baseline

    if splits.classes:
        counts = class_counts(splits)
        label, score = majority_baseline(counts["train"], counts["test"])
        return f"always answering {splits.classes[label]!r} scores {percent(score)} on the test split"
    train, test = (labels_of(part) for part in (splits.train, splits.test))
    assert train is not None
    assert test is not None
    if splits.target is not None:
        train, test = splits.target.undone(train), splits.target.undone(test)
    mean = float(train.mean())
    error = float((test - mean).abs().mean())
    return f"always answering the training mean, {mean:.4g}, has a mean absolute error of {error:.4g} on the test split"


def head_cells(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the first samples as cells, numbers with six decimals, as pandas prints them."""
    return [{key: f"{v:.6f}" if isinstance(v, float) else number(v) for key, v in row.items()} for row in rows]


def image_lines(facts: ImageFacts) -> Iterator[str]:
    """Return an image file as lines: format and size, then its values."""
    yield printable(
        f"{facts.path}: {facts.format}, mode {facts.mode}, {facts.width} x {facts.height} pixels (width x height), "
        f"{facts.n_bytes:,} bytes"
    )
    cells = [
        {key: f"{value:.4f}" if isinstance(value, float) else str(value) for key, value in row.items()}
        for row in facts.values
    ]
    yield render(cells, {key: key for key in cells[0]})
