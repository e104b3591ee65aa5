"""What `robustness.json` holds: what a run scores on corrupted images of a split. Knows no run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypedDict

from dlworkflow.files.notebook import Shown
from dlworkflow.runs.found import Found
from dlworkflow.runs.stored import Count, Size


class CorruptionRow(TypedDict):
    """One corruption at one strength (1 to 3): its score, and the difference to the same images as they are.

    `low` and `high` are the 95 % interval of the difference; `changed` answers are others than without it (of a
    regression, None).
    """

    corruption: str
    strength: Count
    setting: str
    score: float | None
    difference: float | None
    low: float | None
    high: float | None
    changed: Size | None


@dataclass(frozen=True, kw_only=True)
class RobustnessScores(Found, Shown):
    """What a run scores on corrupted images: the accuracy, or the mean absolute error of a regression."""

    file: ClassVar[str] = "robustness"

    samples: Size
    samples_fingerprint: str | None = None
    """A digest of the images and their labels."""
    metric: str
    """`accuracy`, a fraction (of samples with all labels right), or `mae` in the unit of the target."""
    score: float | None
    """That of the images as they are."""
    corruptions: list[CorruptionRow]
    notes: list[str] = field(default_factory=list)
    """What is to be known of the samples: those that are left out, and that they have changed."""

    def __repr__(self) -> str:
        return f"RobustnessScores({self.run!r}, {self.split}: {len(self.corruptions)} corruptions)"

    def shown_rows(self) -> list[CorruptionRow]:
        """Return what a notebook shows: the corruptions."""
        return self.corruptions
