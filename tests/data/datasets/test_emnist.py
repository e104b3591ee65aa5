import hashlib
import zipfile

import pytest
import torch
from torchvision import datasets

from dlworkflow import data
from dlworkflow.data.datasets import emnist
from dlworkflow.data.download import Remote
from dlworkflow.errors import ConfigError, DataError, MissingDataError

LETTERS = {"letters": 26, "byclass": 62}


@pytest.fixture
def raw(tmp_path, as_idx):
    """Two small splits of EMNIST as torchvision leaves them, noise with a white first row; returns their folder."""
    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    for split, n in LETTERS.items():
        for part in ("train", "test"):
            upright = torch.randint(0, 200, (n, 28, 28), generator=draw)
            upright[:, 0] = 255
            labels = torch.arange(n) + (split == "letters")
            (folder / f"emnist-{split}-{part}-images-idx3-ubyte").write_bytes(as_idx(upright.transpose(1, 2)))
            (folder / f"emnist-{split}-{part}-labels-idx1-ubyte").write_bytes(as_idx(labels))
    return folder


def load(tmp_path, split):
    return data.load("emnist", split=split, data_dir=str(tmp_path), offline=True)


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_are_torchvisions_turned_upright(part, raw, tmp_path):
    theirs = datasets.EMNIST(tmp_path, "byclass", train=part == "train")

    assert torch.equal(load(tmp_path, "byclass").part(part).images[:, 0], theirs.data.transpose(1, 2))


def test_the_first_row_of_an_image_is_the_first_row(raw, tmp_path):
    assert (load(tmp_path, "letters").test[3][0][0, 0] == 1).all()


@pytest.mark.parametrize("split", emnist.CLASSES)
def test_classes_are_torchvisions(split):
    assert list(emnist.CLASSES[split]) == [name for name in datasets.EMNIST.classes_split_dict[split] if name != "N/A"]


@pytest.mark.parametrize("split", LETTERS)
def test_labels_count_from_zero(split, raw, tmp_path):
    assert load(tmp_path, split).train.labels.tolist() == list(range(LETTERS[split]))


def test_a_split_that_is_not_there_is_refused_with_those_that_are(raw, tmp_path):
    with pytest.raises(
        MissingDataError, match=r"data\.split: no files of 'digits' in .*; those of letters, byclass are there"
    ):
        load(tmp_path, "digits")


def test_an_unknown_split_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.split: unknown value 'letter'; did you mean 'letters'\?"):
        load(tmp_path, "letter")


def test_labels_of_another_split_are_refused(raw, tmp_path):
    name = "-test-labels-idx1-ubyte"
    (raw / f"emnist-letters{name}").write_bytes((raw / f"emnist-byclass{name}").read_bytes())

    with pytest.raises(DataError, match="the test files do not belong together"):
        load(tmp_path, "letters")


def test_the_published_archive_is_unpacked_into_torchvisions_folder(raw, tmp_path, monkeypatch):
    archive = tmp_path / "gzip.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in raw.iterdir():
            packed.write(file, f"gzip/{file.name}")
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(emnist, "ARCHIVE", Remote(archive.as_uri(), archive.stat().st_size, "md5", digest))
    monkeypatch.delenv("DLW_OFFLINE", raising=False)
    data.get("emnist", str(tmp_path / "fresh"))

    assert load(tmp_path / "fresh", "letters").source == str(tmp_path / "fresh" / "EMNIST" / "raw")


def test_missing_files_are_refused_offline_with_the_archive(tmp_path):
    with pytest.raises(MissingDataError, match=r"fetching is off; put https://.*/gzip\.zip into '.*EMNIST' yourself"):
        load(tmp_path, "letters")


def test_address_and_digest_are_torchvisions():
    assert (emnist.ARCHIVE.url, emnist.ARCHIVE.digest) == (datasets.EMNIST.url, datasets.EMNIST.md5)
