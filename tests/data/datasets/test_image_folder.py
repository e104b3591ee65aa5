import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from dlworkflow import data
from dlworkflow.data.datasets.image_folder import ImageFolderCustom, find_classes, load_image_folder
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.loaders import make_loader
from dlworkflow.errors import DataError, MissingDataError


@pytest.fixture
def single(tmp_path, paint):
    """Ten cats and five dogs in one layer of class folders."""
    for number in range(15):
        paint(tmp_path / "all" / ("cat" if number < 10 else "dog") / f"{number:02}.png", number)
    return tmp_path / "all"


def names_of(dataset):
    return [path.name for path in dataset.paths]


def listing(folder):
    return [(str(path), label) for path, label in zip(folder.paths, folder.targets, strict=True)]


def pixels(folder):
    return [to_uint8(picture) for picture, _ in folder]


def test_classes_are_the_sorted_folders_with_their_labels(tmp_path):
    for name in ("sushi", "pizza", "Steak"):
        (tmp_path / name).mkdir()

    assert find_classes(tmp_path) == (["Steak", "pizza", "sushi"], {"Steak": 0, "pizza": 1, "sushi": 2})


def test_classes_are_found_by_a_path_as_text(pets):
    assert find_classes(str(pets / "train"))[0] == ["cat", "dog"]


def test_hidden_folders_are_no_classes(pets):
    (pets / "train" / ".ipynb_checkpoints").mkdir()

    assert find_classes(pets / "train")[0] == ["cat", "dog"]


def test_files_are_no_classes(pets):
    (pets / "train" / "README.txt").touch()

    assert find_classes(pets / "train")[0] == ["cat", "dog"]


def test_a_folder_without_classes_is_a_file_not_found_error_as_in_the_notes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no class folders in '.*'; images are expected in <class>/"):
        find_classes(tmp_path)


def test_a_folder_that_is_not_there_is_a_file_not_found_error_as_in_the_notes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*none'"):
        find_classes(tmp_path / "none")


def test_a_folder_is_listed_as_torchvision_lists_it(pets):
    assert listing(ImageFolderCustom(pets / "train")) == datasets.ImageFolder(pets / "train").samples


def test_a_folder_is_read_as_torchvision_reads_it(pets):
    mine, theirs = pixels(ImageFolderCustom(pets / "train")), pixels(datasets.ImageFolder(pets / "train"))

    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_classes_bear_torchvisions_names(pets):
    mine, theirs = ImageFolderCustom(pets / "train"), datasets.ImageFolder(pets / "train")

    assert (mine.classes, mine.class_to_idx, mine.targets) == (theirs.classes, theirs.class_to_idx, theirs.targets)


@pytest.mark.parametrize(
    "files",
    [
        ["b.png", "a.png", "B.png", "10.png", "9.png"],
        ["z.png", "deep/a.png", "deep/er/b.png"],
        ["a/c/x.png", "a-b/y.png"],
        ["x.JPG", "x.jpeg", "x.PNG", "x.bmp", "x.ppm", "x.tif", "x.tiff", "x.webp"],
    ],
    ids=["names", "folders below", "folders below whose names begin alike", "kinds of files"],
)
def test_any_order_of_names_is_listed_as_torchvision_lists_it(files, tmp_path, paint):
    for file in files:
        paint(tmp_path / "cat" / file)

    assert listing(ImageFolderCustom(tmp_path)) == datasets.ImageFolder(tmp_path).samples


def test_a_linked_folder_below_a_class_is_listed_as_torchvision_lists_it(tmp_path, paint):
    paint(tmp_path / "elsewhere" / "a.png")
    paint(tmp_path / "root" / "cat" / "b.png")
    (tmp_path / "root" / "cat" / "more").symlink_to(tmp_path / "elsewhere")

    assert listing(ImageFolderCustom(tmp_path / "root")) == datasets.ImageFolder(tmp_path / "root").samples


def test_a_linked_class_folder_is_a_class(pets, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "cat").symlink_to(pets / "train" / "cat")

    assert len(ImageFolderCustom(tmp_path / "linked")) == 5


@pytest.mark.parametrize("split", ["train", "test"])
def test_photos_are_listed_as_torchvision_lists_them(split, photos):
    assert listing(ImageFolderCustom(photos / split)) == datasets.ImageFolder(photos / split).samples


def test_photos_are_read_as_torchvision_reads_them(photos):
    mine, theirs = pixels(ImageFolderCustom(photos / "test")), pixels(datasets.ImageFolder(photos / "test"))

    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_photos_are_resized_as_torchvision_resizes_them(photos):
    way = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    theirs = torch.stack([picture for picture, _ in datasets.ImageFolder(photos / "test", way)])

    assert torch.equal(load_image_folder(path=str(photos)).test.batch(range(75))[0], theirs)


@pytest.mark.parametrize(("split", "counts"), [("train", [78, 75, 72]), ("test", [25, 19, 31])])
def test_photos_are_those_of_the_notes(split, counts, photos):
    part = data.load("pizza_steak_sushi", data_dir=str(photos.parent), offline=True).part(split)

    assert part.labels.bincount().tolist() == counts


def test_a_transform_is_given_the_picture(pets):
    assert ImageFolderCustom(pets / "train", transform=lambda picture: picture.size)[2] == ((26, 17), 0)


def test_a_picture_of_the_folder_can_be_looked_at(pets):
    assert ImageFolderCustom(pets / "train").load_image(1).size == (23, 17)


def test_a_grey_picture_is_given_as_rgb(tmp_path, paint):
    paint(tmp_path / "cat" / "a.png", mode="L")

    assert ImageFolderCustom(tmp_path)[0][0].mode == "RGB"


def test_an_empty_class_is_named(pets):
    (pets / "train" / "eel").mkdir()

    with pytest.raises(DataError, match=r"no images in class folder\(s\) 'eel' of '.*train'; known are \.jpg"):
        ImageFolderCustom(pets / "train")


def test_a_class_with_only_hidden_files_is_named_as_empty(pets, paint):
    paint(pets / "train" / "eel" / ".thumbnail.png")

    with pytest.raises(DataError, match="'eel'"):
        load_image_folder(path=str(pets))


def test_train_and_test_folders_are_the_splits(pets):
    splits = load_image_folder(path=str(pets))

    assert (splits.train.labels.tolist(), splits.test.labels.tolist()) == ([0] * 5 + [1] * 4, [0, 0, 1, 1])


def test_a_data_set_bears_the_name_of_its_folder(pets, monkeypatch):
    monkeypatch.chdir(pets)

    assert load_image_folder(path=".").name == "pets"


def test_channels_and_size_make_the_shape(pets):
    splits = load_image_folder(path=str(pets), image_size=[8, 12], channels=1)

    assert (splits.in_shape, splits.train[0][0].shape) == ((1, 8, 12), (1, 8, 12))


def test_a_val_folder_is_the_validation_split(pets):
    shutil.copytree(pets / "test", pets / "val")

    assert list(load_image_folder(path=str(pets)).parts()) == ["train", "val", "test"]


@pytest.mark.parametrize("name", ["valid", "validation", "Val"])
def test_a_val_folder_may_bear_other_names(name, pets):
    shutil.copytree(pets / "test", pets / name)

    splits = load_image_folder(path=str(pets))
    assert names_of(splits.val) == names_of(splits.test)


def test_a_val_folder_stands_in_for_a_missing_test_folder(pets):
    (pets / "test").rename(pets / "val")

    assert {split: len(part) for split, part in load_image_folder(path=str(pets)).parts().items()} == {
        "train": 9,
        "test": 4,
    }


def test_a_val_folder_that_stands_in_for_a_test_folder_is_noted(pets):
    (pets / "test").rename(pets / "val")

    assert load_image_folder(path=str(pets)).notes == (
        f"no split 'test' in {str(pets)!r}: 'val' is used as the test split",
    )


def test_a_train_folder_alone_is_refused(pets):
    shutil.rmtree(pets / "test")

    with pytest.raises(DataError, match="has a folder 'train' but no 'test'; add one, or give the class folders alone"):
        load_image_folder(path=str(pets))


def test_a_test_folder_alone_is_refused(pets):
    shutil.rmtree(pets / "train")

    with pytest.raises(DataError, match="has 'test' but no folder 'train'"):
        load_image_folder(path=str(pets))


def test_labels_of_a_test_split_with_fewer_classes_go_by_name(pets):
    shutil.rmtree(pets / "test" / "cat")

    assert load_image_folder(path=str(pets)).test.labels.tolist() == [1, 1]


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_class_that_is_empty_in_another_split_is_noted_like_one_that_is_missing(split, pets):
    shutil.copytree(pets / "test", pets / "val")
    for path in (pets / split / "cat").iterdir():
        path.unlink()

    assert load_image_folder(path=str(pets)).notes == (f"split {split!r} has no images of 'cat'",)


def test_a_split_without_any_image_is_refused(pets):
    for path in (pets / "test").glob("*/*"):
        path.unlink()

    with pytest.raises(DataError, match="no images in split 'test' of"):
        load_image_folder(path=str(pets))


def test_a_class_that_the_test_split_lacks_is_noted(pets):
    shutil.rmtree(pets / "test" / "cat")

    assert load_image_folder(path=str(pets)).notes == ("split 'test' has no images of 'cat'",)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_class_that_training_lacks_is_refused_with_both_lists(split, pets, paint):
    for name in ("cat", "dog", "eel"):
        paint(pets / split / name / "0.png")

    with pytest.raises(DataError, match=rf"only in '.*{split}': 'eel'; .*'cat', 'dog', .*'cat', 'dog', 'eel'"):
        load_image_folder(path=str(pets))


def test_a_hidden_folder_in_the_test_split_is_no_class(pets, paint):
    paint(pets / "test" / ".cache" / "0.png")

    assert len(load_image_folder(path=str(pets)).test) == 4


def test_a_file_that_is_no_picture_is_left_out(pets):
    (pets / "train" / "cat" / "notes.txt").touch()

    assert len(load_image_folder(path=str(pets)).train) == 9


def test_what_is_not_trained_on_is_counted_by_kind(pets):
    cat = pets / "train" / "cat"
    for name in ("a.HEIC", "b.heic", "notes.txt", ".DS_Store", "._0.png", "README"):
        (cat / name).touch()
    (pets / "train" / "stray.png").touch()

    [note] = load_image_folder(path=str(pets)).notes

    assert note.startswith(
        f"left out of {str(pets / 'train')!r}: 2 .heic, 2 hidden or of the system, 1 without an extension, 1 .txt, "
        f"1 .png beside the class folders (such as {str(cat / 'README')!r}); HEIC is not read here: convert it"
    )


@pytest.mark.parametrize("folder", ["@eaDir", ".AppleDouble", "__MACOSX"])
def test_thumbnails_that_a_system_keeps_beside_pictures_are_no_samples(pets, paint, folder):
    paint(pets / "train" / "cat" / folder / "0.png")
    paint(pets / "train" / folder / "0.png")

    splits = load_image_folder(path=str(pets))

    assert (splits.classes, len(splits.train)) == (("cat", "dog"), 9)


def test_what_is_not_scored_is_counted_too(pets):
    (pets / "test" / "cat" / "x.heic").touch()

    [note] = load_labelled(str(pets), ["cat", "dog"], Pipeline((8, 8)), 3).notes

    assert note.startswith(f"left out of {str(pets / 'test')!r}: 1 .heic")


def test_one_class_is_refused(pets):
    for split in ("train", "test"):
        shutil.rmtree(pets / split / "dog")

    with pytest.raises(DataError, match="has one class, 'cat'; a model needs two or more"):
        load_image_folder(path=str(pets))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"data\.path: no folder '.*none'"):
        load_image_folder(path=str(tmp_path / "none"))


def test_pictures_without_class_folders_are_refused(tmp_path, paint):
    paint(tmp_path / "0.png")

    with pytest.raises(MissingDataError, match="no class folders"):
        load_image_folder(path=str(tmp_path))


def test_an_unreadable_picture_in_a_batch_is_named(pets):
    (pets / "test" / "cat" / "0.png").write_bytes(b"")

    with pytest.raises(DataError, match=r"cat/0\.png': is empty"):
        load_image_folder(path=str(pets)).test.batch([0])


def test_class_folders_alone_are_cut_by_class(single):
    assert load_image_folder(path=str(single)).test.labels.tolist() == [0, 0, 1]


def test_class_folders_alone_are_cut_the_same_every_time(single):
    first, second = (load_image_folder(path=str(single)) for _ in range(2))

    assert (names_of(first.train), names_of(first.test)) == (names_of(second.train), names_of(second.test))


def test_class_folders_alone_are_cut_the_same_wherever_they_lie(single, tmp_path):
    there = load_image_folder(path=str(shutil.copytree(single, tmp_path / "there")))

    assert names_of(there.test) == names_of(load_image_folder(path=str(single)).test)


def test_class_folders_alone_are_cut_otherwise_with_another_seed(single):
    cuts = {tuple(names_of(load_image_folder(path=str(single), random_state=seed).test)) for seed in range(5)}

    assert len(cuts) > 1


def test_class_folders_alone_give_every_picture_to_one_split(single):
    splits = load_image_folder(path=str(single))

    assert sorted(names_of(splits.train) + names_of(splits.test)) == [f"{number:02}.png" for number in range(15)]


def test_indices_tell_which_pictures_went_where(single):
    splits = load_image_folder(path=str(single))

    assert [f"{index:02}.png" for index in splits.indices["test"]] == names_of(splits.test)


def test_a_cut_that_is_asked_for_though_there_are_splits_is_told(pets):
    assert load_image_folder(path=str(pets), test_fraction=0.4, random_state=1).notes == (
        f"data.test_fraction is not used: '{pets}' has its own train and test",
        f"data.random_state is not used: '{pets}' has its own train and test",
    )


def test_class_folders_alone_take_a_test_fraction(single):
    assert len(load_image_folder(path=str(single), test_fraction=0.4).test) == 6


def test_a_class_with_one_picture_is_named(single, paint):
    paint(single / "eel" / "0.png")

    with pytest.raises(DataError, match="class 'eel' has 1 sample"):
        load_image_folder(path=str(single))


def test_a_turned_picture_is_trained_on_the_way_up(pets):
    exif = Image.Exif()
    exif[0x0112] = 3
    path = pets / "test" / "cat" / "0.png"
    upright = load_image_folder(path=str(pets)).test[0][0]
    with Image.open(path) as picture:
        turned = picture.transpose(Image.Transpose.ROTATE_180)
    turned.save(path, exif=exif)

    assert torch.equal(load_image_folder(path=str(pets)).test[0][0], upright)


def test_loading_and_reading_leaves_the_users_files_alone(pets, state_of):
    (pets / "train" / "cat" / "notes.txt").write_text("mine")
    before = state_of(pets)
    for part in load_image_folder(path=str(pets), transform="trivial_augment").parts().values():
        list(make_loader(part, 4, shuffle=True))

    assert state_of(pets) == before


@pytest.fixture
def broken(pets):
    """The pets, but for a cat of no bytes to train on and a dog cut short to test on."""
    (pets / "train" / "cat" / "1.png").write_bytes(b"")
    whole = (pets / "test" / "dog" / "0.png").read_bytes()
    (pets / "test" / "dog" / "0.png").write_bytes(whole[: len(whole) // 2])
    return pets


def test_unreadable_pictures_are_an_error_where_nothing_else_is_said(broken):
    with pytest.raises(DataError, match=r"1 of 9 images cannot be read: '.*cat/1\.png': is empty \(0 bytes\)"):
        load_image_folder(path=str(broken)).train.remember()


def test_unreadable_pictures_are_left_out_when_asked_for(broken):
    splits = load_image_folder(path=str(broken), on_bad="skip")

    assert [path for part in splits.parts().values() for path in part.paths if not path.exists()] == []
    assert names_of(splits.train) == [*("0.png", "2.png", "3.png", "4.png"), *(f"{number}.png" for number in range(4))]
    assert names_of(splits.test) == ["0.png", "1.png", "1.png"]


def test_labels_stay_with_their_pictures_when_some_are_left_out(broken):
    splits = load_image_folder(path=str(broken), on_bad="skip")

    assert splits.skipped == {"train": 1, "test": 1}
    for part in splits.parts().values():
        assert [splits.classes[label] for label in part.labels.tolist()] == [path.parent.name for path in part.paths]


def test_pixels_stay_with_their_labels_when_some_are_left_out(broken):
    whole = load_image_folder(path=str(broken)).train.batch([0, 2, 3, 4, 5, 6, 7, 8])
    kept = load_image_folder(path=str(broken), on_bad="skip").train.batch(range(8))

    assert torch.equal(kept[0], whole[0])
    assert torch.equal(kept[1], whole[1])


def test_pictures_that_are_left_out_are_all_named(broken):
    notes = load_image_folder(path=str(broken), on_bad="skip").notes

    assert [note.replace(f"{broken}/", "") for note in notes[:3]] == [
        "1 of 9 train images cannot be read and are left out",
        "left out of train: 'train/cat/1.png': is empty (0 bytes)",
        "1 of 4 test images cannot be read and are left out",
    ]
    assert "dog/0.png': cannot be decoded (" in notes[3]


def test_more_than_ten_pictures_that_are_left_out_are_all_named(pets):
    for number in range(12):
        (pets / "train" / "cat" / f"bad{number:02}.png").touch()
    notes = load_image_folder(path=str(pets), on_bad="skip").notes

    assert sum("left out of train: " in note for note in notes) == 12


def test_pictures_that_are_left_out_are_counted_by_split(broken):
    assert load_image_folder(path=str(broken), on_bad="skip").skipped == {"train": 1, "test": 1}


def test_nothing_is_counted_as_left_out_where_all_can_be_read(pets):
    splits = load_image_folder(path=str(pets), on_bad="skip")

    assert (splits.skipped, splits.notes) == ({}, ())


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_that_loses_all_its_pictures_is_an_error(split, pets):
    for path in (pets / split / "dog").iterdir():
        path.write_text("no image")

    with pytest.raises(DataError, match=rf"no image of 'dog' in split '{split}' of '.*pets' can be read: .*'.*dog/0"):
        load_image_folder(path=str(pets), on_bad="skip")


def test_the_cut_of_class_folders_is_the_same_with_and_without_unreadable_pictures(single):
    before = load_image_folder(path=str(single))
    (bad := before.train.paths[3]).write_bytes(b"")
    after = load_image_folder(path=str(single), on_bad="skip")

    assert after.train.paths == [path for path in before.train.paths if path != bad]
    assert after.test.paths == before.test.paths


def test_indices_tell_which_pictures_went_where_when_some_are_left_out(single):
    (single / "cat" / "02.png").write_bytes(b"")
    splits = load_image_folder(path=str(single), on_bad="skip")

    for split, part in splits.parts().items():
        assert [f"{index:02}.png" for index in splits.indices[split]] == names_of(part)


def test_a_picture_above_the_limit_is_left_out_too(pets, monkeypatch):
    monkeypatch.setenv("DLW_MAX_PIXELS", str(32 * 17 - 1))  # cat/4.png is 32 pixels wide

    assert load_image_folder(path=str(pets), on_bad="skip").skipped == {"train": 1}


def test_an_unknown_answer_to_bad_pictures_is_refused(pets):
    assert data.faults("image_folder", {"path": str(pets), "on_bad": "skp"}) == {
        "on_bad": "unknown value 'skp'; did you mean 'skip'?"
    }


@pytest.mark.parametrize("name", ["image_folder", "image_csv", "pizza_steak_sushi"])
def test_bad_pictures_are_an_error_unless_said_otherwise(name):
    assert data.settings(name)["on_bad"] == "error"


def test_links_that_lead_round_in_circles_are_followed_once(pets):
    for name in "abc":
        (pets / "train" / "cat" / name).symlink_to(pets / "train")

    assert len(ImageFolderCustom(pets / "train").paths) == 5 + 4 + 4


def test_photos_that_are_not_there_are_refused_offline_with_where_to_put_them(in_tmp):
    with pytest.raises(MissingDataError, match=r"put https://.*/pizza_steak_sushi\.zip into 'photos' yourself"):
        data.load("pizza_steak_sushi", data_dir="photos", offline=True)


def test_a_refused_fetch_leaves_nothing_behind(in_tmp):
    with pytest.raises(MissingDataError):
        data.load("pizza_steak_sushi", data_dir="photos", offline=True)

    assert list(Path().iterdir()) == []


def test_a_link_that_leads_back_is_followed_once(tmp_path, paint):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(3):
            paint(tmp_path / name / f"{index}.png")
        for link in ("back", "again"):
            (tmp_path / name / link).symlink_to(tmp_path / name)

    assert len(ImageFolderCustom(tmp_path)) == 6


def test_pictures_of_a_folder_are_cut_for_validation(pets):
    from dlworkflow.data.splits import with_validation

    cut = with_validation(load_image_folder(path=str(pets), image_size=8), 0.4, random_state=1)

    assert (len(cut.train), len(cut.val), len(cut.test)) == (5, 4, 4)
    assert not set(cut.train.paths) & set(cut.val.paths)
    cut.val.remember()
    assert [int(cut.val[index][1]) for index in range(4)] == [int(path.parent.name == "dog") for path in cut.val.paths]
