"""The metrics of an epoch: true and predicted labels of the held-out splits are counted as these are evaluated."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

import torch

from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.loop import Batch
from dlworkflow.engine.tasks import Task
from dlworkflow.metrics.functions import METRICS, confusion_matrix, counts_of_labels, of_confusion, of_labels


class EpochMetrics:
    """Metrics that are functions of counts, by name; `group` are the processes that share each batch."""

    def __init__(self, names: Sequence[str], task: Task, n_classes: int, group: Group | None = None) -> None:
        self._names, self._task, self._n_classes, self._group = names, task, n_classes, group
        self._several = task.name == "multilabel"
        shape = (3, n_classes) if self._several else (n_classes, n_classes)
        self._counts: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(shape))

    def of(self, split: str) -> Callable[[Batch], None] | None:
        """Return what counts a batch of raw scores and labels of a split; None where there is no metric."""
        return partial(self._count, split) if self._names else None

    def _count(self, split: str, batch: Batch) -> None:
        logits, y = batch
        if self._several:
            self._counts[split] = self._counts[split].double() + counts_of_labels(y, self._task.labels(logits)).cpu()
            return
        y, predicted = y.reshape(-1).long(), self._task.labels(logits).reshape(-1).long()
        known = (y >= 0) & (y < self._n_classes)  # a loss may ignore a label that is no class
        if known.any():
            counts = confusion_matrix(y[known], predicted[known], self._n_classes)
            self._counts[split] = self._counts[split].double() + counts

    def take(self) -> dict[str, float]:
        """Return the metrics of what was counted, {"test_f1_macro": 0.9}, and start anew; nan where not defined."""
        found = {}
        for split, counts in self._counts.items():
            counted = (counts if self._group is None else self._group.sum(counts)).long()
            known = of_labels(counted) if self._several else of_confusion(counted)
            for name in self._names:
                value = METRICS.build(name, {}, **known)
                found[f"{split}_{name}"] = math.nan if value is None else float(value)
        self._counts.clear()
        return found
