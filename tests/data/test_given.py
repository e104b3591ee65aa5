"""Splits of torch data sets and loaders: shapes, classes and the task are read off the samples."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from dlworkflow.data.given import as_splits
from dlworkflow.data.protocol import counts_of, labels_of
from dlworkflow.errors import DataError


def points(labels, n=6):
    return TensorDataset(torch.rand(n, 3), torch.as_tensor(labels).expand(n))


class Plain(Dataset):
    """Nothing but samples by index, and class names."""

    classes = ("no", "yes")

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((1, 8, 8), float(index)), index % 2


class Pil(Plain):
    def __getitem__(self, index):
        from PIL import Image

        return Image.new("L", (8, 8)), 0


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(2), 0


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        (torch.arange(6) % 3, "multiclass", ("0", "1", "2")),
        (torch.arange(6) % 2.0, "binary", ("0", "1")),
        (torch.arange(6) / 6, "regression", ()),
    ],
)
def test_labels_decide_the_task(labels, task, classes):
    splits = as_splits("mine", (points(labels), points(labels)))

    assert (splits.task, splits.classes, splits.in_shape) == (task, classes, (3,))


def test_loaders_stand_for_their_data_sets_and_a_triple_has_validation():
    train, val, test = (DataLoader(points(torch.arange(6) % 2), batch_size=2) for _ in range(3))

    assert {split: len(part) for split, part in as_splits("mine", [train, val, test]).parts().items()} == {
        **{"train": 6, "val": 6, "test": 6}
    }


def test_a_plain_data_set_gets_its_labels_and_keeps_its_class_names():
    splits = as_splits("mine", {"train": Plain(), "test": Subset(Plain(), [1, 3])})

    assert (splits.classes, splits.kind) == (("no", "yes"), "image")
    assert labels_of(splits.test).tolist() == [1, 1]
    assert counts_of(splits.train, 2).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (3, "got int"),
        ([points(1)], "got list of 1"),
        ({"train": points(1)}, "expected data sets for train and test, .*; got train"),
        ((Stream(), Stream()), "train: expected a data set with a length and samples by index, got Stream"),
        ((Pil(), Pil()), r"must be a tensor, not Image; give the data set transform=ToTensor\(\)"),
        ((points(1, 0), points(1)), "train: the data set has no samples"),
        ((points(-1), points(-1)), "labels of classes must be whole numbers from 0"),
        ((TensorDataset(torch.zeros(2, 3)),) * 2, "a pair of inputs and label"),
        ((TensorDataset(torch.zeros(2, 3).double(), torch.zeros(2)),) * 2, "must be float32, not float64"),
    ],
)
def test_what_is_no_data_is_refused(found, words):
    with pytest.raises(DataError, match=words):
        as_splits("mine", found)
