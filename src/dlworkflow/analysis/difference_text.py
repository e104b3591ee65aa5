"""What the tests of several runs found, in words and as the cells of a table. Knows no run folder and no terminal."""

from __future__ import annotations

import math
from typing import Any

from dlworkflow.analysis.differences import LEVEL, MOST_WITH_INTERVALS, Differences
from dlworkflow.files.numbers import short

Row = dict[str, Any]

MOST_PAIRS = MOST_WITH_INTERVALS * (MOST_WITH_INTERVALS - 1) // 2
"""A table for people shows up to this many pairs."""

_LEVEL = f"{100 * LEVEL:.0f} %"
_PERMUTATION = "permutation test of the paired errors"
_SEED_TESTS = {"permutation": "permutation test of the paired seeds", "welch": "Welch's t test"}


def sentences(found: Differences) -> list[str]:
    """Return what the tests found: of one pair in full, of several what the letters mean; what they cannot tell."""
    if not found.pairs:
        return []
    lines = _of_pair(found, found.pairs[0]) if len(found.pairs) == 1 else [_legend(found)]
    return [*lines, *_of_optimism(found), *found.notes]


def _of_pair(found: Differences, pair: Row) -> list[str]:
    from dlworkflow.metrics.significance import chance

    a, b, p = pair["a"], pair["b"], pair["p"]
    if not _is_tested(found, pair):
        return [f"{a} and {b} are not tested: {_unchanged(found)}"]
    test = f"{_test_of(pair)}, p {_p(p, '= ')}{_assumed(pair)}"
    if "only_a" not in pair:
        seeds = f" over {_n_seeds(pair)} seeds" if "n_a" in pair else ""
        first = (
            f"{b} has the better {_called(found.measure)}{seeds}: chance alone makes as large a difference {chance(p)} "
            f"({test})"
        )
    elif not pair["only_a"] and not pair["only_b"]:
        return [f"{a} and {b} answered the same of {found.n:,} {found.what} right"]
    else:
        first = (
            f"of {found.n:,} {found.what}, {b} got {pair['only_b']:,} right that {a} missed, {a} got "
            f"{pair['only_a']:,} that {b} missed: chance alone does that {chance(p)} ({test})"
        )
    return [first, f"{b} minus {a}: {'; '.join(_scores(found, pair))}", _verdict(found, pair)]


def _unchanged(found: Differences) -> str:
    return f"their {_called(found.measure)} does not change with the seed"


def _is_tested(found: Differences, pair: Row) -> bool:
    """Return whether a pair has a test: over seeds, one whose scores do not change with the seed has none."""
    return bool(found.n) or "test" in pair


def _n_seeds(pair: Row) -> str:
    return f"{pair['n_a']}" if pair["n_a"] == pair["n_b"] else f"{pair['n_b']} and {pair['n_a']}"


def _called(measure: str) -> str:
    """Return a measure or a column as people call it: `test_acc` is the test accuracy."""
    words = measure.replace("_", " ")
    return f"{words.removesuffix('acc')}accuracy" if words.endswith(" acc") else words


def _verdict(found: Differences, pair: Row) -> str:
    difference = f"so the difference in {_called(found.measure)}"
    if pair["differs"]:
        return f"{difference} is more than chance, at the {_LEVEL} level"
    more = f"{needed} {found.what if found.n else 'seeds'}" if (needed := _needed(pair)) else ""
    enough = f"; if it is as large as it looks, {more} would show it 4 times in 5" if more else ""
    return f"{difference} may be chance, at the {_LEVEL} level{enough}"


def _p(p: float, equals: str = "") -> str:
    return f"{equals}{p:.4f}" if p >= 1e-4 else "< 0.0001"


def _test_of(pair: Row) -> str:
    """Return the name of the test of a pair."""
    if "test" in pair:
        return _SEED_TESTS[pair["test"]]
    return "exact McNemar test" if "only_a" in pair else _PERMUTATION


def _assumed(pair: Row) -> str:
    return f"; it assumes {pair['assumes']}" if "assumes" in pair else ""


def _legend(found: Differences) -> str:
    tests = dict.fromkeys(_test_of(pair) for pair in found.pairs if _is_tested(found, pair)) or ["no test"]
    assumed = "".join(dict.fromkeys(map(_assumed, found.pairs)))
    untested = sum(not _is_tested(found, pair) for pair in found.pairs)
    are = "is" if untested == 1 else "are"
    assumed += f"; {untested:,} of the pairs {are} not tested, as {_unchanged(found)}" if untested else ""
    on = f"on the same {found.n:,} {found.what}" if found.n else f"over seeds, on the {found.split} split"
    return (
        f"letters: rows that share one do not differ significantly in their {_called(found.measure)} "
        f"({' or '.join(tests)} of each pair {on}{assumed}; "
        f"Holm's correction for {len(found.pairs):,} pairs; {_LEVEL} level)"
    )


def _of_optimism(found: Differences) -> list[str]:
    """Return how much too good the best of several looks, where that shows in what is printed."""
    if found.optimism is None or not (amount := _amount(found.measure, found.optimism)).strip("0. points"):
        return []
    return [
        f"the best of {len(found.names)} on the same {found.n:,} {found.what} looks about {amount} better than it is, "
        "because it was chosen on them; a validation split (--val-fraction 0.2) chooses by others"
    ]


_NAMES = {
    "accuracy": "accuracy",
    "subset_accuracy": "subset accuracy",
    "f1_macro": "macro F1",
    "mean_absolute_error": "mean absolute error",
    "loss": "loss (lower is better)",
}


def _scores(found: Differences, pair: Row) -> list[str]:
    """Return the differences of a pair with their 95 % intervals."""
    names = {key: name for key, name in _NAMES.items() if key in pair}
    if math.isclose(pair.get("loss", math.inf), pair.get("mean_absolute_error", math.nan), rel_tol=1e-4):
        del names["mean_absolute_error"]  # the loss is the same thing
    if "difference" in pair:
        names = {"difference": _called(found.measure)}
    return [f"{name} {_interval(name, pair, key)}" for key, name in names.items()]


def _interval(name: str, pair: Row, key: str) -> str:
    ends = ("low", "high") if key == "difference" else (f"{key}_low", f"{key}_high")
    if ends[0] not in pair:
        return f"{_signed(name, pair[key])}{' points' * _is_percent(name)}"
    value, low, high = (_signed(name, pair[each]) for each in (key, *ends))
    return f"{value}{' points' * _is_percent(name)} (95 % interval {low} to {high})"


def _is_percent(name: str) -> bool:
    return name.endswith(("accuracy", "acc"))


def _signed(name: str, value: float) -> str:
    return f"{100 * value:+.2f}" if _is_percent(name) else f"{'+' * (value >= 0)}{short(value)}"


def _amount(name: str, value: float) -> str:
    return f"{100 * value:.1f} points" if _is_percent(name) else short(value)


def pair_columns(found: Differences) -> dict[str, str]:
    """Return {key: heading} of the table of pairs."""
    counted = {"only_b": "only it right", "only_a": "only the other"} if "only_a" in found.pairs[0] else {}
    return {
        **{"b": "better", "a": "than"},
        **counted,
        **{
            "difference": f"difference in {_called(found.measure)}",
            "p": "p",
            "p_holm": "p, Holm",
            "differs": "significant",
        },
        **({"needed": f"{found.what if found.n else 'seeds'} needed"} if any(map(_needed, found.pairs)) else {}),
    }


def pair_rows(found: Differences) -> list[Row]:
    """Return the cells of the table of pairs."""
    return [_cells(found, pair) for pair in found.pairs]


def _cells(found: Differences, pair: Row) -> Row:
    key = "difference" if "difference" in pair else found.measure.replace(" ", "_")
    shown: Row = {name: f"{pair[name]:,}" for name in ("only_a", "only_b") if name in pair}
    shown |= {"p": _p(pair["p"]), "p_holm": _p(pair["p_holm"]), "differs": "yes" if pair["differs"] else "no"}
    if not _is_tested(found, pair):
        shown |= {"p": "", "p_holm": "", "differs": "not tested"}
    interval = _interval(found.measure, pair, key) if key in pair else ""
    return pair | shown | {"difference": interval, "needed": _needed(pair)}


def _needed(pair: Row) -> str:
    """Return how many samples or seeds would show the difference of a pair that is not significant.

    Nothing where that is not known, or an estimate that so many as there are have not borne out.
    """
    needed = pair.get("samples_needed") or pair.get("seeds_needed") or 0
    return f"{needed:,}" if needed > pair.get("n_a", 0) and not pair["differs"] else ""
