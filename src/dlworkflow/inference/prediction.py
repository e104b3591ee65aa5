"""A prediction: what a model answers for one input; made of raw scores, knows no model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from dlworkflow.engine.target_scale import TargetScale
    from dlworkflow.engine.tasks import Task


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input, or in `error` why it predicts nothing.

    `source` is the file, the numbers as given, or the place in what was given; `label` the class of the highest
    `probability`; `top` the likeliest (label, probability) pairs, best first; `value` the number that a regression
    predicts. Where an input may have several labels, `labels` are the (label, probability) pairs from their thresholds
    on, best first; None elsewhere. Of several models, `disagreement` is the share whose label is another, or the
    standard deviation of their values.
    """

    source: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    disagreement: float | None = None
    error: str | None = None
    labels: tuple[tuple[str, float], ...] | None = None

    def as_object(self) -> dict[str, Any]:
        """Return the prediction as JSON can hold it: `input`, and `error`, `value` or `label`, `probability`, `top`."""
        found: dict[str, Any] = {"input": self.source}
        if self.error is not None:
            return found | {"error": self.error}
        apart = {} if self.disagreement is None else {"disagreement": self.disagreement}
        if self.value is not None:
            return found | {"value": self.value if math.isfinite(self.value) else None} | apart
        if self.labels is not None:
            found["labels"] = _pairs(self.labels)
        return found | {"label": self.label, "probability": self.probability, "top": _pairs(self.top)} | apart


def _pairs(ranked: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in ranked]


def predictions_of(
    sources: Sequence[str],
    logits: Tensor,
    task: Task,
    classes: Sequence[str],
    *,
    top_k: int = 1,
    target: TargetScale | None = None,
    thresholds: Sequence[float] = (),
    disagreement: Tensor | None = None,
) -> list[Prediction]:
    """Return the predictions that raw scores (n, n_outputs) stand for, with `top_k` classes each.

    `target` is the scale of a regression's values, `thresholds` are the probabilities from which the labels of a
    multilabel task are predicted, one for each class. `disagreement` (n,) is that of an ensemble. Scores that are not
    finite give a prediction with `error`.
    """
    finite = logits.isfinite().all(dim=1).tolist()
    apart = disagreement.tolist() if disagreement is not None else [None] * len(sources)
    answers = (
        _classes_of(logits, task, classes, top_k, thresholds)
        if task.has_accuracy
        else ({"value": value} for value in (target.undone(logits) if target else logits)[:, 0].tolist())
    )
    broken = "the model returns no finite number for it"
    return [
        Prediction(source, disagreement=spread, **answer) if fine else Prediction(source, error=broken)
        for source, answer, spread, fine in zip(sources, answers, apart, finite, strict=True)
    ]


def _classes_of(
    logits: Tensor, task: Task, classes: Sequence[str], top_k: int, thresholds: Sequence[float]
) -> Iterator[dict[str, Any]]:
    ranked = task.probabilities(logits).topk(len(classes) if thresholds else min(top_k, len(classes)), dim=1)
    for values, labels in zip(ranked.values.tolist(), ranked.indices.tolist(), strict=True):
        every = [(classes[label], value) for label, value in zip(labels, values, strict=True)]
        found: dict[str, Any] = {"label": every[0][0], "probability": every[0][1], "top": tuple(every[:top_k])}
        if thresholds:
            above = zip(labels, every, strict=True)
            found["labels"] = tuple(pair for label, pair in above if pair[1] >= thresholds[label])
        yield found
