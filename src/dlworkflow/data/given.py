"""Splits of what a user's own function returns or hands over: torch data sets or loaders for training and test.

What is not said is read off the samples: shapes, labels, classes and the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.protocol import labels_of
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError

WANTED = "dlworkflow.Splits, or torch data sets or loaders: (train, test), (train, val, test) or a dictionary of them"


def as_splits(name: str, found: Any, *, task: str | None = None, n_outputs: int | None = None) -> Splits:
    """Return splits for `found`: itself, or data sets or loaders of (inputs, label) as a pair, triple or dictionary.

    Labels of whole numbers are classes, numbers 0.0 and 1.0 a binary task, rows of them several labels, other numbers a
    regression, unless `task` is given. Class names are the data set's `classes`, else the labels; `n_outputs` is the
    least number of classes. Raises DataError for anything else.
    """
    if isinstance(found, Splits):
        return found
    parts = {split: _data_set(split, part) for split, part in _named(found).items()}
    inputs, _ = _sample(parts["train"])
    labels = {split: _labels(part) for split, part in parts.items()}
    task = task or _task_of(labels["train"])
    names = () if task == "regression" else _classes(parts["train"], labels, task, n_outputs)
    served: dict[str, Any] = {split: _served(part, labels[split], task) for split, part in parts.items()}
    return Splits(name, task, **served, in_shape=tuple(inputs.shape), classes=names, source="data sets of your own")


def _named(found: Any) -> dict[str, Any]:
    """Return the data sets by split."""
    keys = {2: ("train", "test"), 3: ("train", "val", "test")}
    if isinstance(found, Mapping):
        named = {str(key): part for key, part in found.items() if part is not None}
    elif isinstance(found, list | tuple) and len(found) in keys:
        named = dict(zip(keys[len(found)], found, strict=True))
    else:
        size = f" of {len(found)}" if isinstance(found, list | tuple) else ""
        raise DataError(f"expected {WANTED}; got {type(found).__name__}{size}")
    if not {"train", "test"} <= named.keys() <= {"train", "val", "test"}:
        raise DataError(f"expected data sets for train and test, and val if there is one; got {', '.join(named)}")
    return named


def _data_set(split: str, part: Any) -> Dataset[Any]:
    part = part.dataset if isinstance(part, DataLoader) else part
    if isinstance(part, IterableDataset) or not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
        raise DataError(f"{split}: expected a data set with a length and samples by index, got {type(part).__name__}")
    if not len(part):
        raise DataError(f"{split}: the data set has no samples")
    return part


def _sample(part: Any) -> tuple[Tensor, Any]:
    """Return the first sample. Raises DataError where it is no pair of a tensor of float32 and a label."""
    sample = part[0]
    if not isinstance(sample, list | tuple) or len(sample) != 2:
        raise DataError(f"a sample must be a pair of inputs and label, not {type(sample).__name__}")
    inputs, label = sample
    if not isinstance(inputs, Tensor):
        way_out = "give the data set transform=ToTensor()" if hasattr(inputs, "getbands") else "make it a tensor"
        raise DataError(f"the inputs of a sample must be a tensor, not {type(inputs).__name__}; {way_out}")
    if inputs.dtype != torch.float32:
        raise DataError(f"the inputs of a sample must be float32, not {str(inputs.dtype).removeprefix('torch.')}")
    return inputs, label


def _labels(part: Any) -> Tensor:
    """Return all labels of a data set: those that it has, else those of its samples, each of which is read for it."""
    if isinstance(part, TensorDataset):
        return part.tensors[1]
    if isinstance(part, Subset):
        return _labels(part.dataset)[torch.as_tensor(part.indices)]
    known = labels_of(part)
    if known is not None and len(known) == len(part):
        return known
    try:
        return torch.stack([torch.as_tensor(part[index][1]) for index in range(len(part))])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"labels must be numbers, a number for each sample: {error}") from None


def _task_of(labels: Tensor) -> str:
    if not labels.is_floating_point():
        return "multiclass"
    if not bool(torch.isin(labels, torch.tensor([0.0, 1.0])).all()):
        return "regression"
    return "multilabel" if labels.ndim == 2 and labels.shape[1] > 1 else "binary"


def _classes(part: Any, labels: Mapping[str, Tensor], task: str, n_outputs: int | None) -> tuple[str, ...]:
    """Return the class names, by the data set under any subsets, else the labels as text."""
    if task in ("binary", "multilabel"):
        highest = labels["train"].shape[1] - 1 if task == "multilabel" else 1
    else:
        every = torch.cat([each.reshape(-1) for each in labels.values()])
        highest = max(int(every.max()), (n_outputs or 0) - 1)
        if every.is_floating_point() or int(every.min()) < 0:
            raise DataError("labels of classes must be whole numbers from 0")
    while isinstance(part, Subset):
        part = part.dataset
    names = tuple(map(str, getattr(part, "classes", None) or ()))
    if len(names) <= highest:
        if names:
            raise DataError(f"the data set names {len(names)} classes, and a label is {highest}")
        names = tuple(map(str, range(highest + 1)))
    return names


def _served(part: Any, labels: Tensor, task: str) -> Dataset[Any]:
    """Return a data set with its labels beside the samples; of tensors, one that gives whole batches."""
    if isinstance(part, TensorDataset) and len(part.tensors) == 2:
        y = labels.long() if task == "multiclass" else labels.float()
        return TensorData(part.tensors[0], y)
    if labels_of(part) is not None:
        return part
    labelled: Any = Subset(part, range(len(part)))
    labelled.labels = labels
    return labelled
