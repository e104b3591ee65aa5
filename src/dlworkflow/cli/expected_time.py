"""How long a training will take, from the epochs that have ended. Knows no training."""

from __future__ import annotations

from statistics import median

WORTH_SAYING, MEASURED = 5.0, 0.5
"""How many seconds a training takes at least for that to be said, and how many its epochs so far: tiny ones vary."""


class Expected:
    """How long `epochs` epochs will take, from those that have ended; those before the `first` measure nothing."""

    def __init__(self, epochs: int, *, first: int = 1) -> None:
        self._epochs, self._first = epochs, first
        self._seconds: list[float] = []
        self._total, self._checked, self._said = 0.0, 0.0, 0.0

    def after(self, seconds: float) -> str:
        """Return a sentence after an epoch of so many seconds, "" where it is not worth one or has been said.

        It is said again where the epochs have become twice as long or short, as after a backbone is unfrozen: of tiny
        ones, which a busy machine makes longer and shorter, rarely, and by a tenth of those so far.
        """
        self._seconds.append(seconds)
        self._total += seconds
        done = len(self._seconds)
        if done < self._first or done == self._epochs or self._total < MEASURED:
            return ""
        if self._total - self._checked < (WORTH_SAYING if self._said else MEASURED) and self._checked:
            return ""
        self._checked = self._total
        expected = self._total + median(self._seconds[-max(3, done // 10) :]) * (self._epochs - done)
        if expected < WORTH_SAYING or (self._said and 0.5 <= expected / self._said <= 2):
            return ""
        self._said = expected
        return f"about {duration(expected)} in all, for {self._epochs:,} epochs"


def duration(seconds: float) -> str:
    """Return seconds as people say them: 40 s, 3 min, 2 h."""
    if seconds < 100:
        return f"{max(1, round(seconds / 5) * 5 if seconds >= 10 else round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
