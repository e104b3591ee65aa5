"""A probability in the words of a reader without statistics. Knows no test."""

from __future__ import annotations

_FRACTIONS = ((1, 5), (1, 4), (3, 10), (1, 3), (2, 5), (1, 2), (3, 5), (2, 3), (3, 4), (4, 5), (9, 10))


def chance(p: float) -> str:
    """Return how often something of probability `p` happens: `1 time in 9`, `2 times in 3`, `nearly every time`.

    Rounded for reading: a decision is made on `p` itself. Below one in a thousand it is `less than 1 time in 1,000`.
    Raises ValueError where `p` is outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"a probability is from 0 to 1, not {p}")
    if p < 1 / 1000:
        return "less than 1 time in 1,000"
    if p > 0.95:
        return "nearly every time"
    if p < 1 / 5.5:
        of = round(1 / p)
        return f"1 time in {of if of < 100 else round(of, -1):,}"
    times, of = min(_FRACTIONS, key=lambda fraction: abs(p - fraction[0] / fraction[1]))
    return f"{times} time{'s' if times > 1 else ''} in {of}"
