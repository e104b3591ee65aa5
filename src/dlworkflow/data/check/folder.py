"""What is wrong with a folder of images, and what is worth knowing of it, before a model is trained on it.

An error spoils training or its numbers; a warning does not, or only perhaps. Files are only ever read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dlworkflow.data.check.copies import Place, copies_among
from dlworkflow.data.check.facts import Facts, examine
from dlworkflow.data.check.report import FAULTS, REMARKS, Finding, FolderReport, ratios_of
from dlworkflow.data.check.value_ranges import judge_range
from dlworkflow.data.folders.class_names import alike_in_case
from dlworkflow.data.folders.image_rows import label_faults, names_in, target_text
from dlworkflow.data.folders.image_table import Columns, read_image_table
from dlworkflow.data.folders.layout import FolderLayout, read_tree
from dlworkflow.data.folders.listing import csv_faults, look_into
from dlworkflow.data.images.decoding import pixel_limit
from dlworkflow.data.images.formats import HEIC_EXTENSIONS, NO_HEIC, is_hidden, is_image
from dlworkflow.data.protocol import OnProgress
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.files.paths import user_path

IMBALANCE_RATIO = 3.0
"""A split whose largest class has more than this many times the images of its smallest is remarked on."""

_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # what cameras and scanners write under the other's name


@dataclass(frozen=True)
class _Listing:
    """Which images there are, {split: {class: paths}} with empty classes too, and what was found on the way.

    Where images have several labels, or numbers, these stand for the class, and `counts` are {split: {class: images}}.
    """

    layout: str
    base: Path
    images: dict[str, dict[str, list[Path]]]
    findings: list[Finding] = field(default_factory=list)
    task: str = "multiclass"
    counts: dict[str, dict[str, int]] | None = None

    def note(self, kind: str, text: str = "", *paths: Path) -> None:
        names = (path.relative_to(self.base) if path.is_relative_to(self.base) else path for path in paths)
        self.findings.append(Finding(kind, text, tuple(map(str, names))))

    def each(self) -> Iterator[Place]:
        """Go through (split, class, image)."""
        for split, classes in self.images.items():
            for name, paths in classes.items():
                for path in paths:
                    yield split, name, path


def check_folder(
    path: str | os.PathLike[str],
    *,
    layout: FolderLayout = "auto",
    columns: Columns | None = None,
    use_memory: bool = True,
    on_progress: OnProgress | None = None,
    max_pixels: int | None = None,
) -> FolderReport:
    """Decode every image of a folder or of a CSV file, and report; `layout` and `columns` as for training.

    Files that have not changed since the last check are not read again (see `facts`), unless `use_memory` is off.
    `on_progress` is called with (files done, files in all); images of more than `max_pixels` are errors, see
    `pixel_limit`. The same pixels in two splits are an error; images that only look the same, as copies of another
    size or format do, are a warning, since a few are different images after all. Raises DataError when there is
    nothing of that kind.
    """
    root = user_path(path)
    limit = pixel_limit(max_pixels)
    listing = _list(root, layout, columns)
    every = [image for _, _, image in listing.each()]
    facts, n_read = examine(every, root, use_memory=use_memory, max_pixels=limit, on_progress=on_progress)
    _judge_files(listing, facts, limit)
    _judge_classes(listing)
    for kind, text, copies in copies_among((place, facts[place[2]]) for place in listing.each()):
        listing.note(kind, text, *copies)
    _judge_range(listing, facts)
    kinds = [*FAULTS, *REMARKS]
    findings = tuple(sorted(listing.findings, key=lambda finding: kinds.index(finding.kind)))
    report = str(root), listing.layout, _counts(listing), facts.values()
    return FolderReport.of(*report, n_files=len(facts), n_read=n_read, findings=findings)


def _list(root: Path, layout: str, columns: Columns | None) -> _Listing:
    if root.is_dir():
        return _list_folder(root, layout)
    if not root.exists():
        raise MissingDataError(f"no such folder or file: {str(root)!r}")
    if root.suffix.casefold() != ".csv":
        raise DataError(f"{str(root)!r} is a file; give a folder of images or a CSV of path,label[,split]")
    return _list_csv(root, columns)


def _list_folder(root: Path, layout: str) -> _Listing:
    """List a folder's images and note what in it belongs to no class."""
    tree = read_tree(root, layout)
    called = {"split_first": "splits", "class_first": "splits in classes"}
    listing = _Listing(called.get(tree.layout, "classes"), root, {})
    if fault := tree.fault():
        listing.note("layout", fault)
    for entry in (entry for entries in tree.loose.values() for entry in entries):
        if is_hidden(entry):
            listing.note("hidden", "", entry)
        elif entry.is_dir() or is_image(entry.name):
            listing.note("unused", "", entry)
    for split, folders in tree.folders.items():
        listing.images[split] = {name: _list_class(listing, split, name, top) for name, top in folders.items()}
    return listing


def _list_class(listing: _Listing, split: str, name: str, folder: Path) -> list[Path]:
    found = look_into(folder)
    for path, reason in found.closed:
        listing.note("unreadable", f"is a folder that cannot be listed ({reason})", path)
    for kind, paths in (("not_a_picture", found.others), ("hidden", found.hidden), ("empty_folder", found.empty)):
        for path in paths:
            listing.note(kind, NO_HEIC if path.suffix.lower() in HEIC_EXTENSIONS else "", path)
    if not found.images:
        listing.note("empty_class", f"class {name!r} of split {split!r} has no images", folder)
    return found.images


def _list_csv(file: Path, columns: Columns | None) -> _Listing:
    table = read_image_table(file, columns)
    listing = _Listing("csv", file.parent, {}, task=table.task)
    counts: dict[str, dict[str, int]] = {}
    for split, rows in table.rows.items():
        found: dict[str, list[Path]] = {}
        for path, target in rows:
            found.setdefault(target_text(target), []).append(path)
        listing.images[split] = {name: found[name] for name in sorted(found)}
        named = [name for _, target in rows for name in names_in(target)]
        counts[split] = {name: named.count(name) for name in sorted({*named})} or {"(number)": len(rows)}
    for fault in (*csv_faults(table.rows), *label_faults(table.rows)):
        listing.note("layout", fault)
    for note in table.notes:
        listing.note("labels", note)
    return listing if table.task == "multiclass" else replace(listing, counts=counts)


def _judge_files(listing: _Listing, facts: Mapping[Path, Facts], limit: int) -> None:
    """Note the files that cannot be read, and names of another format than the file."""
    from PIL import Image

    format_of = Image.registered_extensions()
    for path, found in facts.items():
        if found.n_bytes < 0:
            listing.note("missing", "", path)
        elif found.n_bytes == 0:
            listing.note("zero_bytes", "", path)
        elif found.is_above(limit):
            listing.note("too_many_pixels", found.fault(limit) or "", path)
        elif found.reason:
            listing.note("unreadable", found.reason, path)
        else:
            named = format_of.get(path.suffix.lower(), found.format)
            if _SAME_FORMAT.get(named, named) != _SAME_FORMAT.get(found.format, found.format):
                listing.note("wrong_extension", f"is {found.format}, the name says {named}", path)


def _judge_range(listing: _Listing, facts: Mapping[Path, Facts]) -> None:
    """Note which range of values images of more than 8 bits have, what of it is lost and what is clipped."""
    found: dict[str, list[Facts]] = {}
    for split, _, path in listing.each():
        found.setdefault(split, []).append(facts[path])
    for sentence in judge_range(found)[1]:
        listing.note("range", sentence)


def _judge_classes(listing: _Listing) -> None:
    """Note too few or unequal classes, and those that are not in every split."""
    if listing.task == "regression":
        return
    counts = _counts(listing)
    deciding = next((split for split in ("train", "all") if split in counts), None)
    trained = counts[deciding] if deciding else None
    if trained is not None and len(trained) < 2:
        listing.note("layout", f"has one class, {next(iter(trained))!r}; a model needs two or more to tell apart")
    for split, classes in counts.items():
        if trained is not None and split != deciding:
            for name in sorted(classes.keys() - trained.keys()):
                listing.note("extra_class", f"class {name!r} is in split {split!r}, not in {deciding!r}")
            for name in sorted(trained.keys() - classes.keys()):
                listing.note("absent_class", f"class {name!r} is in split {deciding!r}, not in {split!r}")
    for text in alike_in_case(list(trained or ())):
        listing.note("alike_names", text)
    for name, n in counts.get("all", {}).items():
        if n == 1 and listing.task == "multiclass":
            listing.note("layout", f"class {name!r} has 1 image; two are needed to split it into training and test")
    for split, ratio in ratios_of(counts).items():
        if ratio > IMBALANCE_RATIO:
            sizes = {name: n for name, n in counts[split].items() if n}
            large, small = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
            listing.note(
                "imbalance",
                f"split {split!r}: {large!r} has {sizes[large]:,} images, {small!r} {sizes[small]:,}: "
                f"{ratio:.1f} times as many (more than {IMBALANCE_RATIO:g} is remarked on)",
            )


def _counts(listing: _Listing) -> dict[str, dict[str, int]]:
    if listing.counts is not None:
        return listing.counts
    return {split: {name: len(paths) for name, paths in classes.items()} for split, classes in listing.images.items()}
