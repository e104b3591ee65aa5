"""A prediction: what a model answers for one input; made of probabilities or values, knows no model. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Neighbour(NamedTuple):
    """A training sample near an input: its distance in features, what is true of it, its number in the training split,
    its file.
    """

    distance: float
    truth: str | float
    sample: int
    file: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input, or in `error` why it predicts nothing.

    `source` is the file, the numbers as given, or the place in what was given; `label` the class of the highest
    `probability`; `top` the likeliest (label, probability) pairs, best first; `value` the number that a regression
    predicts. Where an input may have several labels, `labels` are the (label, probability) pairs from their thresholds
    on, best first; None elsewhere. Of several models, `disagreement` is the share whose label is another, or the
    standard deviation of their values. Where answers may be `unsure` it is True or False: an unsure one has no `label`;
    `familiarity` is the share of validation samples that are as far from the training data, or farther. `neighbours`
    are the nearest training samples, the nearest first, where they were asked for.
    """

    source: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    disagreement: float | None = None
    error: str | None = None
    labels: tuple[tuple[str, float], ...] | None = None
    unsure: bool | None = None
    familiarity: float | None = None
    neighbours: tuple[Neighbour, ...] | None = None

    def as_object(self) -> dict[str, Any]:
        """Return the prediction as JSON can hold it: `input`, and `error`, `value` or `label`, `probability`, `top`."""
        found: dict[str, Any] = {"input": self.source}
        if self.error is not None:
            return found | {"error": self.error}
        apart: dict[str, Any] = {} if self.disagreement is None else {"disagreement": self.disagreement}
        if self.neighbours is not None:
            apart["neighbours"] = [each._asdict() for each in self.neighbours]
        if self.value is not None:
            return found | {"value": self.value if math.isfinite(self.value) else None} | apart
        if self.labels is not None:
            found["labels"] = _pairs(self.labels)
        found |= {"label": self.label, "probability": self.probability, "top": _pairs(self.top)} | apart
        known = {"unsure": self.unsure, "familiarity": self.familiarity}
        return found | {key: value for key, value in known.items() if value is not None}


def _pairs(ranked: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in ranked]


def predictions_of(
    sources: Sequence[str],
    answers: np.ndarray,
    classes: Sequence[str],
    *,
    top_k: int = 1,
    thresholds: Sequence[float] = (),
    disagreement: Sequence[float | None] | None = None,
) -> list[Prediction]:
    """Return the predictions that answers stand for: probabilities (n, classes), or values (n, 1) without classes.

    `top_k` is the number of likeliest classes in `top`; `thresholds` are the probabilities from which the labels of a
    multilabel task are predicted, one for each class. `disagreement` (n,) is that of an ensemble. Answers that are not
    finite give a prediction with `error`.
    """
    finite = np.isfinite(answers).all(axis=1).tolist()
    apart = disagreement if disagreement is not None else [None] * len(sources)
    found = (
        _classes_of(answers, classes, top_k, thresholds)
        if classes
        else ({"value": value} for value in answers[:, 0].tolist())
    )
    broken = "the model returns no finite number for it"
    return [
        Prediction(source, disagreement=spread, **answer) if fine else Prediction(source, error=broken)
        for source, answer, spread, fine in zip(sources, found, apart, finite, strict=True)
    ]


def _classes_of(
    probabilities: np.ndarray, classes: Sequence[str], top_k: int, thresholds: Sequence[float]
) -> Iterator[dict[str, Any]]:
    most = len(classes) if thresholds else min(top_k, len(classes))
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]  # of equal ones, the first class
    likeliest = np.take_along_axis(probabilities, ranked, axis=1)
    for values, labels in zip(likeliest.tolist(), ranked.tolist(), strict=True):
        every = [(classes[label], value) for label, value in zip(labels, values, strict=True)]
        found: dict[str, Any] = {"label": every[0][0], "probability": every[0][1], "top": tuple(every[:top_k])}
        if thresholds:
            above = zip(labels, every, strict=True)
            found["labels"] = tuple(pair for label, pair in above if pair[1] >= thresholds[label])
        yield found
