import math
import random
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import Dataset

from dlworkflow import data
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.partition import random_split, shuffled_split
from dlworkflow.data.protocol import labels_of, subset_of
from dlworkflow.data.splits import Splits, class_counts, stratified_split, with_validation
from dlworkflow.errors import DataError

UNEVEN = [0] * 60 + [1] * 30 + [2] * 10


def points(n=4):
    return TensorData(torch.zeros(n, 2), torch.zeros(n))


def test_every_class_keeps_its_share():
    _, test = stratified_split(UNEVEN, test_fraction=0.2, random_state=42)

    assert torch.tensor(UNEVEN)[test].bincount().tolist() == [12, 6, 2]


@pytest.mark.parametrize("seed", range(40))
def test_a_stratified_split_is_that_of_scikit_learn(seed):
    draw = random.Random(seed)
    labels = [draw.randrange(7) for _ in range(draw.randint(60, 300))]
    fraction = draw.uniform(0.1, 0.9)
    theirs = train_test_split(range(len(labels)), test_size=fraction, random_state=seed, stratify=labels)

    mine = stratified_split(labels, test_fraction=fraction, random_state=seed)

    assert mine == tuple(map(sorted, theirs))


@pytest.mark.parametrize("n", [2, 3, 100, 1797])
def test_a_shuffled_split_is_that_of_scikit_learn_in_its_order(n):
    theirs = train_test_split(range(n), test_size=0.2, random_state=n)

    assert shuffled_split(n, math.ceil(0.2 * n), n) == tuple(theirs)


def test_every_sample_is_in_exactly_one_part():
    train, test = stratified_split(UNEVEN, test_fraction=0.2, random_state=42)

    assert sorted(train + test) == list(range(100))


def test_parts_are_in_the_order_of_the_data():
    parts = stratified_split(UNEVEN, test_fraction=0.2, random_state=42)

    assert all(part == sorted(part) for part in parts)


def test_the_same_seed_cuts_the_same():
    first, second = (stratified_split(UNEVEN, test_fraction=0.2, random_state=7) for _ in range(2))

    assert first == second


def test_another_seed_cuts_otherwise():
    first, second = (stratified_split(UNEVEN, test_fraction=0.2, random_state=seed) for seed in (7, 8))

    assert first != second


def test_cutting_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    stratified_split(torch.tensor(UNEVEN), test_fraction=0.2, random_state=7)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_class_with_one_sample_is_named():
    with pytest.raises(DataError, match="class 'sushi' has 1 sample; two are needed"):
        stratified_split([0, 0, 1], test_fraction=0.5, random_state=42, names=["pizza", "sushi"])


def test_a_fraction_that_leaves_a_class_out_is_refused():
    with pytest.raises(DataError, match=r"data\.test_fraction: 0\.1 of 4 samples"):
        stratified_split([0, 0, 1, 1], test_fraction=0.1, random_state=42)


def test_a_class_too_small_to_stand_in_both_parts_is_named():
    with pytest.raises(DataError, match="'sushi'"):
        stratified_split([0] * 98 + [1] * 2, test_fraction=0.2, random_state=42, names=["pizza", "sushi"])


@pytest.mark.parametrize(
    ("sizes", "given"), [([3] * 101, 0.2), ([98, 2], 0.2), ([2] * 7, 0.2), ([5, 400, 3], 0.9), ([2, 3], 0.01)]
)
def test_a_fraction_that_is_too_small_or_large_is_answered_with_one_that_works(sizes, given):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    with pytest.raises(DataError) as refused:
        stratified_split(labels, test_fraction=given, random_state=42)

    working = float(re.search(r"data\.test_fraction=(\S+) works$", str(refused.value))[1])
    assert stratified_split(labels, test_fraction=working, random_state=42)


@pytest.mark.parametrize(
    ("task", "classes", "outputs"),
    [("regression", (), 1), ("binary", ("no", "yes"), 1), ("multiclass", ("a", "b", "c"), 3)],
)
def test_outputs_follow_from_the_task(task, classes, outputs):
    assert Splits("x", task, points(), points(), in_shape=(2,), classes=classes).n_outputs == outputs


@pytest.mark.parametrize(("in_shape", "kind"), [((2,), "tabular"), ((3, 8, 8), "image")])
def test_kind_follows_from_the_shape(in_shape, kind):
    assert Splits("x", "binary", points(), points(), in_shape=in_shape, classes=("a", "b")).kind == kind


def test_parts_leave_out_a_split_that_is_not_there():
    assert list(Splits("x", "regression", points(), points(), in_shape=(2,)).parts()) == ["train", "test"]


def test_a_split_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(DataError, match="data 'x' has no split 'val'; it has train, test"):
        Splits("x", "regression", points(), points(), in_shape=(2,)).part("val")


def test_inputs_without_labels_are_a_bug_that_is_named():
    with pytest.raises(ValueError, match="2 inputs and 1 labels"):
        TensorData(torch.zeros(2, 1), torch.zeros(1))


def test_a_fingerprint_changes_with_one_label():
    other = points()
    other.labels[2] = 1

    assert other.fingerprint() != points().fingerprint()


def test_a_fingerprint_changes_with_one_input():
    other = points()
    other.inputs[2, 1] = 1

    assert other.fingerprint() != points().fingerprint()


def test_a_fingerprint_stays_with_the_data():
    assert points().fingerprint() == points().fingerprint()


def test_a_validation_split_is_cut_off_the_training_data_class_by_class():
    whole = data.load("digits")

    cut = with_validation(whole, 0.25, random_state=1)

    counts = class_counts(cut)
    assert cut.test is whole.test
    assert sorted(cut.indices["train"] + cut.indices["val"]) == whole.indices["train"]
    assert len(cut.val) == 360
    assert all(abs(v / (t + v) - 0.25) < 0.01 for t, v in zip(counts["train"], counts["val"], strict=True))


def test_a_validation_split_is_the_same_every_time_and_draws_from_no_global_generator():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, second, other = (with_validation(data.load("digits"), 0.2, random_state=seed) for seed in (1, 1, 2))

    assert first.indices["val"] == second.indices["val"] != other.indices["val"]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_validation_samples_are_not_augmented():
    cut = with_validation(data.load("digits", transform="flip"), 0.2, random_state=1)

    assert cut.train.pipeline.augmentations
    assert not cut.val.pipeline.augmentations


def test_a_regression_has_a_validation_split_too():
    cut = with_validation(data.load("line"), 0.25, random_state=1)

    assert (len(cut.train), len(cut.val), len(cut.test)) == (30, 10, 10)


def test_a_data_set_of_your_own_is_cut_too():
    class Own(Dataset):
        labels = [0, 1] * 5

        def __len__(self):
            return 10

        def __getitem__(self, index):
            return torch.tensor([float(index)]), self.labels[index]

    splits = Splits("own", "binary", Own(), Own(), in_shape=(1,), classes=("a", "b"))

    cut = with_validation(splits, 0.4, random_state=1)

    assert sorted(float(X) for part in (cut.train, cut.val) for X, _ in part) == list(range(10))
    assert [y for _, y in cut.val] == labels_of(cut.val).tolist()


def test_a_fraction_that_leaves_a_class_empty_is_refused():
    with pytest.raises(
        DataError, match=r"data\.val_fraction: 0\.001 of 1437 samples leaves a class without training or"
    ):
        with_validation(data.load("digits"), 0.001, random_state=1)


def test_a_second_validation_split_is_refused():
    cut = with_validation(data.load("digits"), 0.2, random_state=1)

    with pytest.raises(DataError, match="has a validation split already"):
        with_validation(cut, 0.2, random_state=1)


PATIENTS = [patient for patient in "abcdefghijkl" for _ in range(5)]  # twelve of five samples, the classes mixed
SICK = [number % 3 for number in range(60)]


def of_patients(**more):
    train = TensorData(torch.arange(120.0).reshape(60, 2), torch.tensor(SICK))
    train.groups = PATIENTS
    return Splits("scans", "multiclass", train, points(), in_shape=(2,), classes=("a", "b", "c"), **more)


def test_a_group_is_in_one_part():
    train, test = stratified_split(SICK, test_fraction=0.25, random_state=3, groups=PATIENTS)

    assert not {PATIENTS[index] for index in train} & {PATIENTS[index] for index in test}


def test_whole_groups_are_as_near_to_the_fraction_as_they_can_be():
    sizes = [50, 30, 10, 5, 5]
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]

    _, test = random_split(100, test_fraction=0.3, random_state=0, groups=groups)

    assert len(test) == 35


def test_classes_keep_their_shares_as_far_as_whole_groups_allow():
    labels = [0] * 40 + [1] * 10
    groups = [index // 5 for index in range(50)]  # eight groups of the first class, two of the second

    _, test = stratified_split(labels, test_fraction=0.5, random_state=0, groups=groups)

    assert torch.tensor(labels)[test].bincount().tolist() == [20, 5]


def test_a_class_in_one_group_alone_is_named():
    with pytest.raises(DataError, match=r"class 'sushi' is in one group only, 'k'; a group stays whole"):
        stratified_split(
            [0, 0, 0, 1, 1], test_fraction=0.4, random_state=0, names=["pizza", "sushi"], groups=[*"abckk"]
        )


def test_a_validation_split_takes_whole_groups():
    cut = with_validation(of_patients(), 0.25, random_state=1)

    assert len({*cut.train.groups} | {*cut.val.groups}) == 12
    assert not {*cut.train.groups} & {*cut.val.groups}


def test_a_data_set_of_your_own_may_have_groups():
    own = SimpleNamespace(groups=[1, 1, 2, 2])

    assert subset_of(own, [0, 3], name="").groups == [1, 2]


def test_a_group_in_two_splits_is_named():
    test = points()
    test.groups = ["x", "b", "c", "x"]

    with pytest.raises(DataError, match=r"data 'scans': group\(s\) 'b', 'c' are in train and in test"):
        replace(of_patients(), test=test)
