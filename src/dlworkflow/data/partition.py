"""Which samples go into training and which are held out: by labels, by groups, seeded. Knows indices, no data set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_DRAWS = 200
"""Random sets of groups, of which the one is taken whose classes are nearest to the fraction."""


def random_split(
    n: int,
    *,
    test_fraction: float,
    random_state: int,
    groups: Sequence[Hashable] | None = None,
    setting: str = "data.test_fraction",
    part: str = "test",
) -> tuple[list[int], list[int]]:
    """Split n samples without classes into training and test, at random; sorted, the same every time.

    With `groups`, one for each sample, no group is in both. `setting` and `part` are the names of the fraction and of
    the smaller part in messages. Raises DataError where a part would be empty.
    """
    if groups is not None:
        return _split_groups([0] * n, groups, test_fraction, random_state, ["the data"], setting, part)
    if not 1 <= round(n * test_fraction) < n:
        raise DataError(f"{setting}: {test_fraction:g} of {n} samples leaves training or {part} without any")
    train, test = shuffled_split(n, round(n * test_fraction), random_state)
    return sorted(train), sorted(test)


def shuffled_split(n: int, n_test: int, random_state: int) -> tuple[list[int], list[int]]:
    """Return n indices in random order, the first `n_test` as test and the others as training.

    They are those of `sklearn.model_selection.train_test_split`, whose import takes a second.
    """
    import numpy as np

    order = np.random.RandomState(random_state).permutation(n).tolist()
    return order[n_test:], order[:n_test]


def stratified_split(
    labels: Sequence[int] | Tensor,
    *,
    test_fraction: float,
    random_state: int,
    names: Sequence[str] | None = None,
    groups: Sequence[Hashable] | None = None,
    setting: str = "data.test_fraction",
    part: str = "test",
) -> tuple[list[int], list[int]]:
    """Split indices into training and test so that every class keeps its share in both; sorted, the same every time.

    With `groups`, one for each sample, no group is in both, and the classes' shares are as near as whole groups allow.
    `setting` and `part` are the names of the fraction and of the smaller part in messages. Raises DataError naming a
    class that has too few samples or groups for both; without groups also a fraction with which it does.
    """
    labels = [int(label) for label in labels]
    sizes = Counter(labels)
    called = {label: repr(names[label] if names else label) for label in sorted(sizes)}
    for label, name in called.items():
        if sizes[label] < 2:
            raise DataError(f"class {name} has 1 sample; two are needed to split it into training and {part}")
    if groups is not None:
        order = {label: place for place, label in enumerate(called)}
        classes = [f"class {name}" for name in called.values()]
        codes = [order[label] for label in labels]
        return _split_groups(codes, groups, test_fraction, random_state, classes, setting, part)
    parts = _cut(labels, test_fraction, random_state)
    if parts and not (lost := _lost(labels, parts)):
        return parts
    working = _working_fraction(labels, test_fraction, random_state)
    way_out = f"{setting}={working:g} works" if working else "each class needs more samples"
    if not parts:
        raise DataError(
            f"{setting}: {test_fraction:g} of {len(labels)} samples leaves a class without training or {part}; "
            f"{way_out}"
        )
    raise DataError(
        f"class {called[lost[0]]} has {sizes[lost[0]]} samples, too few for both training and {part} "
        f"with {setting} {test_fraction:g}; {way_out}"
    )


def folds_of(
    labels: Sequence[int],
    folds: int,
    random_state: int,
    groups: Sequence[Hashable] | None = None,
    names: Sequence[str] = (),
) -> list[list[int]]:
    """Return the indices of each fold, sorted: every sample is in one, classes keep their shares, groups stay whole.

    Without classes all labels are equal. Raises DataError where groups leave a fold or a class without any sample.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    codes = None if groups is None else _codes(groups)
    if codes is not None and (n_groups := codes.max() + 1) < folds:
        raise DataError(f"data.folds: {n_groups} whole groups are fewer than {folds} folds; give at most {n_groups}")
    kind = StratifiedKFold if codes is None else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=random_state)
    found = [sorted(held.tolist()) for _, held in splitter.split(np.zeros(len(labels)), labels, codes)]
    if not all(found):
        raise DataError(f"data.folds: whole groups leave one of {folds} folds without any sample; give fewer")
    for held in found:
        others = {*held}
        left = {label for index, label in enumerate(labels) if index not in others}
        if lost := sorted({*labels} - left):
            name = f"class {names[lost[0]]!r}" if names else "all data"
            raise DataError(f"data.folds: {name} is in one group; it stays whole, so its fold leaves none to train on")
    return found


def share_of(labels: Sequence[int], n: int, random_state: int) -> list[int]:
    """Return the indices of about n samples, sorted: classes keep their shares, each with one sample at least."""
    import numpy as np

    order = np.random.default_rng(random_state).permutation(len(labels))
    sizes, seen = Counter(labels), Counter[int]()
    places: list[tuple[float, int]] = []  # each class is spread evenly over (0, 1), its first sample before all others
    for index in order.tolist():
        label = labels[index]
        places.append(((seen[label] + 0.5) / sizes[label] if seen[label] else 0.0, index))
        seen[label] += 1
    return sorted(index for _, index in sorted(places)[: max(n, len(sizes))])


def _codes(groups: Sequence[Hashable]) -> Any:
    """Return the groups as numbers from 0, (n,) int64."""
    import numpy as np

    return np.unique([str(group) for group in groups], return_inverse=True)[1]


def _split_groups(
    labels: Sequence[int],
    groups: Sequence[Hashable],
    test_fraction: float,
    random_state: int,
    called: Sequence[str],
    setting: str,
    part: str,
) -> tuple[list[int], list[int]]:
    """Split whole groups, the best of many random draws; `labels` count from 0, `called` are their names."""
    import numpy as np
    from sklearn.model_selection import GroupShuffleSplit

    for label, name in enumerate(called):
        own = {group for group, of in zip(groups, labels, strict=True) if of == label}
        if len(own) < 2:
            raise DataError(
                f"{name} is in one group only, {str(*own)!r}; a group stays whole, so two are needed to split it into "
                f"training and {part}"
            )
    y, codes = np.asarray(labels), _codes(groups)
    n_groups = int(codes.max()) + 1
    of_test = min(math.ceil(n_groups * test_fraction), n_groups - 1)
    draws = GroupShuffleSplit(_DRAWS, test_size=of_test, random_state=random_state).split(y, groups=codes)
    sizes = np.bincount(y, minlength=len(called))

    def gap(drawn: tuple[np.ndarray, np.ndarray]) -> float:
        counts = np.bincount(y[drawn[1]], minlength=len(called))
        in_both = ((counts > 0) & (counts < sizes)).all()
        return float(np.abs(counts / sizes - test_fraction).max()) if in_both else math.inf

    train, test = best = min(draws, key=gap)
    if gap(best) == math.inf:
        raise DataError(
            f"{setting}: {test_fraction:g} of {n_groups} whole groups leaves a class without training or {part}; "
            "give another fraction, or more groups"
        )
    return sorted(train.tolist()), sorted(test.tolist())


def _cut(labels: Sequence[int], test_fraction: float, random_state: int) -> tuple[list[int], list[int]] | None:
    """Return the indices of training and test, or None where one of them would have fewer samples than classes."""
    import numpy as np

    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_test = math.ceil(len(labels) * test_fraction)  # as scikit-learn counts
    if not len(classes) <= n_test <= len(labels) - len(classes):
        return None
    draw = np.random.RandomState(random_state)
    of_train = _shares(counts, len(labels) - n_test, draw)
    of_test = _shares(counts - of_train, n_test, draw)
    train, test = list[int](), list[int]()
    for code, (n_train, n_held) in enumerate(zip(of_train.tolist(), of_test.tolist(), strict=True)):
        own = draw.permutation(np.flatnonzero(codes == code)).tolist()
        train += own[:n_train]
        test += own[n_train : n_train + n_held]
    return sorted(train), sorted(test)


def _shares(counts: np.ndarray, n: int, draw: np.random.RandomState) -> np.ndarray:
    """Share n samples among classes in proportion to `counts`, (classes,) int64; ties of what is left over are drawn.

    With `_cut` it draws as scikit-learn's stratified `train_test_split`, whose import takes a second.
    """
    import numpy as np

    exact = counts / counts.sum() * n
    shares = np.floor(exact)
    left, over = int(n - shares.sum()), exact - shares
    for value in np.unique(over)[::-1] if left else ():
        tied = np.flatnonzero(over == value)
        drawn = draw.choice(tied, size=min(len(tied), left), replace=False)
        shares[drawn] += 1
        left -= len(drawn)
        if not left:
            break
    return shares.astype(np.int64)


def _lost(labels: Sequence[int], parts: Sequence[Sequence[int]]) -> list[int]:
    """Return the classes that one of the parts lacks."""
    return sorted({label for part in parts for label in {*labels} - {labels[index] for index in part}})


def _working_fraction(labels: Sequence[int], test_fraction: float, random_state: int) -> float | None:
    """Return the hundredth nearest to `test_fraction` that leaves every class in training and test, tried out."""
    smallest = min(Counter(labels).values())
    hundredths = (number / 100 for number in range(1, 100))
    for fraction in sorted(hundredths, key=lambda fraction: abs(fraction - test_fraction)):
        likely = smallest * min(fraction, 1 - fraction) >= 0.5  # a share below half a sample is none
        if likely and (parts := _cut(labels, fraction, random_state)) and not _lost(labels, parts):
            return fraction
    return None
