"""Which runs differ by more than chance: by their stored answers to the same samples, or by their scores over seeds.

Joins run folders with `metrics.significance`; imports no torch, and numpy only where there is something to test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from dlworkflow.errors import RunError, few
from dlworkflow.files.notebook import Shown
from dlworkflow.files.text import shell_command
from dlworkflow.runs import Run, RunLike, as_run

if TYPE_CHECKING:
    from dlworkflow.metrics.significance import Interval, Score
    from dlworkflow.runs import Answers, Summary

Row = dict[str, Any]
Measure = Literal["accuracy", "subset accuracy", "loss", "mean absolute error"]

LEVEL = 0.05
"""Two rows differ where their p value, after the correction, is at most this."""

FEWEST_SEEDS = 3
"""Of each row: two do not show how much a score changes with the seed."""

MOST_WITH_INTERVALS = 6
"""Of more runs, pairs have no bootstrap intervals: 435 pairs of 30 runs would take minutes."""


@dataclass(frozen=True)
class Differences(Shown):
    """What the tests of every pair of several runs (or rows of a table) found.

    `names` are those tested, the best by `measure` first; `letters` are those of each name: two share one exactly where
    they do not differ at 5 % after Holm's correction. `pairs` has a row per pair: a and b (b has the better
    `measure`), p, p_holm, differs, and what the test counted; differences are b less a. `n` is how many samples all
    answered, None over seeds. `left_out` are sentences on runs that could not be tested, `notes` on answers that are
    not those of the best weights as they are. `optimism` is how much better the best of three or more looks on these
    samples than it is, as it was chosen by them.
    """

    measure: str
    names: tuple[str, ...] = ()
    letters: dict[str, str] = field(default_factory=dict)
    pairs: list[Row] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    n: int | None = None
    split: str = "test"
    what: str = "samples"
    optimism: float | None = None

    def __repr__(self) -> str:
        told = sum(pair["differs"] for pair in self.pairs)
        return f"Differences({self.measure}: {told} of {len(self.pairs)} pairs of {len(self.names)} differ)"

    def shown_rows(self) -> list[Row]:
        """Return what a notebook shows: a row per pair."""
        return self.pairs

    def to_data(self) -> Row:
        """Return everything as JSON can hold it."""
        return asdict(self)

    @property
    def best(self) -> list[str]:
        """The names that no other is shown to beat."""
        beaten = {pair["a"] for pair in self.pairs if pair["differs"]}
        return [name for name in self.names if name not in beaten]


def compare_answers(runs: Iterable[RunLike], split: str = "test") -> Differences:
    """Test every pair of runs on the samples of `split` that `dlw evaluate` stored their answers to.

    Classes: the exact test of McNemar; numbers: a permutation of which run made which error. The p values are corrected
    by Holm's method for how many pairs there are. A run is left out where it has no such answers, or answered other
    samples than the others: `left_out` has the reason and the command that helps.
    """
    left_out: list[str] = []
    stored, given = [], [*dict.fromkeys(map(as_run, runs))]
    for run in given:
        try:
            stored.append(_Stored(run, run.summary(), _answers(run, split)))
        except RunError as error:
            left_out.append(str(error))
    groups: list[list[_Stored]] = []
    for one in stored:
        same = next((group for group in groups if not _other_samples(group[0], one)), None)
        groups.append([one]) if same is None else same.append(one)
    tested = max(groups, key=len, default=[])  # the first of equals
    for one in (one for group in groups if group is not tested for one in group):
        left_out.append(_sentence(tested[0], one))
    if len(tested) < 2:
        return Differences("accuracy", left_out=tuple(left_out), split=split)
    return _tested(tested, tuple(left_out), dict(zip(given, _names(given), strict=True)))


def _answers(run: Run, split: str) -> Answers:
    """Return the stored answers of a run. Raises RunError where there are none that can be tested."""
    import numpy as np

    answers = run.answers(split, probabilities=False)
    if not answers.classes and (n := int((~np.isfinite(answers.prediction)).sum())):
        raise RunError(f"{run.name} answered {n:,} of {len(answers):,} samples of the {split} split with no number")
    return answers


@dataclass(frozen=True)
class _Stored:
    """A run with its summary and its answers."""

    run: Run
    summary: Summary
    answers: Answers


def _tested(stored: Sequence[_Stored], left_out: tuple[str, ...], names_of: Mapping[Run, str]) -> Differences:
    """Return the tests of all pairs of runs that answered the same samples."""
    import numpy as np

    from dlworkflow.metrics.significance import bootstrap_pairs, optimism_of_best, permutations_of_runs

    measure = _measure(stored)
    values = np.stack([_values(one.answers, measure) for one in stored])  # (runs, n)
    lowest = measure in ("loss", "mean absolute error")
    order = sorted(range(len(stored)), key=lambda place: values[place].mean(), reverse=not lowest)
    stored, values = [stored[place] for place in order], values[order]
    names = [names_of[one.run] for one in stored]
    drawn = {}
    if len(stored) <= MOST_WITH_INTERVALS:  # from the worst: an interval is that of the later less the earlier
        with_loss = _same_loss(stored)
        drawn = bootstrap_pairs([_scores(one.answers, with_loss) for one in reversed(stored)])
    permuted = {} if values.dtype == bool else permutations_of_runs(values)
    pairs, last = [], len(stored) - 1
    for better, worse in combinations(range(len(stored)), 2):
        row: Row = {"a": names[worse], "b": names[better]}
        if permuted:
            row["p"] = permuted[better, worse].p
        else:
            row |= _counted(values[worse], values[better], measure, LEVEL / math.comb(len(stored), 2))
        pairs.append(row | _ends(drawn.get((last - worse, last - better), {})))
    first = stored[0]
    return Differences(
        measure,
        tuple(names),
        _lettered(names, pairs),
        pairs,
        left_out,
        tuple(note for name, one in zip(names, stored, strict=True) if (note := _note(name, one.answers))),
        n=len(first.answers),
        split=first.answers.split,
        what="images" if first.summary.kind == "image" else "samples",
        optimism=optimism_of_best(values, lowest=lowest) if len(stored) > 2 else None,
    )


def _note(name: str, answers: Answers) -> str:
    """Return with which weights a run answered, where these are not its best as they are."""
    given = answers.evaluation
    how = [f"its {given.weights} weights"] * (given.weights != "best") + [f"--tta {given.tta}"] * bool(given.tta)
    how += [f"the temperature {given.temperature:.3g} of dlw calibrate"] if given.temperature else []
    return f"the answers of {name} are those with {' and '.join(how)}" if how else ""


def _measure(stored: Sequence[_Stored]) -> Measure:
    """Return what is tested: numbers by the loss where all have the same, else by their distance from the truth."""
    if stored[0].answers.classes:
        return "subset accuracy" if stored[0].answers.task == "multilabel" else "accuracy"
    return "loss" if _same_loss(stored) else "mean absolute error"


def _same_loss(stored: Sequence[_Stored]) -> bool:
    """Return whether the losses of these runs may be compared: one function, one scale of the targets, all finite."""
    import numpy as np

    kinds = [(one.summary.config["loss"], one.summary.target) for one in stored]
    return kinds.count(kinds[0]) == len(kinds) and all(np.isfinite(one.answers.loss).all() for one in stored)


def _values(answers: Answers, measure: str) -> Any:
    """Return what is tested of each sample, (n,)."""
    if measure == "loss":
        return answers.loss
    return answers.right if answers.classes else abs(answers.prediction - answers.truth)


def _counted(a: Any, b: Any, measure: str, level: float) -> Row:
    """Return the test of one pair, and how many samples would tell the two apart at a level."""
    from dlworkflow.metrics.significance import difference_interval, mcnemar, samples_needed

    found, interval = mcnemar(a, b), difference_interval(a, b)
    key = measure.replace(" ", "_")
    return {
        "only_a": found.only_a,
        "only_b": found.only_b,
        "p": found.p,
        **{key: interval.value, f"{key}_low": interval.low, f"{key}_high": interval.high},
        "samples_needed": samples_needed(found.n, found.only_a, found.only_b, level=level),
    }


def _ends(intervals: Mapping[str, Interval]) -> Row:
    """Return differences and the ends of their intervals by keys of a row: loss, loss_low, loss_high."""
    keys = {"": "value", "_low": "low", "_high": "high"}
    return {f"{name}{end}": getattr(found, key) for name, found in intervals.items() for end, key in keys.items()}


def _scores(answers: Answers, with_loss: bool) -> dict[str, Score]:
    from dlworkflow.metrics.significance import of_f1_macro, of_f1_macro_labels, of_mean

    found = {"loss": of_mean(answers.loss)} if with_loss else {}
    if not answers.classes:
        return {"mean_absolute_error": of_mean(abs(answers.prediction - answers.truth)), **found}
    if answers.task == "multilabel":
        return {"f1_macro": of_f1_macro_labels(answers.truth, answers.prediction), **found}
    return {"f1_macro": of_f1_macro(answers.truth, answers.prediction, len(answers.classes)), **found}


def compare_over_seeds(
    scores: Mapping[str, Mapping[int, float]], *, measure: str = "test_acc", lowest: bool = False, split: str = "test"
) -> Differences:
    """Test every pair of rows, each of which was trained with several seeds: {name: {seed: score}}.

    Where two rows have the same seeds, and enough of them for the number of pairs, the differences of each seed are
    permuted; else it is Welch's t test, from three seeds on. Which test it is does not depend on the scores. A row with
    fewer seeds is left out. `lowest` says that a low score is the good one.
    """
    from dlworkflow.metrics.significance import over_seeds, seeds_needed

    def mean(name: str) -> float:
        return sum(scores[name].values()) / len(scores[name])

    names = sorted(scores, key=mean, reverse=not lowest)
    left_out = _few_seeds([name for name in names if len(scores[name]) < FEWEST_SEEDS])
    names = [name for name in names if len(scores[name]) >= FEWEST_SEEDS]
    pairs = []
    every = [*combinations(names, 2)]
    for better, worse in every:
        by_seed = scores[worse], scores[better]
        values = [[each[seed] for seed in sorted(each)] for each in by_seed]
        found = over_seeds(*values, paired=by_seed[0].keys() == by_seed[1].keys(), comparisons=len(every))
        row: Row = {"a": worse, "b": better, "difference": mean(better) - mean(worse), "p": 1.0}
        if found is not None:  # else no score changes with the seed
            row |= found._asdict()
            row["seeds_needed"] = seeds_needed(*values, paired=found.test == "permutation", level=LEVEL / len(every))
        pairs.append(row)
    return Differences(measure, tuple(names), _lettered(names, pairs), pairs, left_out, split=split)


def _few_seeds(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (
        f"{few(names)}: one or two seeds where a test needs six, or three for one that takes scores to be spread like "
        "a bell curve; train more with: dlw sweep ... --seeds 6",
    )


def _lettered(names: Sequence[str], pairs: list[Row]) -> dict[str, str]:
    """Correct the p values of the pairs, and return the letters of the names."""
    from dlworkflow.metrics.significance import holm, letters

    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair |= {"p_holm": p, "differs": p <= LEVEL}
    places = {name: place for place, name in enumerate(names)}
    differing = [(places[pair["b"]], places[pair["a"]]) for pair in pairs if pair["differs"]]
    return dict(zip(names, letters(len(names), differing), strict=True))


def _names(runs: Sequence[Run]) -> list[str]:
    """Return what runs are called: by name, of two with the same by path."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else str(run.path) for run in runs]


def _other_samples(first: _Stored, second: _Stored) -> str:
    """Return why two runs did not answer the same samples, nothing where they did.

    Truth and files are compared; contents, where both evaluations have a digest of the same kind; else the data must
    have one name.
    """
    import numpy as np

    a, b = first.answers, second.answers
    if (a.task, a.classes) != (b.task, b.classes):
        return _other_task(a, b)
    if len(a) != len(b):
        return f"it answered {len(b):,} samples, the other {len(a):,}"
    same = np.isclose(a.truth, b.truth, rtol=1e-5) if a.truth.dtype == float else a.truth == b.truth
    if not same.all():
        return "its samples have other labels, or another order"
    by_name = a.files is not None and b.files is not None
    if by_name and [*map(_file_name, a.files or ())] != [*map(_file_name, b.files or ())]:
        return "its samples are other files, or in another order"
    kinds = [fingerprint.partition(":") for one in (a, b) if (fingerprint := one.fingerprint)]
    if len(kinds) == 2 and kinds[0][0] == kinds[1][0]:
        return "" if kinds[0] == kinds[1] else "its samples are others: their digest differs"
    return "" if by_name or first.summary.data == second.summary.data else "its samples are of other data"


def _other_task(a: Answers, b: Answers) -> str:
    tasks = [f"{one.task} with classes {few(one.classes, 20)}" if one.classes else one.task for one in (a, b)]
    if tasks[0] != tasks[1]:
        return f"its task is {tasks[1]}, the other's {tasks[0]}"
    place, (name, other) = next(
        (place, names) for place, names in enumerate(zip(b.classes, a.classes, strict=True), 1) if len({*names}) > 1
    )
    return f"its class {place} of {len(b.classes)} is {name!r}, the other's {other!r}"


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _sentence(first: _Stored, other: _Stored) -> str:
    """Return that a run answered other samples, and what to do."""
    reason = f"{other.run.name} cannot be tested with {first.run.name}: {_other_samples(first, other)}"
    if (first.answers.task, first.answers.classes) != (other.answers.task, other.answers.classes):
        return f"{reason}; only runs of one task with the same classes can be"
    command = shell_command(["dlw", "evaluate", str(other.run.path), "--data", "PATH"])
    return f"{reason}; score both on the same data: {command}"
