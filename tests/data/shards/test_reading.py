import io
import os
import pickle
import shutil
import tarfile
from collections import Counter
from importlib.util import find_spec

import pytest
import torch

from dlworkflow.data import load
from dlworkflow.data.datasets.image_csv import load_image_csv
from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.shards import census, samples, streams
from dlworkflow.data.shards.checking import check_shards
from dlworkflow.data.shards.loading import load_labelled_shards, load_shards
from dlworkflow.data.shards.streams import sizes, spread
from dlworkflow.data.splits import class_counts, with_validation
from dlworkflow.errors import ConfigError, DataError

if find_spec("webdataset") is None:
    pytest.skip("webdataset is not installed", allow_module_level=True)


@pytest.fixture
def picture(tmp_path, paint):
    """The bytes of a small picture, another for another seed."""
    return lambda seed=0: paint(tmp_path / "picture.png", seed).read_bytes()


@pytest.fixture
def foreign(write_tar, picture):
    """Three shards without an index, of two samples of label 0, 1 and 2 each."""
    for number in range(3):
        names = [f"{number}{letter}" for letter in "abcdef"]
        members = {}
        for place, name in enumerate(names):
            members |= {f"{name}.png": picture(10 * number + place), f"{name}.cls": b"%d" % (place % 3)}
        path = write_tar(f"{number}.tar", members)
    return path.parent


def gone_through(dataset, batch_size=4, **options):
    """Return the batches of one pass."""
    return list(make_loader(dataset, batch_size, **options))


def keys(batches):
    """Return how often each sample, known by its pixels, is in some batches."""
    return Counter((int(label), picture.numpy().tobytes()) for X, y in batches for picture, label in zip(X, y))  # noqa: B905


def test_shards_hold_the_samples_of_the_folder(pets, pet_shards):
    folder, shards = load_image_folder(path=str(pets)), load_shards(path=str(pet_shards))

    for split, part in folder.parts().items():
        assert keys(gone_through(shards.part(split), shuffle=True)) == keys(gone_through(part))
    assert (shards.classes, shards.in_shape, len(shards.train)) == (folder.classes, folder.in_shape, 9)


def test_batches_of_shards_in_order_are_those_of_a_list_in_that_order(pets, pet_shards, tmp_path):
    originals = {path.read_bytes(): path for path in pets.rglob("*.png")}
    rows = []
    for split in ("train", "test"):
        for shard in sorted(pet_shards.glob(f"{split}-*.tar")):
            with tarfile.open(shard) as tar:
                for member in (member for member in tar if member.name.endswith(".png")):
                    path = originals[tar.extractfile(member).read()]
                    rows.append(f"{path},{path.parent.name},{split}")
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    listed, shards = load_image_csv(path=str(tmp_path / "list.csv")), load_shards(path=str(pet_shards))

    for split in ("train", "test"):
        batches = list(zip(gone_through(shards.part(split)), gone_through(listed.part(split)), strict=True))
        assert batches
        for mine, other in batches:
            assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


def test_a_shuffled_pass_draws_from_the_generator_what_a_data_loader_draws(pets, pet_shards):
    folder, shards = load_image_folder(path=str(pets)), load_shards(path=str(pet_shards))
    states = []
    for part in (folder.train, shards.train):
        for workers in (0, 1):
            torch.manual_seed(7)
            gone_through(part, shuffle=True, num_workers=workers)
            states.append(torch.get_rng_state())

    assert all(torch.equal(states[0], state) for state in states)


def test_the_order_is_another_in_each_epoch_and_the_same_again_from_the_same_generator(pet_shards):
    train = load_shards(path=str(pet_shards)).train

    def two_epochs():
        generator = torch.Generator().manual_seed(1)
        return [torch.cat([X for X, _ in gone_through(train, shuffle=True, generator=generator)]) for _ in range(2)]

    (first, second), again = two_epochs(), two_epochs()
    assert not torch.equal(first, second)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])


@pytest.mark.parametrize(("readers", "workers"), [(1, 0), (2, 0), (3, 0), (5, 0), (1, 2), (2, 2)])
def test_every_sample_counts_once_over_all_processes_and_workers(readers, workers, pet_shards, pets):
    train = load_shards(path=str(pet_shards)).train
    loaders = [
        make_loader(train.shared(reader, readers, lambda: None), 4, shuffle=True, num_workers=workers)
        for reader in range(readers)
    ]

    passes = [list(loader) for loader in loaders]

    assert [len(batches) for batches in passes] == [len(loader) for loader in loaders] == [3] * readers
    assert [sum(len(y) for _, y in step) for step in zip(*passes, strict=True)] == [4, 4, 1]
    whole = keys(gone_through(load_image_folder(path=str(pets)).train))
    assert sum((keys(batches) for batches in passes), Counter()) == whole


@pytest.mark.parametrize("totals", [[9], [3, 3, 3], [10, 1, 0], [7, 5], [1, 1, 1, 97]])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_batches_are_full_but_for_the_last_and_take_all_that_a_reader_has(totals, batch_size):
    shares = list(sizes(totals, batch_size))

    assert [sum(column) for column in zip(*shares, strict=True)] == totals
    assert all(sum(share) == batch_size for share in shares[:-1])
    assert min(min(share) for share in shares) >= 0


def test_shards_are_dealt_out_so_that_readers_have_about_as_many_samples(pet_shards):
    parts = spread(load_shards(path=str(pet_shards)).train.shards, 2)

    assert sorted(sum(shard.samples for shard in part) for part in parts) == [4, 5]


@pytest.mark.parametrize("buffer", [1, 3, 100])
def test_no_more_than_the_buffer_and_a_batch_are_held(buffer, pet_shards, monkeypatch):
    read = []
    plain = streams.read_samples
    monkeypatch.setattr(streams, "read_samples", lambda path: (read.append(sample) or sample for sample in plain(path)))
    batches = iter(make_loader(load_shards(path=str(pet_shards), shuffle_buffer=buffer).train, 2, shuffle=True))

    next(batches)

    assert len(read) <= min(9, buffer + 2)
    assert sum(len(y) for _, y in batches) == 7


def test_a_pattern_takes_its_shards_for_training_and_the_test_split_of_the_index(pet_shards):
    splits = load_shards(path=str(pet_shards / "train-{00..01}.tar"))

    assert [shard.path.name for shard in splits.train.shards] == ["train-00.tar", "train-01.tar"]
    assert len(splits.test) == 4
    assert splits.notes == ("2 of the 4 training shards are used",)


def test_counts_and_fingerprints_are_known_without_reading_a_shard(pet_shards, monkeypatch):
    monkeypatch.setattr(streams, "read_samples", None)
    splits = load_shards(path=str(pet_shards))

    assert class_counts(splits) == {"train": [5, 4], "test": [2, 2]}
    assert splits.fingerprints()["train"] != splits.fingerprints()["test"]


def test_one_sample_can_be_looked_at(pets, pet_shards):
    test = load_shards(path=str(pet_shards)).test
    X = torch.cat([X for X, _ in gone_through(test)])

    assert all(torch.equal(test[index][0], X[index]) for index in range(4))
    with pytest.raises(IndexError, match="sample 4 of 4"):
        test[4]


def test_augmentation_is_that_of_the_folder(pets, pet_shards):
    train = load_shards(path=str(pet_shards), transform="flip").train
    torch.manual_seed(3)
    first = gone_through(train)
    torch.manual_seed(3)

    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, gone_through(train), strict=True))
    assert not torch.equal(first[0][0], gone_through(train.without_augmentation())[0][0])


def test_validation_gets_whole_shards_that_training_then_lacks(pet_shards):
    splits = with_validation(load_shards(path=str(pet_shards)), 0.3, random_state=42)

    kept, chosen = ({shard.path.name for shard in part.shards} for part in (splits.train, splits.val))
    assert kept | chosen == {f"train-0{number}.tar" for number in range(4)}
    assert not kept & chosen
    assert len(splits.train) + len(splits.val) == 9
    assert splits.notes[-1].startswith("validation has 1 of 4 training shards, ")


def test_one_shard_cannot_be_cut(pet_shards):
    splits = load_shards(path=str(pet_shards / "train-00.tar"))

    with pytest.raises(DataError, match=r"data\.val_fraction: shards are cut whole, and '.*train-00\.tar' is the only"):
        with_validation(splits, 0.5, random_state=42)


def test_shards_without_an_index_are_counted_once_and_cut_by_whole_shards(foreign, monkeypatch):
    splits = load_shards(path=str(foreign))

    assert [len(part) for part in (splits.train, splits.test)] == [12, 6]
    assert splits.classes == ("0", "1", "2")
    monkeypatch.setattr(census, "read_samples", None)
    assert load_shards(path=str(foreign / "{0..2}.tar")).fingerprints() == splits.fingerprints()


def test_shards_that_have_changed_are_counted_again(foreign, write_tar, picture):
    load_shards(path=str(foreign))
    members = {
        f"{n}{end}": picture() if end == ".png" else b"%d" % (n % 3) for n in range(9) for end in (".png", ".cls")
    }

    write_tar("2.tar", members)

    assert sum(len(part) for part in load_shards(path=str(foreign)).parts().values()) == 21


@pytest.mark.parametrize("given", ["setting", "file"])
def test_labels_get_their_names_from_a_setting_or_a_file_beside_them(given, foreign):
    names = ["ant", "bee", "cat"]
    if given == "file":
        (foreign / "classes.txt").write_text("\n".join(names) + "\n")

    assert load_shards(path=str(foreign), classes=names if given == "setting" else None).classes == tuple(names)


def test_names_that_begin_with_train_and_test_make_the_splits_of_a_folder_without_an_index(pet_shards):
    (pet_shards / "shards.json").unlink()

    splits = load_shards(path=str(pet_shards))

    assert [len(part) for part in (splits.train, splits.test)] == [9, 4]


def test_a_shard_that_the_index_of_its_folder_does_not_name_is_not_passed_over(pet_shards):
    shutil.copy(pet_shards / "test-00.tar", pet_shards / "more.tar")

    with pytest.raises(DataError, match=r"holds shards that its index does not name \('more\.tar'\); give a pattern"):
        load_shards(path=str(pet_shards))


def test_a_label_without_a_name_is_an_error_that_names_the_shard(foreign):
    with pytest.raises(DataError, match=r"'.*0\.tar' has label 2, but there are 2 classes, from 0 on: 'ant', 'bee'"):
        load_shards(path=str(foreign), classes=["ant", "bee"])


def test_test_shards_can_be_named(foreign):
    splits = load_shards(path=str(foreign / "{0..1}.tar"), test=str(foreign / "2.tar"))

    assert [shard.path.name for shard in splits.test.shards] == ["2.tar"]
    with pytest.raises(DataError, match=r"data\.test: '.*1\.tar' is a training shard too"):
        load_shards(path=str(foreign / "{0..1}.tar"), test=str(foreign / "1.tar"))


def test_files_beside_image_and_label_are_not_read_into_anything(write_tar, picture):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, ("/tmp/dlworkflow-was-here",)

    bomb = pickle.dumps(Bomb())
    members = {f"{n}.{end}": bomb for n in range(2) for end in ("pkl", "pyd", "pth", "json")}
    for n in range(2):
        members |= {f"{n}.png": picture(n), f"{n}.cls": b"%d" % n}
    path = write_tar("a.tar", dict(sorted(members.items())))

    splits = load_shards(path=str(path), test=str(write_tar("b.tar", dict(sorted(members.items())))))

    assert keys(gone_through(splits.train)).total() == 2
    assert not os.path.exists("/tmp/dlworkflow-was-here")  # noqa: PTH110


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"a.png": b"x", "b.cls": b"0"}, r"a\.tar': sample 'a' has no label: no member 'a\.cls' beside 'a\.png'"),
        ({"a.cls": b"0"}, r"a\.tar': sample 'a' has no image; one is needed, such as 'a\.jpg'"),
        ({"a.png": b"x", "a.jpg": b"x", "a.cls": b"0"}, "sample 'a' has several images"),
        ({"a.png": b"x", "a.cls": b"cat"}, r"member 'a\.cls' holds 'cat'; a label is a number from 0 to 99,999"),
        ({"a.png": b"x", "a.cls": b"-1"}, r"member 'a\.cls' holds '-1'"),
        ({"a.png": b"x", "a.cls": b"999999999999"}, r"member 'a\.cls' holds '999999999999'"),
        ({"README": b"x"}, "holds no sample: no members such as"),
    ],
)
def test_what_is_no_sample_is_named_with_its_shard(members, complaint, write_tar):
    with pytest.raises(DataError, match=complaint):
        load_shards(path=str(write_tar("a.tar", members)))


def test_a_member_that_stands_twice_is_named(write_tar, picture):
    path = write_tar("a.tar", {"a.png": picture(), "a.cls": b"0"})
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("a.cls")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"1"))

    with pytest.raises(DataError, match=r"a\.tar': a\.cls: duplicate file name"):
        load_shards(path=str(path))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: data[:1000], "unexpected end of data"),
        (lambda data: data[:3072], "it was cut short"),
        (lambda data: data[:2048] + b"Z" * 512 + data[2560:], "a header within it is broken"),
        (lambda data: b"", "empty file"),
        (lambda data: b"\x1f\x8b" + data, "unpack it first"),
    ],
)
def test_a_damaged_tar_file_is_named(damage, complaint, foreign):
    path = foreign / "1.tar"
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DataError, match=rf"1\.tar' is no whole tar file \(.*{complaint}"):
        load_shards(path=str(foreign))


def test_a_member_that_claims_more_than_it_holds_is_refused(foreign, monkeypatch):
    monkeypatch.setattr(samples, "MOST_BYTES", 100)

    with pytest.raises(DataError, match=r"0\.tar': member '0a\.png' has [\d,]+ bytes by its header, more than"):
        load_shards(path=str(foreign))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_named_with_shard_and_member(workers, write_tar, picture):
    members = {"a.png": picture(), "a.cls": b"0", "b.png": b"no image", "b.cls": b"1"}
    other = write_tar("test.tar", {"a.png": picture(), "a.cls": b"0", "b.png": picture(1), "b.cls": b"1"})
    splits = load_shards(path=str(write_tar("a.tar", members)), test=str(other))

    with pytest.raises(DataError, match=r"a\.tar': member 'b\.png': is no image .*on_bad='skip'") as caught:
        gone_through(splits.train, num_workers=workers)
    assert "Traceback" not in str(caught.value)


def test_pictures_that_cannot_be_read_are_left_out_and_named_where_that_was_asked_for(foreign, write_tar, picture):
    members = {"a.png": b"broken", "a.cls": b"0"}
    for n in range(3):
        members |= {f"b{n}.png": picture(n), f"b{n}.cls": b"%d" % n}
    test = str(write_tar("9-test.tar", members))

    splits = load_shards(path=str(foreign / "{0..1}.tar"), test=test, on_bad="skip")

    assert (len(splits.test), class_counts(splits)["test"], splits.skipped) == (3, [1, 1, 1], {"test": 1})
    assert keys(gone_through(splits.test)).total() == 3
    assert splits.notes[-1].endswith("9-test.tar': member 'a.png': is no image in a format that is known here")
    assert torch.equal(splits.test[0][0], gone_through(splits.test)[0][0][0])


def test_a_picture_above_the_limit_of_pixels_is_refused(pet_shards, monkeypatch):
    splits = load_shards(path=str(pet_shards))
    monkeypatch.setenv("DLW_MAX_PIXELS", "100")

    with pytest.raises(DataError, match="pixels, above the limit of 100"):
        gone_through(splits.train)


def test_a_shard_of_another_size_than_its_index_says_is_named_before_it_is_read(pet_shards):
    os.truncate(pet_shards / "test-01.tar", 1024)

    with pytest.raises(DataError, match=r"test-01\.tar' has 1,024 bytes, its index says [\d,]+: it was cut short"):
        load_shards(path=str(pet_shards))


def test_a_shard_that_holds_other_samples_than_was_counted_is_named(pet_shards):
    index = (pet_shards / "shards.json").read_text()
    more = index.replace(
        '"samples": 2,\n   "samples_a_class": [\n    1,\n    1', '"samples": 3,\n   "samples_a_class": [\n    2,\n    1'
    )
    (pet_shards / "shards.json").write_text(more)
    assert more != index
    splits = load_shards(path=str(pet_shards))

    with pytest.raises(DataError, match="holds 2 samples where 3 were counted: it has changed"):
        gone_through(splits.train), gone_through(splits.test)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"train-00.tar"', '"../train-00.tar"'),
        lambda text: text.replace('"samples": 2', '"samples": -2'),
        lambda text: text.replace('"split": "test"', '"split": "exam"'),
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"dog"', '"cat"'),
        lambda text: text.replace('"dog"', '" "'),
        lambda text: text.replace('"dog"', "1"),
        lambda text: text.replace('"train-01.tar"', '"train-00.tar"'),
    ],
)
def test_a_damaged_index_is_one_sentence(damage, pet_shards):
    index = pet_shards / "shards.json"
    index.write_text(damage(index.read_text()))

    with pytest.raises(DataError, match=r"shards\.json' is (no index of shards|of version 2)"):
        load_shards(path=str(pet_shards))


def test_a_check_names_every_damaged_shard_and_picture(pet_shards):
    index = (pet_shards / "shards.json").read_text()
    (pet_shards / "test-00.tar").unlink()
    with (pet_shards / "train-02.tar").open("r+b") as stream:
        stream.seek(512)
        stream.write(b"no image")

    report = check_shards(str(pet_shards))

    places = sorted((finding.kind, finding.paths[0].partition("/")[0]) for finding in report.faults)
    assert places == [("damaged", "test-00.tar"), ("damaged", "train-02.tar"), ("unreadable", "train-02.tar")]
    assert report.counts["train"] == {"cat": 5, "dog": 4}
    assert (pet_shards / "shards.json").read_text() == index


def test_a_check_of_whole_shards_finds_nothing(pet_shards):
    assert check_shards(str(pet_shards)).findings == ()


def test_a_check_finds_the_same_image_in_several_shards(write_tar, picture):
    for name, members in {
        "train-0.tar": {"a.png": picture(1), "a.cls": b"0", "b.png": picture(2), "b.cls": b"1"},
        "train-1.tar": {"c.png": picture(3), "c.cls": b"0", "d.png": picture(2), "d.cls": b"1"},
        "test-0.tar": {"e.png": picture(1), "e.cls": b"1", "f.png": picture(4), "f.cls": b"0"},
    }.items():
        folder = write_tar(name, members).parent

    report = check_shards(str(folder))

    assert [(found.kind, found.paths) for found in report.findings] == [
        ("leakage", ("train-0.tar/a.png", "test-0.tar/e.png")),
        ("duplicate", ("train-0.tar/b.png", "train-1.tar/d.png")),
    ]
    assert report.faults[0].text == "in train and test, under different classes: '0', '1'"


def test_shards_of_other_classes_than_the_models_are_refused_with_both_lists(pet_shards):
    pipeline = load_shards(path=str(pet_shards)).transform

    with pytest.raises(DataError, match="has classes 'cat', 'dog', the model 'dog', 'eel'"):
        load_labelled_shards(str(pet_shards), ["dog", "eel"], pipeline, 3)


def test_a_model_is_scored_on_the_split_of_a_folder_or_on_all_that_a_pattern_names(pet_shards):
    pipeline = load_shards(path=str(pet_shards)).transform

    of_the_folder, _, _ = load_labelled_shards(str(pet_shards), ["cat", "dog"], pipeline, 3)
    named, _, _ = load_labelled_shards(str(pet_shards / "train-{00..03}.tar"), ["cat", "dog"], pipeline, 3)
    assert (len(of_the_folder), len(named)) == (4, 9)


def test_without_webdataset_one_sentence_says_how_to_install_it(pet_shards, monkeypatch):
    monkeypatch.setattr(samples, "find_spec", lambda name: None)

    with pytest.raises(DataError, match=r"pip install 'dlworkflow\[shards\]'"):
        load("image_shards", path=str(pet_shards))


@pytest.mark.parametrize(
    ("options", "setting"), [({"batch_size": "full"}, "batch_size"), ({"weights": torch.ones(9)}, "sampler")]
)
def test_what_needs_all_samples_at_once_is_refused(options, setting, pet_shards):
    train = load_shards(path=str(pet_shards)).train

    with pytest.raises(ConfigError, match=rf"data\.{setting}: "):
        make_loader(train, **options)
