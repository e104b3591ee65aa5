"""The metrics of an epoch: true and predicted labels of the held-out splits are counted as these are evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.loop import Batch
from dlworkflow.engine.tasks import Task
from dlworkflow.metrics.functions import METRICS, counts_of_labels, of_confusion, of_labels


class EpochMetrics:
    """Metrics that are functions of counts, by name; `group` are the processes that share each batch."""

    def __init__(self, names: Sequence[str], task: Task, n_classes: int, group: Group | None = None) -> None:
        self._names, self._task, self._n_classes, self._group = names, task, n_classes, group
        self._several = task.name == "multilabel"
        self._counts: dict[str, torch.Tensor] = {}

    def of(self, split: str) -> Callable[[Batch], None] | None:
        """Return what counts a batch of raw scores and labels of a split; None where there is no metric."""
        return partial(self._count, split) if self._names else None

    def _count(self, split: str, batch: Batch) -> None:
        """Add the counts of a batch, on its device: nothing is fetched before `take`."""
        logits, y = batch
        predicted = self._task.labels(logits)
        counts = counts_of_labels(y, predicted) if self._several else self._confusion(y, predicted)
        self._counts[split] = self._counts[split] + counts if split in self._counts else counts

    def _confusion(self, y: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        """Return what `confusion_matrix` does, without its look at the largest value, for which a GPU is waited for."""
        n, y, predicted = self._n_classes, y.reshape(-1).long(), predicted.reshape(-1).long()
        known = (y >= 0) & (y < n)  # a loss may ignore a label that is no class
        cells = torch.where(known, n * y + predicted, n * n)
        counts = torch.zeros(n * n + 1, dtype=torch.int64, device=y.device)
        return counts.scatter_add_(0, cells, torch.ones_like(cells))[:-1].reshape(n, n)

    def take(self) -> dict[str, float]:
        """Return the metrics of what was counted, {"test_f1_macro": 0.9}, and start anew; nan where not defined."""
        found = {}
        for split, counts in self._counts.items():
            counted = counts.cpu()
            if self._group is not None:
                counted = self._group.sum(counted.double()).long()
            known = of_labels(counted) if self._several else of_confusion(counted)
            for name in self._names:
                value = METRICS.build(name, {}, **known)
                found[f"{split}_{name}"] = math.nan if value is None else float(value)
        self._counts.clear()
        return found
