import errno
import json
import tarfile
from collections import Counter

import pytest

from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.shards import writing
from dlworkflow.data.shards.index import read_index
from dlworkflow.data.shards.writing import write_shards
from dlworkflow.errors import ConfigError, DataError


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def load(folder, **settings):
    return load_image_folder(path=str(folder), **settings)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pictures_in(folder, split):
    """Return the (label, bytes) that Python's own tarfile finds."""
    found = []
    for path in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        keys = [name.removesuffix(".cls") for name in members if name.endswith(".cls")]
        found += [(int(members[f"{key}.cls"]), members[f"{key}.png"]) for key in keys]
    return found


def test_every_picture_is_in_one_shard_with_its_bytes_and_its_label(pets, out):
    splits = load(pets)

    write_shards(splits, out, shards=4)

    assert [*splits.parts()] == ["train", "test"]
    for split, part in splits.parts().items():
        originals = [path.read_bytes() for path in part.paths]
        assert Counter(pictures_in(out, split)) == Counter(zip(part.labels.tolist(), originals, strict=True))


def test_stock_webdataset_reads_what_was_written(pets, out):
    tariterators = pytest.importorskip("webdataset.tariterators")
    write_shards(load(pets), out, shards=1)

    with (out / "train-00.tar").open("rb") as stream:
        files = tariterators.tar_file_expander([{"url": "train-00.tar", "stream": stream}])
        found = list(tariterators.group_by_keys(files))

    assert Counter(sample["cls"] for sample in found) == {b"0": 5, b"1": 4}
    assert all({"png", "cls"} <= sample.keys() for sample in found)


def test_the_index_counts_what_is_in_each_shard(pets, out):
    write_shards(load(pets), out, shards=4)

    shards = read_index(out).shards
    assert len(shards) > 4
    for shard in shards:
        with tarfile.open(shard.path) as tar:
            labels = [int(tar.extractfile(member).read()) for member in tar if member.name.endswith(".cls")]
        assert shard.counts == (labels.count(0), labels.count(1))
        assert shard.n_bytes == shard.path.stat().st_size


def test_the_same_folder_gives_the_same_bytes_and_another_seed_another_order(pets, tmp_path):
    for name, seed in (("a", 42), ("b", 42), ("c", 43)):
        write_shards(load(pets), tmp_path / name, shards=2, seed=seed)
    a, b, c = (content(tmp_path / name) for name in "abc")

    assert a == b != c


def test_shards_of_a_size_hold_about_so_much(pets, out):
    total = sum(path.stat().st_size for path in pets.glob("train/*/*"))

    shards = write_shards(load(pets), out, megabytes=total / 3 / 1e6)

    assert [shard.samples for shard in shards if shard.split == "train"] == [3, 3, 3]


def test_class_folders_alone_are_cut_as_training_cuts_them(pets, out):
    splits = load(pets / "train", test_fraction=0.3)

    write_shards(splits, out, shards=1)

    assert sorted(picture for _, picture in pictures_in(out, "test")) == sorted(
        path.read_bytes() for path in splits.test.paths
    )


def test_names_that_would_break_a_key_are_written_plainly(tmp_path, out, paint):
    for name in ("café.v2", "a b"):
        for number in range(3):
            paint(tmp_path / "odd" / name / f"x.{number}.é.PNG", number)

    write_shards(load(tmp_path / "odd", test_fraction=0.4), out, shards=1)

    with tarfile.open(out / "train-00.tar") as tar:
        assert all(name.isascii() and name.count(".") == 1 and len(name) < 100 for name in tar.getnames())
    assert read_index(out).classes == ("a b", "café.v2")


@pytest.mark.parametrize("make", [lambda out: out.touch(), lambda out: (out.mkdir(), (out / "mine").touch())])
def test_what_is_there_is_not_overwritten(pets, out, make):
    make(out)

    with pytest.raises(ConfigError, match="exists already; name another folder, or remove it first"):
        write_shards(load(pets), out)


def test_what_a_killed_process_left_of_these_shards_goes_and_other_files_stay(pets, out, foreign):
    others = foreign(out.parent)
    left = [out.with_name(f".{name}.{'0' * 16}.dlw-tmp") for name in (out.name, "other")]
    for folder in left:
        folder.mkdir()
        (folder / "train-00.tar").touch()
    before = others()

    write_shards(load(pets), out)

    assert [folder.exists() for folder in left] == [False, True]
    assert others() == before


def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_written(pets, out):
    (pets / "train" / "cat" / "0.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"1 of 13 images cannot be read: '.*cat/0\.png': .*on_bad='skip'"):
        write_shards(load(pets), out)
    assert not out.exists()


def test_pictures_that_cannot_be_read_are_left_out_where_that_was_asked_for(pets, out):
    (pets / "train" / "cat" / "0.png").write_bytes(b"no image")

    write_shards(load(pets, on_bad="skip"), out)

    assert sum(shard.samples for shard in read_index(out).shards) == 12


def test_a_full_disk_leaves_nothing_half(pets, out, monkeypatch):
    def write(self, data):
        self.digest.update(data)
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(out.parent.iterdir())
    monkeypatch.setattr(writing._Hashed, "write", write)

    with pytest.raises(DataError, match=r"cannot write '.*out': No space left on device; nothing is left of it"):
        write_shards(load(pets), out)
    assert sorted(out.parent.iterdir()) == before


def test_more_shards_than_pictures_are_refused(pets, out):
    with pytest.raises(ConfigError, match="shards: 10 are more than the 9 training images"):
        write_shards(load(pets), out, shards=10)


def test_the_pictures_are_only_read(pets, out, state_of):
    before = state_of(pets)

    write_shards(load(pets), out)

    assert state_of(pets) == before


def test_the_index_names_no_folder_of_this_machine(pets, out):
    write_shards(load(pets), out)

    assert str(pets.parent) not in json.dumps(json.loads((out / "shards.json").read_text()))
