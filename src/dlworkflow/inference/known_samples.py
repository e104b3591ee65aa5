"""The training samples that a model finds nearest to an input: those of the nearest features. Knows no data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from torch import Tensor

from dlworkflow.inference.base import Answers
from dlworkflow.inference.features import features_of_inputs
from dlworkflow.inference.prediction import Neighbour, Prediction
from dlworkflow.inference.predictor import Predictor

_AT_ONCE = 256  # inputs, whose distances to all samples are held


@dataclass(frozen=True, eq=False)
class KnownSamples:
    """Features (n, d) of samples, what is true of each (a class, labels as `cat|dog`, or a number), and their files."""

    features: np.ndarray
    truths: Sequence[str | float]
    files: Sequence[str] | None = None

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbour, ...]]:
        """Return the k samples of least Euclidean distance to each of features (m, d), the nearest first."""
        found = []
        squares = np.square(self.features).sum(axis=1)
        for start in range(0, len(features), _AT_ONCE):
            some = features[start : start + _AT_ONCE]
            rough = squares - 2 * some @ self.features.T  # less what is the same for all samples
            for row, own in zip(rough, some, strict=True):
                likely = np.argsort(row, kind="stable")[: 2 * k]
                exact = np.linalg.norm(self.features[likely] - own, axis=1)  # the rough ones have lost digits
                order = np.argsort(exact, kind="stable")[:k]
                found.append(tuple(self._neighbour(int(likely[i]), float(exact[i])) for i in order))
        return found

    def _neighbour(self, index: int, distance: float) -> Neighbour:
        file = None if self.files is None else self.files[index]
        return Neighbour(distance, self.truths[index], index, file)


@dataclass(frozen=True)
class WithNeighbours(Predictor):
    """A predictor whose predictions have the `k` nearest of the samples it knows."""

    known: KnownSamples | None = None
    k: int = 5

    @classmethod
    def of(cls, predictor: Predictor, known: KnownSamples, k: int) -> Self:
        """Return a predictor that predicts as this one does, with neighbours."""
        own = {each.name: getattr(predictor, each.name) for each in fields(Predictor)}
        return cls(**own, known=known, k=k)

    def answers(self, inputs: Tensor) -> Answers:
        """Return what the model answers, and the features of the inputs."""
        return super().answers(inputs)._replace(features=features_of_inputs(self, inputs)[0])

    def _predictions(self, sources: Sequence[str], answers: Answers, top_k: int) -> list[Prediction]:
        found = super()._predictions(sources, answers, top_k)
        assert self.known is not None
        assert answers.features is not None
        near = self.known.nearest(answers.features, self.k)
        return [
            each if each.error is not None else replace(each, neighbours=own)
            for each, own in zip(found, near, strict=True)
        ]
