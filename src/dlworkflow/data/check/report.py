"""The report on a folder, a CSV or shards of images: what was found, counted and measured; reads no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median_low
from typing import Any

from dlworkflow.data.check.facts import Facts
from dlworkflow.errors import few
from dlworkflow.files.notebook import Shown

FAULTS = {  # kind -> what a report calls it
    "layout": "the folder cannot be trained on",
    "empty_class": "classes without images",
    "extra_class": "classes that the training split lacks",
    "missing": "files that are not there",
    "damaged": "shards that are damaged or not what was counted",
    "zero_bytes": "files of zero bytes",
    "unreadable": "images or folders that cannot be read",
    "too_many_pixels": "images above the limit of pixels",
    "leakage": "the same image in several splits (leakage: it is tested on what it was trained on)",
}
REMARKS = {
    "alike_in_splits": "images that look the same in several splits (copies of one image? then it is leakage)",
    "labels": "labels that may be meant otherwise",
    "imbalance": "classes of very unequal size",
    "alike_names": "classes that may be one",
    "absent_class": "classes that only the training split has",
    "duplicate": "the same image more than once in a split",
    "alike": "images that look the same in a split (copies of another size or format?)",
    "range": "images of more than 8 bits, which are scaled to 8 by the values of the training images",
    "wrong_extension": "files whose names are of another format",
    "not_a_picture": "files that are no images",
    "hidden": "hidden files and folders, which are left out",
    "empty_folder": "empty folders",
    "unused": "images and folders outside of all classes, which are left out",
}


@dataclass(frozen=True)
class Finding:
    """A `kind` of FAULTS (errors) or REMARKS (warnings), a sentence where the kind is not enough, and where.

    `paths` are relative to the folder that was checked.
    """

    kind: str
    text: str = ""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class MinMedianMax:
    """The smallest, the middle and the largest of some numbers."""

    min: int
    median: int
    max: int

    @classmethod
    def of(cls, numbers: Iterable[int]) -> MinMedianMax | None:
        """Return those of some numbers, None where there are none."""
        every = list(numbers)
        return cls(min(every), median_low(every), max(every)) if every else None


@dataclass(frozen=True)
class FolderReport(Shown):
    """What `check_folder` found.

    `layout` is `splits` (train/<class>/), `splits in classes` (<class>/train/), `classes` (<class>/ alone), `csv` or
    `shards`; `counts` is {split: {class: images}}, the split being `all` where there are none; `ratios` are images
    of the largest class to the smallest by split; `width` and `height` in pixels, `modes` and `formats` are of the
    images that can be read; `n_read` of the files were read for it, the others were as remembered.
    """

    path: str
    layout: str
    counts: dict[str, dict[str, int]]
    ratios: dict[str, float]
    width: MinMedianMax | None
    height: MinMedianMax | None
    modes: dict[str, int]
    formats: dict[str, int]
    n_files: int
    n_read: int
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        sizes = {split: sum(classes.values()) for split, classes in self.counts.items()}
        counts = ", ".join(f"{size:,} {'images' if split == 'all' else split}" for split, size in sizes.items())
        errors, warnings = len(self.faults), len(self.remarks)
        return f"FolderReport({self.path!r}: {counts or 'no images'}; errors: {errors}, warnings: {warnings})"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: the findings, or the images of each class where there are none."""
        known = FAULTS | REMARKS
        if self.findings:
            return [
                {
                    "finding": known[finding.kind],
                    "kind": "error" if finding.kind in FAULTS else "warning",
                    "what": finding.text,
                    "where": few(finding.paths, 3, quoted=False),
                }
                for finding in (*self.faults, *self.remarks)
            ]
        classes = dict.fromkeys(name for counts in self.counts.values() for name in counts)
        return [
            {"class": name} | {split: counts.get(name, 0) for split, counts in self.counts.items()} for name in classes
        ]

    @classmethod
    def of(
        cls, path: str, layout: str, counts: dict[str, dict[str, int]], facts: Iterable[Facts], **found: Any
    ) -> FolderReport:
        """Return the report on images of which these facts are known; `found` are `n_files`, `n_read`, `findings`."""
        decoded = [known for known in facts if known.digest]
        return cls(
            path,
            layout,
            counts,
            ratios_of(counts),
            MinMedianMax.of(known.width for known in decoded),
            MinMedianMax.of(known.height for known in decoded),
            dict(Counter(known.mode for known in decoded).most_common()),
            dict(Counter(known.format for known in decoded).most_common()),
            **found,
        )

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What spoils training or its numbers."""
        return tuple(finding for finding in self.findings if finding.kind in FAULTS)

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """What is worth knowing."""
        return tuple(finding for finding in self.findings if finding.kind not in FAULTS)

    def to_data(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        data = asdict(self) | {"ok": not self.faults}
        del data["findings"]
        return data | {
            "faults": [asdict(finding) for finding in self.faults],
            "remarks": [asdict(finding) for finding in self.remarks],
        }


def ratios_of(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Return {split: images of the largest class to those of the smallest that has any}."""
    sizes = {split: [n for n in classes.values() if n] for split, classes in counts.items()}
    return {split: max(numbers) / min(numbers) for split, numbers in sizes.items() if numbers}
