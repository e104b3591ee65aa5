"""The training samples of a run as its model sees them: features that are kept with the run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np

from dlworkflow.files.writing import write_whole
from dlworkflow.inference.prediction import Neighbour
from dlworkflow.inference.stored import stored_weights
from dlworkflow.registry.user_files import digest_of
from dlworkflow.runs import Run

_AT_ONCE = 256  # inputs, whose distances to all samples are held
_SPARE = 10  # samples that the rough distances may have put behind the nearest


@dataclass(frozen=True, eq=False)
class KnownSamples:
    """Features (n, d) of samples, what is true of each (a class, labels as `cat|dog`, or a number), and their files."""

    features: np.ndarray
    truths: Sequence[str | float]
    files: Sequence[str] | None = None

    @classmethod
    def of_run(cls, run: Run, weights: str = "best") -> Self | None:
        """Read what a run has kept of these weights, None where it has nothing that can be read."""
        try:
            # opened here: numpy leaves a damaged one open
            with run.features_path(weights).open("rb") as stream, np.load(stream, allow_pickle=False) as found:
                if str(found["weights"]) != digest_of(stored_weights(run, weights)):
                    return None
                files = found["files"].tolist() if "files" in found else None
                return cls(found["features"], found["truths"].tolist(), files)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None  # it is derived: what is damaged is computed again

    def keep(self, run: Run, weights: str = "best") -> None:
        """Keep them in a run as those of these weights. Raises RunError where it cannot be written."""
        tables: dict[str, Any] = {"features": self.features, "truths": np.array(self.truths)}
        tables |= {"files": np.array(self.files)} if self.files is not None else {}
        digest = digest_of(stored_weights(run, weights))
        write_whole(run.features_path(weights), lambda stream: np.savez(stream, weights=digest, **tables))

    def nearest(self, features: np.ndarray, k: int) -> list[tuple[Neighbour, ...]]:
        """Return the k samples of least Euclidean distance to each of features (m, d), the nearest first."""
        found = []
        likely = min(2 * k + _SPARE, len(self.features))
        for start in range(0, len(features), _AT_ONCE):
            some = features[start : start + _AT_ONCE]
            rough = self._squares - 2 * some @ self.features.T  # less what is the same for all samples
            for own, row in zip(some, np.argpartition(rough, likely - 1, axis=1)[:, :likely], strict=True):
                row.sort()  # of equal distances, the first sample
                exact = np.linalg.norm(self.features[row] - own, axis=1)  # the rough ones have lost digits
                order = np.argsort(exact, kind="stable")[:k]
                found.append(tuple(self._neighbour(int(row[i]), float(exact[i])) for i in order))
        return found

    @cached_property
    def _squares(self) -> np.ndarray:
        return _squared_lengths(self.features)

    def _neighbour(self, index: int, distance: float) -> Neighbour:
        file = None if self.files is None else self.files[index]
        return Neighbour(distance, self.truths[index], index, file)


class DistanceFrom:
    """How far an input is from the nearest of known samples, by the direction of its features and by their length.

    Directions alone are compared by Sun et al. 2022 (arXiv:2204.06507). The logarithm of the length is one more
    coordinate here: an input far outside the training data may lie in a known direction.
    """

    def __init__(self, known: KnownSamples) -> None:
        self._known = replace(known, features=_direction_and_length(known.features))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the distance (m,) of each of features (m, d)."""
        return np.array([nearest.distance for [nearest] in self._known.nearest(_direction_and_length(features), 1)])


def _direction_and_length(features: np.ndarray) -> np.ndarray:
    length = np.sqrt(_squared_lengths(features))[:, np.newaxis].clip(np.finfo(np.float32).tiny)
    return np.hstack([features / length, np.log(length)])


def _squared_lengths(features: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", features, features)  # a sum of squares would copy all features
