"""Which samples are alike in their labels, so that each split gets its share of them. Knows labels, no data set."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from dlworkflow.data.partition import random_split, stratified_split

if TYPE_CHECKING:
    from torch import Tensor


def split_samples(
    labels: Tensor,
    classes: Sequence[str],
    *,
    test_fraction: float,
    random_state: int,
    groups: Sequence[Hashable] | None = None,
    setting: str = "data.test_fraction",
    part: str = "test",
) -> tuple[list[int], list[int]]:
    """Split indices into training and test by labels (n,) or (n, classes); sorted, the same every time.

    Every class keeps its share in both; of samples with several labels, the rarest label of each decides (`strata`),
    so that a rare class may be in one part alone. Without classes, and where such samples also have groups, the split
    is random. Arguments and errors are those of `partition.stratified_split`.
    """
    chosen = {"test_fraction": test_fraction, "random_state": random_state, "groups": groups}
    said = {"setting": setting, "part": part}
    if not classes or (labels.ndim == 2 and groups is not None):
        return random_split(len(labels), **chosen, **said)  # type: ignore[arg-type] # mypy sees one type for all values
    if labels.ndim == 1:
        return stratified_split(labels.long(), names=classes, **chosen, **said)  # type: ignore[arg-type]
    least = math.ceil(1 / min(test_fraction, 1 - test_fraction))
    return stratified_split(strata(labels, least), **chosen, **said)  # type: ignore[arg-type]


def strata(labels: Tensor, least: int = 2) -> Tensor:
    """Return a number for each sample, (n,) int64, that is the same for samples to be spread evenly.

    It is the class of labels (n,). Of several labels, (n, classes) of 0 and 1, it is the rarest of the sample; samples
    without a label are together, and so are all whose number would occur fewer than `least` times.
    """
    import torch

    if labels.ndim == 1:
        return labels.long()
    n_classes = labels.shape[1]
    counts = labels.sum(dim=0).expand_as(labels).float()
    rarest = torch.where(labels > 0, counts, torch.inf).argmin(dim=1)
    found = torch.where(labels.any(dim=1), rarest, n_classes)
    few = found.bincount(minlength=n_classes + 2) < least
    found = torch.where(few[found], n_classes + 1, found)
    sizes = found.bincount(minlength=n_classes + 2)
    if 0 < sizes[-1] < least:
        found = torch.where(found == n_classes + 1, sizes.argmax(), found)
    return found


def present(labels: Tensor) -> set[int]:
    """Return the classes that occur in labels (n,) or (n, classes); none in those of a regression, (n,) float."""
    if labels.ndim == 2:
        return set(labels.any(dim=0).nonzero().flatten().tolist())
    return set() if labels.is_floating_point() else set(labels.tolist())
