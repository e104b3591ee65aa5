"""A limit, folds and a validation split: which samples a run uses."""

import pytest
import torch

from dlworkflow import data
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.selection import held_out, limited, select, with_fold
from dlworkflow.data.splits import Splits, class_counts
from dlworkflow.errors import DataError


def of(sizes, groups=None):
    """Splits with so many training samples of each class, numbered by their inputs."""
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    train = TensorData(torch.arange(float(len(labels)))[:, None], labels)
    train.groups = groups
    test = TensorData(torch.full((4, 1), -1.0), torch.tensor([0, 1, 0, 1]))
    classes = tuple("abcdefgh"[: len(sizes)])
    return Splits("own", "multiclass", train, test, in_shape=(1,), classes=classes)


def numbers(part):
    return part.inputs[:, 0].int().tolist()


def test_every_sample_is_held_out_once():
    folds = held_out(of([10, 6]), 3, 7)

    assert sorted(index for fold in folds for index in fold) == list(range(16))


def test_classes_keep_their_shares_in_every_fold():
    splits = of([10, 5])

    counts = [class_counts(select(splits, folds=5, fold=fold))["test"] for fold in range(1, 6)]

    assert counts == [[2, 1]] * 5


def test_a_fold_is_the_test_split_and_the_others_are_trained_on():
    splits = of([4, 4])

    chosen = select(splits, folds=4, fold=2)

    assert sorted(numbers(chosen.train) + numbers(chosen.test)) == list(range(8))
    assert numbers(chosen.test) == held_out(splits, 4, 42)[1]


def test_a_note_states_that_the_own_test_split_is_not_used():
    assert select(of([4, 4]), folds=4, fold=2).notes == (
        "fold 2 of 4 of the training data is held out as the test split; the own test split is not used",
    )


def test_another_seed_makes_other_folds():
    splits = of([10, 10])

    assert held_out(splits, 5, 1) != held_out(splits, 5, 2)


def test_a_validation_split_of_a_fold_is_of_the_others():
    chosen = select(of([8, 8]), folds=4, fold=1, val_fraction=0.5)

    assert [len(part) for part in chosen.parts().values()] == [6, 6, 4]
    assert sorted(numbers(chosen.train) + numbers(chosen.val) + numbers(chosen.test)) == list(range(16))


def test_a_group_is_in_one_fold():
    groups = [index // 3 for index in range(18)]
    folds = held_out(of([9, 9], groups), 3, 0)

    of_folds = [{groups[index] for index in fold} for fold in folds]
    assert sum(map(len, of_folds)) == len(set.union(*of_folds)) == 6


def test_a_regression_has_folds_too():
    folds = held_out(data.load("line"), 5, 0)

    assert [len(fold) for fold in folds] == [8] * 5


def test_more_folds_than_the_rarest_class_has_samples_names_it():
    with pytest.raises(DataError, match="class 'b' has 3 training samples, fewer than 5 folds; give at most 3"):
        held_out(of([9, 3]), 5, 0)


def test_a_class_of_one_sample_has_no_folds():
    with pytest.raises(DataError, match="class 'b' has 1 training sample, fewer than 2 folds; two are needed"):
        held_out(of([9, 1]), 2, 0)


def test_more_folds_than_groups_names_their_number():
    with pytest.raises(DataError, match="2 whole groups are fewer than 3 folds; give at most 2"):
        held_out(of([6, 6], [0, 1] * 6), 3, 0)


def test_a_class_in_one_group_has_no_folds():
    with pytest.raises(DataError, match="class 'b' is in one group; it stays whole"):
        held_out(of([6, 3], [0, 0, 1, 1, 2, 2, 3, 3, 3]), 3, 0)


def test_shards_have_no_folds(pet_shards):
    splits = data.load(**data.locate(str(pet_shards)))

    with pytest.raises(DataError, match="shards are read in their order and have no folds"):
        select(splits, folds=2, fold=1)


def test_folds_decode_each_image_once(pets):
    splits = data.load("image_folder", path=str(pets))
    decoded = 0
    for fold in (1, 2):
        chosen = select(splits, folds=2, fold=fold)
        chosen.train.remember()
        chosen.test.remember()
        decoded += chosen.train.images.n_decoded + chosen.test.images.n_decoded if fold == 1 else 0

    assert decoded == 9
    fresh = select(data.load("image_folder", path=str(pets)), folds=2, fold=2)
    fresh.train.remember()
    assert fresh.train.images.n_decoded == 0


def test_a_fold_has_the_pixels_of_its_images(pets):
    whole = data.load("image_folder", path=str(pets)).train
    fold = select(data.load("image_folder", path=str(pets)), folds=2, fold=1).test
    fold.remember()

    places = [whole.paths.index(path) for path in fold.paths]
    assert torch.equal(fold.batch(range(len(fold)))[0], whole.batch(places)[0])


def test_an_unreadable_image_of_a_fold_is_named(pets):
    (pets / "train/cat/1.png").write_bytes(b"no image")
    chosen = select(data.load("image_folder", path=str(pets)), folds=2, fold=1)

    part = next(part for part in chosen.parts().values() if pets / "train/cat/1.png" in part.paths)

    with pytest.raises(DataError, match=r"1 of \d images cannot be read: .*1\.png"):
        part.remember()


def test_a_limit_keeps_the_shares_of_the_classes():
    counts = class_counts(limited(of([60, 30, 10]), 20))

    assert counts["train"] == [12, 6, 2]


def test_a_limit_leaves_one_sample_of_each_class():
    assert class_counts(limited(of([98, 1, 1]), 2))["train"] == [1, 1, 1]


def test_a_limit_may_be_a_fraction():
    chosen = limited(data.load("digits"), 0.1)

    assert [len(part) for part in chosen.parts().values()] == [144, 36]


def test_a_limit_above_the_samples_takes_all():
    assert len(limited(of([3, 2]), 100).train) == 5


def test_a_limit_states_the_numbers():
    assert limited(of([6, 4]), 5).notes == (
        "limited to 5 of 10 train, 4 of 4 test samples (data.limit): the scores are of these alone",
    )


def test_a_limit_chooses_the_same_samples_each_time():
    assert limited(data.load("digits"), 50).indices == limited(data.load("digits"), 50).indices


def test_a_limit_of_shards_reads_the_first_samples(pet_shards):
    splits = data.load(**data.locate(str(pet_shards)))

    chosen = limited(splits, 3)

    assert torch.equal(chosen.train.labels, splits.train.at(range(3)).labels)


def test_a_limit_of_shards_that_do_not_fit_is_refused(pet_shards, monkeypatch):
    monkeypatch.setattr("dlworkflow.data.selection._MOST_BYTES", 4 * 3 * 64 * 64 - 1)
    splits = data.load(**data.locate(str(pet_shards)))

    with pytest.raises(DataError, match=r"data\.limit: 4 samples of shards need 0 GiB of memory"):
        limited(splits, 4)


def test_a_limit_comes_before_folds():
    chosen = select(of([50, 50]), limit=20, folds=5, fold=1)

    assert [len(part) for part in chosen.parts().values()] == [16, 4]


def test_samples_with_several_labels_are_limited_and_folded_by_their_rarest():
    sets = torch.tensor([[1.0, 0.0]] * 18 + [[1.0, 1.0]] * 6)
    train = TensorData(torch.zeros(24, 2), sets)
    splits = Splits("tags", "multilabel", train, train, in_shape=(2,), classes=("a", "b"))

    folded = with_fold(splits, 3, 1, random_state=0)

    assert folded.test.labels.sum(dim=0).tolist() == [8, 2]
    assert limited(splits, 8).train.labels.sum(dim=0).tolist() == [8, 2]


@pytest.mark.parametrize(("folds", "fold"), [(1, 1), (3, 4), (3, 0)])
def test_a_fold_that_is_none_is_refused(folds, fold):
    with pytest.raises(DataError, match=rf"data\.fold: fold {fold} of {folds} by seed 42 is none"):
        select(of([4, 4]), folds=folds, fold=fold)
