"""What `labels.json` holds: the labels of a data set that are probably wrong, as one class. Knows no run folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from dlworkflow.runs.found import Found
from dlworkflow.runs.stored import Fraction, Size

PREDICTED, DOUBTFUL, COPY, OUTLIER = "predicted", "doubtful", "copy of", "outlier"
"""Reasons: another label is predicted, with the certainty of confident learning or without it; a copy has another
label; the sample is unlike the others of its label."""


class Suspect(TypedDict):
    """A sample whose label is probably wrong: `index` in its split, its file where it has one, and why.

    `suggested` is the label that is predicted instead, None where the prediction agrees; `score` is the quality of the
    label in [0, 1]; `reason` is one or more of those above.
    """

    index: int
    split: str
    file: str | None
    label: str
    suggested: str | None
    score: float
    reason: str


def is_for(row: Suspect, reason: str) -> bool:
    """Return whether a sample is suspect for one of the reasons above, whatever its copies and classes are called."""
    first, last = row["reason"].split("; ", 1)[0], row["reason"].rsplit("; ", 1)[-1]
    return {COPY: COPY in row["reason"], OUTLIER: last == OUTLIER}.get(reason, first == reason)


@dataclass(frozen=True, kw_only=True)
class Labels(Found):
    """The suspects among the labels of a data set, worst first, by the cross-validation `run`."""

    file: ClassVar[str] = "labels"

    samples: Size
    """How many labels were looked at."""
    estimated: Size
    """How many of them are wrong by the estimate of confident learning."""
    agreement: Fraction
    """The fraction of labels that the models predict that have not seen their samples."""
    folds: Size
    suspects: list[Suspect]
    notes: list[str]
