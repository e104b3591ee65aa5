"""How a folder of images may be laid out, and what its names may not leave open."""

import shutil
import unicodedata

import pytest

from dlworkflow.data.check.folder import check_folder
from dlworkflow.data.datasets.image_folder import ImageFolderCustom, load_image_folder
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.errors import DataError

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def fill(tmp_path, paint):
    """Make `root/PLACE/0.png` and more for each place; returns the root as text."""

    def make(*places, root="food", each=2):
        for seed, place in enumerate(places):
            for number in range(each):
                paint(tmp_path / root / place / f"{number}.png", 10 * seed + number)
        return str(tmp_path / root)

    return make


def sizes(splits):
    return {split: part.labels.tolist() for split, part in splits.parts().items()}


CLASS_FIRST = ("a/train", "a/test", "b/train", "b/test", "b/val", "a/val")


def test_splits_inside_of_classes_are_kept_and_nothing_is_split_anew(fill):
    splits = load_image_folder(path=fill(*CLASS_FIRST))

    assert (splits.classes, splits.indices) == (("a", "b"), None)
    assert sizes(splits) == {split: [0, 0, 1, 1] for split in ("train", "val", "test")}
    assert {path.parent.name for path in splits.test.paths} == {"test"}


def test_a_check_reads_splits_inside_of_classes_as_training_does(fill):
    report = check_folder(fill(*CLASS_FIRST))

    assert (report.layout, report.counts["test"]) == ("splits in classes", {"a": 2, "b": 2})


def test_splits_inside_of_classes_are_scored_on_by_split(fill):
    found = load_labelled(fill(*CLASS_FIRST), ["a", "b"], Pipeline((8, 8)), 3)

    assert {path.parent.name for path in found.images.paths} == {"test"}


@pytest.mark.parametrize(
    "places", [("train/a", "train/b", "test/a", "test/b"), CLASS_FIRST, ("a", "b")], ids=["splits", "classes", "alone"]
)
def test_a_folder_that_holds_nothing_but_the_folder_of_the_images_is_looked_into(places, fill, tmp_path):
    fill(*places, root="wrapped/food", each=4)

    splits = load_image_folder(path=str(tmp_path / "wrapped"))

    assert (splits.classes, splits.name) == (("a", "b"), "food")
    assert f"{str(tmp_path / 'wrapped')!r} is read from its folder 'food'" in splits.notes


def test_a_class_of_the_model_is_no_wrapper(fill):
    found = load_labelled(fill("a/2023", "a/2024"), ["a", "b"], Pipeline((8, 8)), 3)

    assert len(found.images) == 4


@pytest.mark.parametrize("names", [("train", "Train"), ("train", "training"), ("val", "valid"), ("test", "testing")])
@pytest.mark.parametrize("order", ["{split}/{name}", "{name}/{split}"])
def test_two_folders_that_may_be_one_split_are_refused_by_name(names, order, fill):
    splits = {"train", "test", *names}
    places = [order.format(split=split, name=name) for split in splits for name in ("a", "b")]

    with pytest.raises(DataError, match=rf"has '{min(names)}', '{max(names)}', of which one can be the split"):
        load_image_folder(path=fill(*places))


@pytest.mark.parametrize(
    ("places", "named"),
    [
        (("train/a", "train/b", "test/a", "test/b", "dev/a"), "'dev'"),
        (("bus", "car", "train"), "'bus', 'car'"),
        ((*CLASS_FIRST, "a/dev"), "'a/dev'"),
        ((*CLASS_FIRST, "c"), "'c'"),
        ((*CLASS_FIRST, "a"), "'a'"),
    ],
)
def test_images_beside_the_splits_are_refused_by_name_with_the_setting(places, named, fill):
    path = fill(*places)

    for read in (lambda: load_image_folder(path=path), lambda: check_folder(path)):
        with pytest.raises(DataError, match=f"has images in {named} .*set data.layout to split_first"):
            read()


def test_classes_called_as_a_split_is_are_trained_where_the_setting_says_so(fill):
    splits = load_image_folder(path=fill("bus", "car", "train", each=5), layout="classes")

    assert splits.classes == ("bus", "car", "train")


def test_classes_called_as_a_split_is_are_scored_where_the_model_knows_them(fill):
    found = load_labelled(fill("bus", "car", "train"), ["bus", "car", "train"], Pipeline((8, 8)), 3)

    assert found.images.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_what_a_forced_reading_leaves_out_is_noted(fill):
    path = fill("train/a", "train/b", "test/a", "test/b", "dev/a")

    splits = load_image_folder(path=path, layout="split_first")

    assert splits.notes == (f"left out, as they belong to no split: '{path}/dev'",)
    assert check_folder(path, layout="split_first").counts.keys() == {"train", "test"}


def test_folders_without_an_image_beside_the_splits_are_nothing_to_speak_of(fill, tmp_path):
    path = fill("train/a", "train/b", "test/a", "test/b")
    (tmp_path / "food" / "annotations").mkdir()
    (tmp_path / "food" / "annotations" / "boxes.json").touch()

    assert load_image_folder(path=path).notes == ()


def test_one_class_in_two_unicode_forms_is_refused_by_name(fill):
    with pytest.raises(DataError, match=r"two classes that look the same, 'cafe\\u0301' and 'caf\\xe9'"):
        load_image_folder(path=fill(NFC, NFD, "b"))


def test_classes_of_two_splits_are_matched_whatever_their_unicode_form(fill):
    splits = load_image_folder(path=fill(f"train/{NFD}", "train/z", f"test/{NFC}", "test/z"))

    assert (splits.classes, sizes(splits)["test"]) == ((NFC, "z"), [0, 0, 1, 1])
    assert all(unicodedata.is_normalized("NFC", name) for name in splits.classes)


def test_a_model_of_another_unicode_form_is_scored(fill):
    assert load_labelled(fill(NFC, "z"), [NFD, "z"], Pipeline((8, 8)), 3).images.labels.tolist() == [0, 0, 1, 1]


def test_the_notes_class_reads_a_folder_of_another_unicode_form(fill):
    test = ImageFolderCustom(fill(NFD, "z"))
    test.use_classes(["z", NFC])

    assert test.targets == [1, 1, 0, 0]


def test_classes_that_differ_in_case_alone_are_two_and_noted(fill):
    splits = load_image_folder(path=fill("Cat", "cat", each=5))

    assert splits.classes == ("Cat", "cat")
    assert splits.notes == ("classes differ in upper and lower case alone: 'Cat', 'cat'",)


def test_a_class_of_the_test_split_in_other_letters_is_refused_with_what_differs(fill):
    with pytest.raises(DataError, match="'cat' and 'Cat' differ in upper and lower case alone"):
        load_image_folder(path=fill("train/Cat", "train/dog", "test/cat", "test/dog"))


def test_many_classes_that_differ_are_counted(fill, tmp_path):
    fill("train/a", "train/b", "test/a")
    for number in range(101):
        shutil.copytree(tmp_path / "food/test/a", tmp_path / f"food/test/x{number:03}")

    with pytest.raises(DataError, match="'x005' and 95 more; ") as caught:
        load_image_folder(path=str(tmp_path / "food"))
    assert len(str(caught.value)) < 600
