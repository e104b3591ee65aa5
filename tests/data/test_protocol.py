"""What a data set may offer, and the answers about one that offers nothing."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from dlworkflow import data
from dlworkflow.data import protocol
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.images.transforms import parse
from dlworkflow.data.protocol import all_of, counts_of, is_random, labels_of
from dlworkflow.data.shards.reading import ShardData


class Plain(Dataset):
    """A data set of the user's own: torch's two methods and nothing else."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


class Declared(Plain):
    """A data set of the user's own that says of itself whether its samples change."""

    def __init__(self, is_random):
        self.is_random = is_random


def digits(transform):
    return data.load("digits", transform=transform)


@pytest.mark.parametrize(
    ("part", "random"),
    [
        (Plain(), True),
        (Declared(False), False),
        (Declared(True), True),
        (TensorData(torch.zeros(2, 2), torch.zeros(2)), False),
        (digits("flip").train, True),
        (digits("flip").test, False),
        (digits(None).train, False),
        (ShardData((), 2, parse("flip", image_size=4), 3), True),
        (ShardData((), 2, parse(None, image_size=4), 3), False),
    ],
    ids=["unknown", "declared fixed", "declared random", "tensors", "augmented", "its test", "plain", *["shards"] * 2],
)
def test_a_data_set_is_taken_for_random_unless_it_is_known_not_to_be(part, random):
    assert is_random(part) is random


def test_a_plain_data_set_has_an_answer_to_every_question():
    plain = Plain()

    assert labels_of(plain) is None
    assert counts_of(plain, 2) is None
    assert protocol.fingerprint_of(plain) is None
    assert protocol.knows_fingerprint(plain)
    assert protocol.former_fingerprint_of(plain) is None
    assert protocol.files_of(plain) is None
    assert protocol.left_out_of(plain) == {}
    assert not protocol.skips(plain)
    assert protocol.remember(plain) is None
    assert protocol.drop_left_out(plain) is None
    assert protocol.without_augmentation(plain) is plain
    assert protocol.on_device(plain, torch.device("meta"), 10**9) is plain
    assert protocol.cut_files(plain, 0.5, 0) is None
    assert protocol.shared_files(plain, 0, 2, print) is None
    assert protocol.original_of(plain, 2).tolist() == [2.0]
    assert [y for _, y in protocol.subset_of(plain, [2, 0], name="some")] == [2, 0]
    assert [part.tolist() for part in protocol.batch_of(plain, [2, 0])] == [[[2.0], [0.0]], [2, 0]]


@pytest.mark.parametrize("labels", [[0, 1, 1], torch.tensor([[0], [1], [1]]), torch.tensor([0, 1, 1]).numpy()])
def test_labels_may_be_a_list_an_array_or_a_column(labels):

    assert labels_of(SimpleNamespace(labels=labels)).tolist() == [0, 1, 1]
    assert labels_of(SimpleNamespace(targets=labels)).tolist() == [0, 1, 1]
    assert labels_of(object()) is None


def test_a_whole_split_is_gathered_from_a_plain_data_set():
    X, y = all_of(torch.utils.data.TensorDataset(torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 0])))

    assert (X.shape, y.tolist()) == ((3, 2), [0, 1, 0])


def test_the_numbers_of_a_regression_are_not_counted_as_classes():
    splits = data.load("line", intercept=-1.0)

    assert counts_of(splits.train, len(splits.classes)) is None
