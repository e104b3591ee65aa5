import pytest
import torch
from torchvision import datasets

from dlworkflow import data
from dlworkflow.data.datasets import mnist
from dlworkflow.errors import DataError, MissingDataError

COUNTS = {"train": 30, "t10k": 20}


@pytest.fixture
def raw(tmp_path, as_idx):
    """A small MNIST of noise as torchvision leaves it; returns its folder."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    for stem, n in COUNTS.items():
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(as_idx(torch.randint(0, 256, (n, 28, 28), generator=draw)))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(as_idx(torch.arange(n) % 10))
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_files_are_read_as_torchvision_reads_them(split, raw, tmp_path):
    theirs = datasets.MNIST(tmp_path, train=split == "train")
    mine = data.load("mnist", data_dir=str(tmp_path)).part(split)

    assert torch.equal(mine.images[:, 0], theirs.data)
    assert torch.equal(mine.labels, theirs.targets)


def test_files_in_a_folder_of_the_name_are_found(raw, tmp_path):
    folder = raw.rename(tmp_path / "mnist")

    assert data.find("mnist", str(tmp_path)) == folder


def test_a_damaged_file_is_named_with_the_command_that_fetches_it_again(raw, tmp_path):
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"<html>")

    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte' is damaged: .*`dlw data get mnist` fetches it again"):
        data.load("mnist", data_dir=str(tmp_path))


def test_missing_files_are_refused_offline_with_their_place(tmp_path):
    with pytest.raises(MissingDataError, match=r"raw is not in '.*MNIST' and fetching is off; put https://ossci"):
        data.load("mnist", data_dir=str(tmp_path), offline=True)


def test_digests_are_torchvisions():
    assert [(file.name, file.digest) for file in mnist.FILES] == datasets.MNIST.resources


def test_the_address_is_torchvisions():
    assert mnist.FILES[0].url.removesuffix(mnist.FILES[0].name) in datasets.MNIST.mirrors
