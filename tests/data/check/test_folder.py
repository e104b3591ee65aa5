import json
import os
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from dlworkflow.data.check import facts
from dlworkflow.data.check.folder import IMBALANCE_RATIO, check_folder
from dlworkflow.data.check.report import FAULTS, REMARKS, MinMedianMax
from dlworkflow.data.images.cache import cache_folder, rechecked, write_remembered
from dlworkflow.errors import ConfigError, DataError, MissingDataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder that only this test writes to."""
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dlworkflow-cache"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that are opened, as they are."""
    names = []

    def opened(path, **options):
        names.append(path.name)
        return real(path, **options)

    real = facts.opened
    monkeypatch.setattr(facts, "opened", opened)
    return names


@pytest.fixture
def flat(tmp_path, paint):
    """Two cats and two dogs in class folders alone."""
    for number in range(4):
        paint(tmp_path / "flat" / ("cat" if number < 2 else "dog") / f"{number}.png", number)
    return tmp_path / "flat"


@pytest.fixture
def listed(pets):
    """A CSV file that lists three of the pets by split."""
    rows = ["train/cat/0.png,cat,train", "train/dog/0.png,dog,train", "test/dog/1.png,dog,test"]
    (pets / "list.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    return pets / "list.csv"


def found(path, kind, **options):
    """The (text, paths) of one kind of finding."""
    return [(f.text, f.paths) for f in check_folder(path, **options).findings if f.kind == kind]


def places(path, kind, **options):
    return [paths for _, paths in found(path, kind, **options)]


def add(listed, row):
    listed.write_text(listed.read_text() + f"{row}\n")


# What there is


def test_a_sound_folder_has_no_findings(pets):
    assert check_folder(pets).findings == ()


def test_a_sound_folder_of_classes_alone_has_no_findings(flat):
    assert check_folder(flat).findings == ()


def test_a_sound_list_has_no_faults(listed):
    assert check_folder(listed).faults == ()


def test_pictures_are_counted_by_split_and_class(pets):
    assert check_folder(pets).counts == {"train": {"cat": 5, "dog": 4}, "test": {"cat": 2, "dog": 2}}


def test_pictures_of_classes_alone_are_counted_as_one_split(flat):
    assert check_folder(flat).counts == {"all": {"cat": 2, "dog": 2}}


def test_pictures_of_a_list_are_counted_by_its_columns(listed):
    assert check_folder(listed).counts == {"train": {"cat": 1, "dog": 1}, "test": {"dog": 1}}


def test_a_list_without_splits_is_one_split(listed):
    listed.write_text("path,label\ntrain/cat/0.png,cat\ntrain/cat/1.png,cat\ntrain/dog/0.png,dog\ntest/dog/0.png,dog\n")

    assert check_folder(listed).counts == {"all": {"cat": 2, "dog": 2}}


@pytest.mark.parametrize(("kind", "layout"), [("pets", "splits"), ("flat", "classes"), ("listed", "csv")])
def test_the_layout_is_told(kind, layout, request):
    assert check_folder(request.getfixturevalue(kind)).layout == layout


def test_sizes_are_the_smallest_the_middle_and_the_largest(pets):
    report = check_folder(pets)

    assert (report.width, report.height) == (MinMedianMax(20, 23, 32), MinMedianMax(17, 17, 17))


def test_sizes_are_those_of_the_upright_picture(flat):
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in flat.rglob("*.png"):
        Image.effect_noise((8, 4), int(path.stem) + 1).save(path, exif=exif)

    assert check_folder(flat).width == MinMedianMax(4, 4, 4)


def test_modes_and_formats_are_counted(flat, paint):
    paint(flat / "cat" / "grey.bmp", 9, mode="L")

    report = check_folder(flat)
    assert (report.modes, report.formats) == ({"RGB": 4, "L": 1}, {"PNG": 4, "BMP": 1})


def test_the_photos_are_clean(photos):
    report = check_folder(photos)

    assert report.findings == ()
    assert report.counts["train"] == {"pizza": 78, "steak": 75, "sushi": 72}
    assert report.counts["test"] == {"pizza": 25, "steak": 19, "sushi": 31}
    assert (report.modes, report.formats) == ({"RGB": 300}, {"JPEG": 300})
    assert (report.width, report.height) == (MinMedianMax(289, 512, 512), MinMedianMax(262, 512, 512))


def test_a_report_is_json(pets):
    report = check_folder(pets)

    assert json.loads(json.dumps(report.to_data()))["counts"] == report.counts


def test_json_says_whether_there_is_a_fault(pets):
    before = check_folder(pets).to_data()["ok"]
    (pets / "train" / "cat" / "0.png").write_bytes(b"")

    assert (before, check_folder(pets).to_data()["ok"]) == (True, False)


def test_every_kind_is_a_fault_or_a_remark_and_not_both():
    assert not FAULTS.keys() & REMARKS.keys()


# Faults


def test_a_picture_cut_short_is_a_fault_with_the_reason(pets):
    whole = (pets / "train" / "cat" / "0.png").read_bytes()
    (pets / "train" / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])

    [(text, paths)] = found(pets, "unreadable")
    assert paths == ("train/cat/0.png",)
    assert text.startswith("cannot be decoded (")


def test_a_picture_that_only_begins_well_is_decoded_to_its_end(pets, paint):
    whole = paint(pets / "train" / "cat" / "0.jpg", size=(64, 64)).read_bytes()
    (pets / "train" / "cat" / "0.jpg").write_bytes(whole[:-200])

    [(text, paths)] = found(pets, "unreadable")
    assert paths == ("train/cat/0.jpg",)
    assert "truncated" in text


def test_a_text_named_as_a_picture_is_a_fault(pets):
    (pets / "test" / "dog" / "0.png").write_text("no image")

    assert found(pets, "unreadable") == [("is no image in a format that is known here", ("test/dog/0.png",))]


def test_a_file_of_zero_bytes_is_a_fault_of_its_own(pets):
    (pets / "train" / "cat" / "0.png").write_bytes(b"")

    report = check_folder(pets)
    assert [(f.kind, f.paths) for f in report.faults] == [("zero_bytes", ("train/cat/0.png",))]


def test_an_empty_class_is_a_fault(pets):
    (pets / "train" / "eel").mkdir()

    assert found(pets, "empty_class") == [("class 'eel' of split 'train' has no images", ("train/eel",))]


def test_a_class_of_hidden_files_alone_is_empty(pets, paint):
    paint(pets / "test" / "eel" / ".0.png")

    assert places(pets, "empty_class") == [("test/eel",)]


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_class_that_training_lacks_is_a_fault(split, pets, paint):
    paint(pets / split / "eel" / "0.png", 99)

    assert [text for text, _ in found(pets, "extra_class")] == [f"class 'eel' is in split '{split}', not in 'train'"]


def test_a_class_in_other_letters_is_another_class(pets):
    (pets / "test" / "cat").rename(pets / "test" / "Cat")

    assert [text for text, _ in found(pets, "extra_class")] == ["class 'Cat' is in split 'test', not in 'train'"]


def test_a_label_that_training_lacks_is_a_fault(listed):
    add(listed, "test/cat/0.png,eel,test")

    assert [text for text, _ in found(listed, "extra_class")] == ["class 'eel' is in split 'test', not in 'train'"]


def test_the_same_picture_in_two_splits_is_leakage(pets):
    shutil.copy(pets / "train" / "cat" / "0.png", pets / "test" / "cat" / "again.png")

    assert found(pets, "leakage") == [("in train and test", ("train/cat/0.png", "test/cat/again.png"))]


def test_leakage_is_found_by_pixels_whatever_the_format(pets):
    with Image.open(pets / "train" / "cat" / "0.png") as picture:
        picture.save(pets / "test" / "cat" / "again.bmp")

    assert places(pets, "leakage") == [("train/cat/0.png", "test/cat/again.bmp")]


def test_leakage_under_another_class_is_told_so(pets):
    shutil.copy(pets / "train" / "cat" / "0.png", pets / "test" / "dog" / "again.png")

    assert [text for text, _ in found(pets, "leakage")] == ["in train and test, under different classes: 'cat', 'dog'"]


def test_the_same_row_in_two_splits_is_leakage(listed):
    add(listed, "train/cat/0.png,cat,test")

    assert places(listed, "leakage") == [("train/cat/0.png", "train/cat/0.png")]


def test_pictures_of_equal_bytes_but_other_shapes_are_not_the_same(pets):
    Image.new("RGB", (4, 2)).save(pets / "train" / "cat" / "wide.png")
    Image.new("RGB", (2, 4)).save(pets / "test" / "cat" / "high.png")

    assert places(pets, "leakage") == []


def test_a_picture_above_the_limit_is_a_fault_with_its_size(flat):
    texts = [text for text, _ in found(flat, "too_many_pixels", max_pixels=62)]

    assert texts == ["has 63 pixels, above the limit of 62; set DLW_MAX_PIXELS=63 if you trust it"] * 4


def test_a_listed_file_that_is_not_there_is_a_fault(listed):
    add(listed, "train/cat/none.png,cat,train")

    assert places(listed, "missing") == [("train/cat/none.png",)]


def test_a_link_to_nowhere_is_a_fault(pets):
    (pets / "train" / "cat" / "link.png").symlink_to(pets / "nowhere.png")

    assert places(pets, "missing") == [("train/cat/link.png",)]


def test_a_pipe_is_a_fault_and_not_waited_for(pets):
    os.mkfifo(pets / "train" / "cat" / "pipe.png")

    assert len(check_folder(pets).faults) == 1


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        ("train", "has 'test' but no folder 'train'"),
        ("test", "has a folder 'train' but no 'test'; add one, or give the class folders alone"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_a_fault(lost, text, pets):
    shutil.rmtree(pets / lost)

    assert [said for said, _ in found(pets, "layout")] == [text]


def test_a_list_that_cannot_be_trained_on_is_a_fault(listed):
    listed.write_text(listed.read_text().replace(",test", ",train"))

    assert [text for text, _ in found(listed, "layout")] == ["column 'split' names no row 'test'"]


def test_a_file_with_two_labels_is_a_fault(listed):
    add(listed, "train/cat/0.png,dog,train")

    [text] = [text for text, _ in found(listed, "layout")]
    assert text.endswith("cat/0.png' has two labels, 'cat' and 'dog'; an image has one")


def test_one_class_is_a_fault(flat):
    shutil.rmtree(flat / "dog")

    assert len(found(flat, "layout")) == 1


def test_a_class_of_one_picture_that_must_be_split_is_a_fault(flat):
    (flat / "dog" / "3.png").unlink()

    assert [text for text, _ in found(flat, "layout")] == [
        "class 'dog' has 1 image; two are needed to split it into training and test"
    ]


# Remarks


def test_duplicates_within_a_split_are_a_remark(pets):
    shutil.copy(pets / "train" / "cat" / "0.png", pets / "train" / "cat" / "again.png")

    report = check_folder(pets)
    assert [(f.kind, f.paths) for f in report.remarks] == [("duplicate", ("train/cat/0.png", "train/cat/again.png"))]
    assert report.faults == ()


def test_duplicates_that_are_still_to_be_split_are_told_so(flat):
    shutil.copy(flat / "cat" / "0.png", flat / "cat" / "again.png")

    assert [text for text, _ in found(flat, "duplicate")] == ["a split by chance may put them on both sides"]


def test_a_name_that_says_another_format_is_a_remark(pets):
    (pets / "train" / "cat" / "0.png").rename(pets / "train" / "cat" / "0.JPG")

    assert found(pets, "wrong_extension") == [("is PNG, the name says JPEG", ("train/cat/0.JPG",))]


@pytest.mark.parametrize(("cats", "remarks"), [(int(2 * IMBALANCE_RATIO), 0), (int(2 * IMBALANCE_RATIO) + 1, 1)])
def test_imbalance_is_remarked_on_above_its_ratio(cats, remarks, flat, paint):
    for number in range(2, cats):
        paint(flat / "cat" / f"more{number}.png", 10 + number)

    assert len(found(flat, "imbalance")) == remarks


def test_imbalance_names_classes_counts_and_ratio(pets, paint):
    for number in range(4, 20):
        paint(pets / "train" / "dog" / f"{number}.png", 100 + number)

    [(text, _)] = found(pets, "imbalance")
    assert text.startswith("split 'train': 'dog' has 20 images, 'cat' 5: 4.0 times as many")


def test_the_ratio_of_largest_to_smallest_is_told_by_split(pets):
    assert check_folder(pets).ratios == {"train": 5 / 4, "test": 1.0}


def test_a_class_that_only_training_has_is_a_remark(pets):
    shutil.rmtree(pets / "test" / "dog")

    assert [text for text, _ in found(pets, "absent_class")] == ["class 'dog' is in split 'train', not in 'test'"]


def test_classes_that_differ_in_case_alone_are_a_remark(flat, paint):
    for number in range(2):
        paint(flat / "CAT" / f"{number}.png", 90 + number)

    assert [text for text, _ in found(flat, "alike_names")] == [
        "classes differ in upper and lower case alone: 'CAT', 'cat'"
    ]


def test_hidden_files_and_folders_are_a_remark_wherever_they_are(pets, paint):
    for place in (".git", "train/.cache", "train/cat/.ipynb_checkpoints"):
        (pets / place).mkdir()
    paint(pets / "train" / "cat" / "._0.png")

    assert sorted(places(pets, "hidden")) == sorted(
        [(".git",), ("train/.cache",), ("train/cat/.ipynb_checkpoints",), ("train/cat/._0.png",)]
    )


def test_an_empty_folder_below_a_class_is_a_remark(pets):
    (pets / "train" / "cat" / "more").mkdir()

    assert places(pets, "empty_folder") == [("train/cat/more",)]


def test_a_file_that_is_no_picture_is_a_remark(pets):
    (pets / "train" / "cat" / "notes.txt").write_text("x")

    assert places(pets, "not_a_picture") == [("train/cat/notes.txt",)]


def test_pictures_and_folders_of_no_class_are_a_remark(pets, paint):
    paint(pets / "train" / "stray.png", 77)
    (pets / "tset").mkdir()

    assert sorted(places(pets, "unused")) == [("train/stray.png",), ("tset",)]


def test_a_readme_beside_the_classes_is_nothing_to_speak_of(pets):
    (pets / "README.md").write_text("mine")

    assert check_folder(pets).findings == ()


@pytest.fixture
def scenes(tmp_path):
    """Two cats and two dogs to train on, one of each to test on: pictures with something to be seen in them."""
    for seed, place in enumerate(
        ["train/cat/0", "train/cat/1", "train/dog/0", "train/dog/1", "test/cat/0", "test/dog/0"]
    ):
        path = tmp_path / "scenes" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(seed).save(path)
    return tmp_path / "scenes"


def scene(seed, size=(96, 80)):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def test_pictures_that_do_not_look_alike_are_nothing_to_speak_of(scenes):
    assert check_folder(scenes).findings == ()


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("again.jpg", (96, 80), {"quality": 50}),
        ("again.png", (48, 40), {}),
        ("again.webp", (200, 160), {"quality": 70}),
    ],
    ids=["another format", "smaller", "larger"],
)
def test_a_copy_of_another_size_or_format_is_a_remark(name, size, options, scenes):
    scene(0).resize(size).save(scenes / "train" / "cat" / name, **options)

    report = check_folder(scenes)
    assert [(f.kind, f.text, f.paths) for f in report.remarks] == [
        ("alike", "in train", ("train/cat/0.png", f"train/cat/{name}"))
    ]
    assert report.faults == ()


def test_a_copy_that_looks_the_same_in_another_split_is_a_remark_of_its_own(scenes):
    scene(0).save(scenes / "test" / "dog" / "again.jpg")

    report = check_folder(scenes)
    assert [(f.kind, f.text, f.paths) for f in report.findings] == [
        (
            "alike_in_splits",
            "in train and test, under different classes: 'cat', 'dog'",
            ("train/cat/0.png", "test/dog/again.jpg"),
        )
    ]


def test_the_same_pixels_are_no_remark_of_looking_the_same(scenes):
    shutil.copy(scenes / "train" / "cat" / "0.png", scenes / "test" / "cat" / "again.png")

    assert [finding.kind for finding in check_folder(scenes).findings] == ["leakage"]


def test_remembered_pictures_are_found_to_look_the_same(scenes, decoded):
    scene(0).save(scenes / "test" / "dog" / "again.jpg")
    check_folder(scenes)
    decoded.clear()

    assert (places(scenes, "alike_in_splits"), decoded) == ([("train/cat/0.png", "test/dog/again.jpg")], [])


def body(file):
    """What a file of the cache holds below the digest of it."""
    return file.read_text().partition("\n")[2]


def test_a_memory_of_before_there_were_looks_is_read_again(pets, cache):
    check_folder(pets)
    [file] = (cache / "checks").iterdir()
    write_remembered(file, re.sub('"format":[0-9]+', '"format":1', body(file), count=1))

    assert check_folder(pets).n_read == 13


# Names


@pytest.mark.parametrize(
    "name", ["a b.png", "日本 é.png", "line\nbreak.png", "\x1b[2Jred.png", "\udcff.png", "=1+1.png"]
)
def test_any_name_is_checked_and_found(name, pets):
    (pets / "train" / "cat" / name).write_text("no image")

    assert places(pets, "unreadable") == [(f"train/cat/{name}",)]


def test_any_name_is_remembered(pets, decoded):
    for name in ["a b", "日本 é", "line\nbreak", "\x1b[2Jred", "\udcff"]:
        shutil.copytree(pets / "train" / "cat", pets / "train" / name)
    check_folder(pets)
    decoded.clear()
    check_folder(pets)

    assert decoded == []


# What is refused


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"^no such folder or file: '.*none'$"):
        check_folder(tmp_path / "none")


def test_a_file_that_is_no_list_is_refused(pets):
    with pytest.raises(DataError, match=r"0\.png' is a file; give a folder of images or a CSV of path,label"):
        check_folder(pets / "train" / "cat" / "0.png")


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "none").mkdir()

    with pytest.raises(MissingDataError, match=r"no class folders in '.*none'; images are expected in <class>/"):
        check_folder(tmp_path / "none")


def test_a_limit_that_is_no_number_is_refused(pets, monkeypatch):
    monkeypatch.setenv("DLW_MAX_PIXELS", "many")

    with pytest.raises(ConfigError, match="DLW_MAX_PIXELS"):
        check_folder(pets)


# What is remembered


def test_a_second_check_reads_nothing(pets, decoded):
    check_folder(pets)
    decoded.clear()
    report = check_folder(pets)

    assert (decoded, report.n_read, report.n_files) == ([], 0, 13)


@pytest.mark.parametrize("kind", ["pets", "flat", "listed"])
def test_a_second_check_finds_the_same(kind, request):
    path = request.getfixturevalue(kind)
    folder = path.parent if path.is_file() else path
    next(folder.rglob("0.png")).write_text("no image")

    assert check_folder(path).findings == check_folder(path).findings != ()


def test_broken_files_are_remembered_too(pets, decoded):
    (pets / "train" / "cat" / "0.png").write_text("no image")
    check_folder(pets)
    decoded.clear()
    check_folder(pets)

    assert decoded == []


def test_a_changed_file_is_read_again(pets, decoded, paint):
    check_folder(pets)
    decoded.clear()
    paint(pets / "train" / "cat" / "3.png", 50)
    check_folder(pets)

    assert decoded == ["3.png"]


def test_a_file_of_the_same_size_with_another_time_is_read_again(pets, decoded):
    check_folder(pets)
    decoded.clear()
    os.utime(pets / "train" / "cat" / "3.png", ns=(0, 0))
    check_folder(pets)

    assert decoded == ["3.png"]


def test_a_new_file_alone_is_read(pets, decoded, paint):
    check_folder(pets)
    decoded.clear()
    paint(pets / "train" / "cat" / "new.png", 51)
    check_folder(pets)

    assert decoded == ["new.png"]


def test_a_folder_is_remembered_whichever_way_one_comes_there(pets, decoded, monkeypatch):
    check_folder(pets)
    decoded.clear()
    monkeypatch.chdir(pets)
    check_folder(".")

    assert decoded == []


def test_a_lower_limit_is_minded_without_reading(flat, decoded):
    check_folder(flat)
    decoded.clear()

    assert len(found(flat, "too_many_pixels", max_pixels=62)) == 4
    assert decoded == []


def test_a_higher_limit_has_what_was_refused_read(flat):
    check_folder(flat, max_pixels=62)

    assert check_folder(flat).findings == ()


def test_what_the_system_refused_is_not_remembered(flat, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        assert len(found(flat, "unreadable")) == 4
    assert check_folder(flat).findings == ()


def test_training_reads_nothing_twice_that_a_check_has_read(pets, decoded):
    from dlworkflow.data.datasets.image_folder import load_image_folder

    check_folder(pets)
    decoded.clear()
    load_image_folder(path=str(pets), on_bad="skip")

    assert decoded == []


def test_memory_can_be_left_out(pets, cache):
    check_folder(pets, use_memory=False)

    assert not cache.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"files": {}}', "[" * 100_000, '{"format":1,"pillow":"","files":{"a":1}}']
)
def test_a_damaged_memory_is_as_good_as_none(text, pets, cache):
    check_folder(pets)
    [file] = (cache / "checks").iterdir()
    file.write_text(text)

    assert check_folder(pets).n_read == 13


@pytest.mark.parametrize("row", ["null", "[]", '["now", 1]', "[1,2,3,4,5,6,7,8,9]", '{"digest": "x"}'])
def test_a_damaged_line_of_the_memory_is_left_out(row, pets, cache):
    check_folder(pets)
    [file] = (cache / "checks").iterdir()
    memory = json.loads(body(file))
    memory["files"]["train/cat/0.png"] = json.loads(row)
    write_remembered(file, json.dumps(memory))

    assert check_folder(pets).n_read == 1


def test_a_memory_with_one_flipped_bit_is_as_good_as_none(pets, cache):
    check_folder(pets)
    [file] = (cache / "checks").iterdir()
    content = bytearray(file.read_bytes())
    content[content.index(b'"0.png"'.strip(b'"')) - 40] ^= 1
    file.write_bytes(content)

    assert check_folder(pets).n_read == 13


def test_a_file_changed_with_its_size_and_time_kept_is_read_again(pets, decoded):
    check_folder(pets)
    decoded.clear()
    file = pets / "train" / "cat" / "3.png"
    kept, content = file.stat(), bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    check_folder(pets)

    assert decoded == ["3.png"]


def test_what_is_rechecked_is_read_whatever_is_remembered_and_remembered_anew(pets):
    check_folder(pets)
    with rechecked():
        assert check_folder(pets).n_read == 13
    assert check_folder(pets).n_read == 0


def test_dlw_cache_0_remembers_no_facts(pets, cache, monkeypatch):
    monkeypatch.setenv("DLW_CACHE", "0")

    assert [check_folder(pets).n_read for _ in range(2)] == [13, 13]
    assert not cache.exists()


def test_another_pillow_reads_everything_again(pets, monkeypatch):
    check_folder(pets)
    monkeypatch.setattr(facts, "pillow", "0.0")

    assert check_folder(pets).n_read == 13


def test_the_memory_is_one_file_of_json_and_nothing_else_is_left(pets, cache):
    for _ in range(2):
        check_folder(pets)

    [file] = [path for path in cache.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
    assert len(json.loads(body(file))["files"]) == 13


def test_a_place_that_cannot_be_written_is_done_without(pets, cache):
    cache.parent.write_text("a file where the folder should be")

    assert [check_folder(pets).n_read for _ in range(2)] == [13, 13]


def test_a_full_disk_leaves_no_torn_memory(pets, cache, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    check_folder(pets)

    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_nothing_is_remembered_inside_the_folder_that_is_checked(pets, monkeypatch, state_of):
    before = state_of(pets)
    monkeypatch.setenv("DLW_CACHE_DIR", str(pets / "train" / "cat"))
    check_folder(pets)

    assert state_of(pets) == before


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"DLW_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/dlworkflow-cache"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/dlworkflow"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/dlworkflow"),
        ({"HOME": "/c"}, "/c/.cache/dlworkflow"),
    ],
)
def test_the_cache_folder_is_found_in_this_order(given, place, monkeypatch):
    for name in ("DLW_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert str(cache_folder()) == place


def test_what_was_read_before_an_interruption_is_remembered(pets):
    def interrupt(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_folder(pets, on_progress=interrupt)

    assert check_folder(pets).n_read == 13 - 6


# Progress, time, and the user's files


def test_progress_is_told_up_to_the_last_file(pets):
    told = []
    check_folder(pets, on_progress=lambda done, total: told.append((done, total)))

    assert told == [(done, 13) for done in range(14)]


def test_checking_changes_nothing_in_the_folder(pets, state_of):
    (pets / "train" / "cat" / "0.png").write_bytes(b"")
    before = state_of(pets)
    check_folder(pets)

    assert state_of(pets) == before


def test_a_thousand_files_are_checked_in_reasonable_time(tmp_path):
    for number in range(1000):
        folder = tmp_path / "many" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(folder / f"{number}.png")
    started = time.monotonic()
    report = check_folder(tmp_path / "many")

    assert report.findings == ()
    assert time.monotonic() - started < 10
