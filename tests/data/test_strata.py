"""Splits by labels: samples with several are spread by their rarest."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.data.strata import present, split_samples, strata

SETS = torch.tensor([[1, 0, 0]] * 20 + [[1, 1, 0]] * 10 + [[0, 1, 1]] * 5 + [[0, 0, 0]] * 5).float()


def test_a_sample_counts_as_its_rarest_label():
    assert strata(SETS, least=5).bincount().tolist() == [20, 10, 5, 5]


def test_labels_too_rare_to_be_spread_are_taken_together():
    found = strata(SETS, least=6)

    assert found.bincount(minlength=5).tolist() == [20, 10, 0, 0, 10]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_every_label_keeps_its_share(fraction):
    train, test = split_samples(SETS, "abc", test_fraction=fraction, random_state=0)

    assert sorted(train + test) == list(range(40))
    assert SETS[test].sum(dim=0).tolist() == pytest.approx((SETS.sum(dim=0) * fraction).tolist(), abs=1)


def test_a_handful_of_samples_can_be_split():
    train, test = split_samples(torch.eye(4), "abcd", test_fraction=0.2, random_state=0)

    assert (len(train), len(test)) == (3, 1)


def test_numbers_are_split_at_random():
    assert len(split_samples(torch.rand(10), (), test_fraction=0.3, random_state=0)[1]) == 3


def test_groups_of_samples_with_several_labels_stay_whole():
    groups = [index // 4 for index in range(40)]

    train, test = split_samples(SETS, "abc", test_fraction=0.25, random_state=0, groups=groups)

    assert not {groups[index] for index in train} & {groups[index] for index in test}


def test_the_classes_that_occur_are_those_of_the_labels():
    assert (present(SETS), present(torch.tensor([2, 0])), present(torch.rand(3))) == ({0, 1, 2}, {0, 2}, set())
