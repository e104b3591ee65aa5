import hashlib
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from dlworkflow import data
from dlworkflow.data.datasets import cifar10
from dlworkflow.data.download import Remote
from dlworkflow.errors import DataError, MissingDataError

NAMES = [name for names in cifar10.FILES.values() for name in names]
PIXELS = np.random.default_rng(0).integers(0, 256, (len(NAMES), 10, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A small CIFAR-10 of noise, ten images a file, one of each class; returns its folder."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, images in zip(NAMES, PIXELS, strict=True):
        (folder / name).write_bytes(b"".join(bytes([label]) + image.tobytes() for label, image in enumerate(images)))
    return folder


def load(tmp_path, **given):
    return data.load("cifar10", data_dir=str(tmp_path), offline=True, **given)


def test_images_are_red_green_and_blue_planes_in_the_order_of_the_files(folder, tmp_path):
    assert np.array_equal(load(tmp_path).train.images.numpy(), PIXELS[:5].reshape(-1, 3, 32, 32))


def test_the_test_batch_is_the_test_split(folder, tmp_path):
    assert np.array_equal(load(tmp_path).test.images.numpy(), PIXELS[5])


def test_labels_are_the_first_byte_of_each_record(folder, tmp_path):
    assert load(tmp_path).train.labels.tolist() == [*range(10)] * 5


def test_grey_images_are_those_of_pillow(folder, tmp_path):
    theirs = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in PIXELS[5]]

    assert np.array_equal(load(tmp_path, channels=1).test.images[:, 0].numpy(), theirs)


def test_larger_images_are_those_of_pillow(folder, tmp_path):
    theirs = Image.fromarray(PIXELS[5, 0].transpose(1, 2, 0)).resize((48, 40), Image.Resampling.BILINEAR)
    mine = load(tmp_path, image_size=[40, 48]).test.images[0].permute(1, 2, 0)

    assert torch.equal(mine, torch.from_numpy(np.asarray(theirs).copy()))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(3073 * 2 - 1)], ids=len)
def test_a_file_cut_short_is_named(content, folder, tmp_path):
    (folder / "data_batch_3.bin").write_bytes(content)

    with pytest.raises(DataError, match=r"data_batch_3\.bin' is damaged: .*`dlw data get cifar10` fetches it again"):
        load(tmp_path)


def test_a_file_with_other_labels_is_named(folder, tmp_path):
    (folder / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))

    with pytest.raises(DataError, match=r"test_batch\.bin' is damaged: it has labels above 9"):
        load(tmp_path)


def test_the_python_version_is_refused_with_the_command_that_fetches_the_other(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()

    with pytest.raises(DataError, match=r"batches-py' is the Python version, pickles .*`dlw data get cifar10` fetches"):
        load(tmp_path)


def test_the_binary_version_is_read_beside_the_python_version(folder, tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()

    assert load(tmp_path).source == str(folder)


def test_missing_files_are_refused_offline_with_the_archive(tmp_path):
    with pytest.raises(MissingDataError, match=r"fetching is off; put https://.*/cifar-10-binary\.tar\.gz into"):
        load(tmp_path)


def test_the_published_archive_is_unpacked_into_the_data_folder(folder, tmp_path, monkeypatch):
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, "cifar-10-batches-bin")
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "ARCHIVE", Remote(archive.as_uri(), archive.stat().st_size, "md5", digest))
    monkeypatch.delenv("DLW_OFFLINE", raising=False)
    data.get("cifar10", str(tmp_path / "fresh"))

    assert load(tmp_path / "fresh").source == str(tmp_path / "fresh" / "cifar-10-batches-bin")
