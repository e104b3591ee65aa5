import gzip
import shutil
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from dlworkflow import data
from dlworkflow.data.datasets import fashion_mnist, idx
from dlworkflow.data.loaders import make_loader
from dlworkflow.errors import DataError, MissingDataError
from dlworkflow.training.choice import begin_data

COUNTS = {"train": 30, "t10k": 20}
FILES = [f"{stem}-{kind}" for stem in COUNTS for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


@pytest.fixture
def raw(tmp_path, monkeypatch, as_idx):
    """A small FashionMNIST of noise, unpacked as torchvision leaves it, where DLW_DATA_DIR says; returns its folder."""
    monkeypatch.setenv("DLW_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "no package")
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    for stem, n in COUNTS.items():
        pixels = torch.randint(0, 256, (n, 28, 28), generator=draw)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(as_idx(pixels))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(as_idx(torch.arange(n) % 10))
    return folder


@pytest.fixture
def packed(raw):
    """The same as the four .gz files that are published."""
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes()))
        (raw / name).unlink()
    return raw


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real data set twice: as torchvision reads it, and as we do."""
    if not (fashion_mnist.DEBIAN_FOLDER / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("no FashionMNIST files")
    root = tmp_path_factory.mktemp("real")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        with gzip.open(fashion_mnist.DEBIAN_FOLDER / f"{name}.gz") as source, (raw / name).open("wb") as target:
            shutil.copyfileobj(source, target)
    theirs = {train: datasets.FashionMNIST(root, train, transforms.ToTensor()) for train in (True, False)}
    yield theirs, data.load("fashion_mnist", data_dir=str(root / "empty"), offline=True)
    shutil.rmtree(root)


def passes(loader, n=1):
    """Go through a loader `n` times from the same seed: its batches, and the global generator afterwards."""
    torch.manual_seed(42)
    batches = [batch for _ in range(n) for batch in loader]
    return batches, torch.random.get_rng_state()


def equal(mine, theirs):
    return len(mine) == len(theirs) and all(
        torch.equal(a, b) and a.dtype == b.dtype
        for (X, y), (their_X, their_y) in zip(mine, theirs, strict=True)
        for a, b in ((X, their_X), (y, their_y))
    )


def stock(raw, train):
    return datasets.FashionMNIST(raw.parents[1], train=train, transform=transforms.ToTensor())


@pytest.mark.parametrize("split", ["train", "test"])
def test_unpacked_files_are_read_as_torchvision_reads_them(split, raw):
    theirs = stock(raw, split == "train")
    mine = data.load("fashion_mnist").part(split)

    assert equal([(mine.images[:, 0], mine.labels)], [(theirs.data, theirs.targets)])


def test_packed_files_are_read_as_unpacked_ones(raw):
    before = data.load("fashion_mnist").train.fingerprint()
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes()))
        (raw / name).unlink()

    assert data.load("fashion_mnist").train.fingerprint() == before


def test_a_file_of_several_packed_ones_is_read_whole(packed):
    file = packed / f"{FILES[0]}.gz"
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]) + b"\0" * 7)

    assert len(data.load("fashion_mnist").train) == 30


def test_training_begins_to_read_the_data_that_is_named_or_usual(monkeypatch):
    begun = []
    monkeypatch.setattr(data, "begin", lambda name, folder: begun.append((name, folder)))

    begin_data({"model": {"name": "fashion_mnist_v0"}})
    begin_data({"model": {"name": "tinyvgg"}, "data": {"name": "mnist", "data_dir": "there"}})

    assert begun == [("fashion_mnist", None), ("mnist", "there")]


def test_files_whose_reading_was_begun_are_read_as_others(packed):
    before = data.load("fashion_mnist").train.fingerprint()

    data.begin("fashion_mnist")

    assert data.load("fashion_mnist").train.fingerprint() == before


def test_files_whose_reading_was_begun_are_not_read_again(packed, monkeypatch):
    data.begin("fashion_mnist")
    for begun in idx._begun.values():
        begun.join()
    monkeypatch.setattr(idx, "_content", None)

    assert len(data.load("fashion_mnist").train) == 30


def test_a_file_that_changes_after_its_reading_was_begun_is_read_again(packed):
    data.begin("fashion_mnist")
    for begun in idx._begun.values():
        begun.join()
    (packed / f"{FILES[0]}.gz").write_bytes(b"no longer what it was")

    with pytest.raises(DataError, match="is damaged"):
        data.load("fashion_mnist")


def test_a_damaged_file_whose_reading_was_begun_is_named(packed):
    (packed / f"{FILES[0]}.gz").write_bytes(gzip.compress(b"\0" * 3000)[:20])
    data.begin("fashion_mnist")

    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz' is damaged"):
        data.load("fashion_mnist")


def test_reading_is_begun_of_nothing_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "_begun", {})
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "no package")

    data.begin("fashion_mnist", str(tmp_path))

    assert not idx._begun


def test_packed_and_unpacked_files_may_lie_side_by_side(packed):
    name = FILES[0]
    (packed / name).write_bytes(gzip.decompress((packed / f"{name}.gz").read_bytes()))
    (packed / f"{name}.gz").unlink()

    assert len(data.load("fashion_mnist").train) == 30


def test_a_given_data_folder_goes_before_the_environment(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("DLW_DATA_DIR", str(tmp_path / "empty"))

    assert data.load("fashion_mnist", data_dir=str(tmp_path)).source == str(raw)


def test_files_in_the_data_folder_go_before_the_debian_package(raw, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", raw / "package")
    shutil.copytree(raw, raw / "package")

    assert data.find("fashion_mnist") == raw


def test_the_debian_package_is_used_where_it_is_installed(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", packed.rename(tmp_path / "package"))

    assert data.load("fashion_mnist").source == str(tmp_path / "package")


def test_classes_are_torchvisions_in_order(raw):
    assert list(data.load("fashion_mnist").classes) == datasets.FashionMNIST.classes


def test_addresses_and_digests_are_torchvisions():
    theirs = {(name, digest) for name, digest in datasets.FashionMNIST.resources}

    assert {(file.name, file.digest) for file in fashion_mnist.FILES} == theirs


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_those_of_the_stock_loader(raw, shuffle, workers):
    mine, _ = passes(make_loader(data.load("fashion_mnist").train, 8, shuffle=shuffle, num_workers=workers))
    theirs, _ = passes(DataLoader(stock(raw, True), 8, shuffle=shuffle, num_workers=workers))

    assert equal(mine, theirs)


def test_larger_pictures_are_those_of_torchvision(raw):
    way = transforms.Compose([transforms.Resize((32, 40)), transforms.ToTensor()])
    theirs = datasets.FashionMNIST(raw.parents[1], transform=way)

    assert torch.equal(data.load("fashion_mnist", image_size=[32, 40]).train[7][0], theirs[7][0])


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_named(name, raw):
    (raw / name).write_bytes((raw / name).read_bytes()[:-1])

    with pytest.raises(DataError, match=f"{name}' is damaged: it is no IDX file of bytes, or cut short"):
        data.load("fashion_mnist")


@pytest.mark.parametrize("name", FILES)
def test_a_packed_file_cut_short_is_named(name, packed):
    file = packed / f"{name}.gz"
    file.write_bytes(file.read_bytes()[:-9])

    with pytest.raises(DataError, match=rf"{name}\.gz' is damaged: .*`dlw data get fashion_mnist` fetches it again"):
        data.load("fashion_mnist")


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"<html>not found</html>", b"\0\0\x08\x03\0\0", b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", b"\0\0\x08\0x"],
)
def test_a_file_that_is_no_idx_file_is_named(content, raw):
    (raw / FILES[0]).write_bytes(content)

    with pytest.raises(DataError, match=f"{FILES[0]}' is damaged"):
        data.load("fashion_mnist")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", gzip.compress(b"x" * 999)[:-9] + b"garbled !"],
    ids=["empty", "a page", "garbled"],  # gzip writes the time: without names the tests' own names would change
)
def test_a_packed_file_that_is_no_gzip_file_is_named(content, packed):
    (packed / f"{FILES[0]}.gz").write_bytes(content)

    with pytest.raises(DataError, match=rf"{FILES[0]}\.gz' is damaged"):
        data.load("fashion_mnist")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("train-labels-idx1-ubyte", torch.zeros(29)),
        ("train-labels-idx1-ubyte", torch.full((30,), 10)),
        ("train-labels-idx1-ubyte", torch.arange(30) % 11),
        ("train-labels-idx1-ubyte", torch.zeros(30, 2)),
        ("train-images-idx3-ubyte", torch.zeros(30)),
        ("train-images-idx3-ubyte", torch.zeros(30, 28, 28, 3)),
    ],
    ids=[
        "one label short",
        "only an eleventh class",
        "an eleventh class",
        "two labels a picture",
        "no images",
        "colour",
    ],
)
def test_files_that_do_not_belong_together_are_refused(name, values, raw, as_idx):
    (raw / name).write_bytes(as_idx(values))

    with pytest.raises(DataError, match=r"raw'.*the train files do not belong together"):
        data.load("fashion_mnist")


def test_missing_files_are_refused_offline_with_how_to_get_them(raw, tmp_path):
    (raw / FILES[0]).unlink()

    with pytest.raises(MissingDataError, match=r"train-images-idx3-ubyte\.gz.*`apt-get install dataset-fashion-mnist`"):
        data.load("fashion_mnist", offline=True)


def test_published_files_are_fetched_into_torchvisions_folder(packed, tmp_path, monkeypatch):
    from hashlib import md5

    from dlworkflow.data.download import Remote

    published = packed.rename(tmp_path / "published")
    remotes = [
        Remote(file.as_uri(), file.stat().st_size, "md5", md5(file.read_bytes()).hexdigest())
        for file in sorted(published.iterdir())
    ]
    monkeypatch.setattr(fashion_mnist, "FILES", remotes)

    assert data.load("fashion_mnist", data_dir=str(tmp_path)).source == str(packed)


def test_loading_leaves_the_files_alone(packed, state_of):
    before = state_of(packed)
    list(make_loader(data.load("fashion_mnist").train, 8))

    assert state_of(packed) == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_real_files_are_read_as_torchvision_reads_them(split, real):
    theirs, mine = real[0][split == "train"], real[1].part(split)

    assert equal([(mine.images[:, 0], mine.labels)], [(theirs.data, theirs.targets)])


def test_the_real_training_pass_begins_as_the_stock_loaders(real):
    theirs, mine = real
    torch.manual_seed(42)
    batches = list(islice(make_loader(mine.train, 32, shuffle=True), 100))
    torch.manual_seed(42)

    assert equal(batches, list(islice(DataLoader(theirs[True], 32, shuffle=True), 100)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_real_pass_is_the_stock_loaders_to_the_last_draw(real, shuffle, workers):
    theirs, mine = real
    batches, state = passes(make_loader(mine.test, 32, shuffle=shuffle, num_workers=workers))
    their_batches, their_state = passes(DataLoader(theirs[False], 32, shuffle=shuffle, num_workers=workers))

    assert equal([*batches, (state, state)], [*their_batches, (their_state, their_state)])
