"""Features of a frozen backbone are computed once, where every epoch would give the same."""

import torch
from torch import nn
from torch.utils.data import Dataset

from dlworkflow.training.frozen_features import remember_features


class Two(nn.Module):
    """A backbone and a classifier."""

    classifier_layer = "out"

    def __init__(self):
        super().__init__()
        self.seen, self.out = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.seen(x))


class Noise(Dataset):
    """A data set of the user's own whose samples are new each time, and which answers whole batches."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.rand(2), 0

    def batch(self, indices):
        return torch.rand(len(indices), 2), torch.zeros(len(indices), dtype=torch.int64)


class Fixed(Noise):
    """The same, of which the user declares that its samples never change."""

    is_random = False


def test_a_data_set_that_may_be_random_has_no_features_to_remember():
    assert remember_features(Two(), {"train": Noise()}, 2) is None


def test_a_data_set_that_is_declared_fixed_has():
    assert remember_features(Two(), {"train": Fixed()}, 2) is not None
