"""What `slices.json` holds: what a run scores on parts of a split. Knows no run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from dlworkflow.files.notebook import Shown
from dlworkflow.runs.found import Found
from dlworkflow.runs.stored import Fraction, Size


class SliceRow(TypedDict):
    """One slice: its score and that of all other samples, their difference and how often chance alone gives one.

    Intervals hold with 95 %. `p` is of the slice against the rest, `p_holm` is corrected for all slices that were
    tested. None where a slice is not tested, as it or the rest is too small. `examples` are indices of samples.
    """

    property: str
    slice: str
    n: Size
    score: float | None
    low: float | None
    high: float | None
    rest: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p: Fraction | None
    p_holm: Fraction | None
    examples: list[Size]


@dataclass(frozen=True, kw_only=True)
class SliceScores(Found, Shown):
    """What a run scores on parts of a split: the accuracy, or the mean absolute error of a regression."""

    file: ClassVar[str] = "slices"

    samples: Size
    metric: str
    """`accuracy`, a fraction (of samples with all labels right), or `mae` in the unit of the target."""
    score: float | None
    comparisons: Size
    """How many slices were tested; two that are each other's rest count once."""
    slices: list[SliceRow]
    notes: list[str]
    """What is to be known of the samples, then which properties have no slices, and why."""

    def __repr__(self) -> str:
        return f"SliceScores({self.run!r}, {self.split}: {len(self.slices)} slices of {self.samples} samples)"

    def shown_rows(self) -> list[SliceRow]:
        """Return what a notebook shows: the slices."""
        return self.slices
