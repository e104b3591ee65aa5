"""MNIST: 60,000 + 10,000 grey 28x28 images of handwritten digits, read from the four files that it is published as."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dlworkflow.data.datasets import idx
from dlworkflow.data.datasets.in_memory import splits_in_memory
from dlworkflow.data.download import Remote, data_folder, fetch
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits

CLASSES = tuple("0123456789")
PLACES = ("MNIST/raw", "mnist")
_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = (  # addresses and digests as torchvision.datasets.MNIST gives them
    Remote(f"{_ADDRESS}/train-images-idx3-ubyte.gz", 9_912_422, "md5", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    Remote(f"{_ADDRESS}/train-labels-idx1-ubyte.gz", 28_881, "md5", "d53e105ee54ea40749a09fcbcd1e9432"),
    Remote(f"{_ADDRESS}/t10k-images-idx3-ubyte.gz", 1_648_877, "md5", "9fb629c4189551a2d022fa330f9573f3"),
    Remote(f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz", 4_542, "md5", "ec29112dd5afa0611ce80d1b7f02629c"),
)


def find(data_dir: str | None = None) -> Path | None:
    """Return the folder that holds the four files, packed or as torchvision leaves them, or None."""
    return idx.find((data_folder(data_dir) / place for place in PLACES), idx.STEMS)


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder of the four files, fetched where they are missing."""
    return find(data_dir) or fetch(FILES, data_folder(data_dir) / PLACES[0], offline=offline)


def begin(data_dir: str | None = None) -> None:
    """Begin to read the files, where they are there."""
    if (folder := find(data_dir)) is not None:
        idx.begin(folder, idx.STEMS)


def load_mnist(
    *,
    image_size: int | list[int] = 28,
    transform: Spec = None,
    fast_augment: bool = False,
    channels: Literal[1, 3] = 1,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load the files from the data folder, or fetch them.

    With `channels` 3 they are grey images in RGB, as a model of photos takes them.
    """
    folder = get(data_dir, offline=offline)
    return splits_in_memory(
        "mnist",
        idx.read(folder, idx.STEMS, "mnist", labels=range(len(CLASSES))),
        CLASSES,
        image_size=image_size,
        transform=transform,
        fast_augment=fast_augment,
        channels=channels,
        source=str(folder.resolve()),
    )
