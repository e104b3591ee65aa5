"""The guide's table: how often tests reject where nothing differs, and how often intervals hold the truth."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import pytest

from dlworkflow.guide import page
from dlworkflow.metrics.significance import (
    bootstrap_interval,
    difference_interval,
    holm,
    mcnemar,
    of_f1_macro,
    of_mean,
    of_r2,
    of_roc_auc,
    optimism_of_best,
    optimism_of_draws,
    over_seeds,
    samples_needed,
    seeds_needed,
    two_groups,
)

DRAWS = 1_000


def outputs_of(rng, n, n_classes=3, strength=2.5):
    """True labels and outputs (n, classes): noise, and `strength` more for the true class."""
    truth = rng.integers(n_classes, size=n)
    outputs = rng.normal(size=(n, n_classes))
    outputs[np.arange(n), truth] += strength
    return truth, outputs


def runs_alike(rng, n, n_runs=2):
    """True labels and the outputs of runs that are equally good and fail on much the same samples."""
    truth, outputs = outputs_of(rng, n)
    return truth, [outputs + rng.normal(scale=0.5, size=outputs.shape) for _ in range(n_runs)]


def rights_alike(rng, n, n_runs=2):
    truth, outputs = runs_alike(rng, n, n_runs)
    return [each.argmax(axis=1) == truth for each in outputs]


def losses_of(rng, n):
    """Losses as of a good classifier: a few large ones, many small. Their mean is 0.412."""
    return np.where(rng.random(n) < 0.08, 2 + rng.exponential(2, n), rng.exponential(0.1, n))


def f1_of(truth, outputs):
    return of_f1_macro(truth, outputs.argmax(axis=1), outputs.shape[1])


def true_value(score_of, *how):
    return score_of(*outputs_of(np.random.default_rng(9), 100_000, *how)).value


def p_of_mcnemar(n, which, rng):
    return getattr(mcnemar(*rights_alike(rng, n)), which)


def p_of_groups(n_1, n_2, rng):
    return two_groups(int(rng.binomial(n_1, 0.6)), n_1, int(rng.binomial(n_2, 0.6)), n_2).p


def p_of_seeds(n, paired, draw, rng):
    return over_seeds(getattr(rng, draw)(size=n), getattr(rng, draw)(size=n), paired=paired).p


def least_of_five_rows(rng):
    rights = rights_alike(rng, 300, 5)
    return min(holm([mcnemar(*pair).p for pair in combinations(rights, 2)]))


def of_accuracy_difference(n, rng):
    return difference_interval(*rights_alike(rng, n))


def of_difference(score_of, n, rng):
    truth, (a, b) = runs_alike(rng, n)
    return bootstrap_interval(score_of(truth, b) - score_of(truth, a), resamples=DRAWS)


def of_one(score_of, n, rng, *how):
    return bootstrap_interval(score_of(*outputs_of(rng, n, *how)), resamples=DRAWS)


def of_loss(n, rng):
    return bootstrap_interval(of_mean(losses_of(rng, n)), resamples=DRAWS)


def of_loss_difference(n, rng):
    common = losses_of(rng, n)
    a, b = (common + np.where(rng.random(n) < 0.1, rng.exponential(1, n), 0) for _ in "ab")
    return bootstrap_interval(of_mean(b) - of_mean(a), resamples=DRAWS)


def of_rare_difference(n, rng):
    """Of losses that are much the same but for six samples in a hundred, on which one of two runs fails."""
    differences = np.where(rng.random(n) < 0.06, rng.exponential(3, n), rng.normal(0, 0.1, n))
    return bootstrap_interval(of_mean(differences), resamples=DRAWS)


def of_regression(n, rng):
    targets = rng.normal(size=n)
    return bootstrap_interval(of_r2(targets, targets + rng.normal(scale=0.5, size=n)), resamples=DRAWS)


def rejected(p_of: Callable[..., float]) -> float:
    """The share of p values at or below 5 % where nothing differs."""
    rng = np.random.default_rng(1)
    return float(np.mean([p_of(rng) <= 0.05 for _ in range(4 * DRAWS)]))


def held(interval_of: Callable[..., tuple[float, float, float]], true: float | Callable[[], float]) -> float:
    """The share of 95 % intervals that hold the true value."""
    rng = np.random.default_rng(2)
    true = true if isinstance(true, float) else true()
    found = [interval_of(rng) for _ in range(DRAWS)]
    return float(np.mean([low <= true <= high for _, low, high in found]))


def found_with_the_samples_needed():
    """How often McNemar's test sees a difference of 6 to 14 of 75 with as many samples as it is said to need."""
    needed, rng = samples_needed(75, 6, 14), np.random.default_rng(3)
    drawn = rng.choice(3, p=[6 / 75, 14 / 75, 55 / 75], size=(DRAWS, needed))
    return float(np.mean([mcnemar(one != 1, one != 0).p <= 0.05 for one in drawn]))


def found_with_the_seeds_needed():
    """How often the permutation of pairs sees a difference of one deviation with as many seeds as are said to do."""
    seen = np.zeros(2), 1 + np.array([-1, 1]) / np.sqrt(2)
    needed, rng = seeds_needed(*seen, paired=True), np.random.default_rng(4)
    draws = (over_seeds(np.zeros(needed), rng.normal(1, size=needed), paired=True) for _ in range(DRAWS))
    return float(np.mean([each.p <= 0.05 for each in draws]))


def promised_of_real(expected, spread=0.0):
    """What is expected of how much the best of ten runs on 75 samples is overrated, as a share of what it is."""
    rng, real, promised = np.random.default_rng(5), [], []
    for _ in range(DRAWS):
        true = np.clip(0.7 + spread * rng.normal(size=10), 0, 1)
        alike = rng.random((10, 75)) < 0.5  # errors that a run has in common with the others
        right = np.where(alike, rng.random(75), rng.random((10, 75))) < true[:, None]
        means = right.mean(axis=1)
        real.append(means.max() - true[means.argmax()])
        promised.append(expected(right))
    return float(np.mean(promised) / np.mean(real))


def by_answers(right):
    return optimism_of_best(right, resamples=300)


def by_draws(right):
    return optimism_of_draws(right.mean(axis=1), right.shape[1], resamples=1_000)


def by_samples(name, kind, *sizes):
    return {f"{name}, {n:,} samples": kind(n) for n in sizes}


SIMULATED: dict[str, Callable[[], float]] = {
    **by_samples("McNemar, exact", lambda n: partial(rejected, partial(p_of_mcnemar, n, "p")), 75, 300, 1_000),
    **by_samples("McNemar, mid-p", lambda n: partial(rejected, partial(p_of_mcnemar, n, "mid_p")), 75, 300, 1_000),
    "Fisher, a slice of 19 against 56": partial(rejected, partial(p_of_groups, 19, 56)),
    "Permutation of 6 pairs": partial(rejected, partial(p_of_seeds, 6, True, "normal")),
    "Permutation of 10 pairs": partial(rejected, partial(p_of_seeds, 10, True, "normal")),
    "Permutation of 10 pairs, scores with outliers": partial(
        rejected, partial(p_of_seeds, 10, True, "standard_cauchy")
    ),
    "Welch, 3 seeds each": partial(rejected, partial(p_of_seeds, 3, False, "normal")),
    "Welch, 5 seeds each": partial(rejected, partial(p_of_seeds, 5, False, "normal")),
    "Welch, 5 seeds each, skewed scores": partial(rejected, partial(p_of_seeds, 5, False, "exponential")),
    "Holm, any of 10 pairs of 5 rows, 300 samples": partial(rejected, least_of_five_rows),
    **by_samples(
        "Difference in accuracy", lambda n: partial(held, partial(of_accuracy_difference, n), 0.0), 75, 300, 1_000
    ),
    **by_samples(
        "Difference in macro F1", lambda n: partial(held, partial(of_difference, f1_of, n), 0.0), 75, 300, 1_000
    ),
    **by_samples("Difference in loss", lambda n: partial(held, partial(of_loss_difference, n), 0.0), 75, 300, 1_000),
    "Difference in loss, 75 samples, 6 % of which differ": partial(held, partial(of_rare_difference, 75), 0.18),
    **by_samples(
        "Macro F1", lambda n: partial(held, partial(of_one, f1_of, n), partial(true_value, f1_of)), 75, 300, 1_000
    ),
    **by_samples(
        "AUC", lambda n: partial(held, partial(of_one, of_roc_auc, n), partial(true_value, of_roc_auc)), 75, 300, 1_000
    ),
    **by_samples("Loss", lambda n: partial(held, partial(of_loss, n), 0.412), 75, 300, 1_000),
    **by_samples("R2", lambda n: partial(held, partial(of_regression, n), 0.75), 75, 300, 1_000),
    "A difference, with the samples needed": found_with_the_samples_needed,
    "A difference, with the seeds needed": found_with_the_seeds_needed,
    "Best of 10 equal runs: promised of what it is": partial(promised_of_real, by_answers),
    "Best of 10 runs that differ: promised of what it is": partial(promised_of_real, by_answers, 0.1),
    "Best of 10 equal runs, without stored answers": partial(promised_of_real, by_draws),
}


def printed() -> dict[str, float]:
    """The guide's table: {row: percent}."""
    rows = re.findall(r"^\| (.+?) \| [^|]+ \| ([\d.]+) % \|$", page("significance"), re.MULTILINE)
    return {name: float(percent) for name, percent in rows if name in SIMULATED}


def test_the_guide_has_every_row_of_the_simulation():
    assert list(printed()) == list(SIMULATED)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATED)
def test_the_guide_prints_what_the_simulation_finds(name):
    assert printed()[name] == pytest.approx(100 * SIMULATED[name](), abs=0.6)  # other machines' arithmetic
