"""FashionMNIST: 60,000 + 10,000 grey 28x28 images of clothes, read from the four files that it is published as."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dlworkflow.data.datasets import idx
from dlworkflow.data.datasets.in_memory import splits_in_memory
from dlworkflow.data.download import Remote, data_folder, fetch
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
PLACES = ("FashionMNIST/raw", "fashion_mnist")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FILES = (  # names, sizes and digests as torchvision.datasets.FashionMNIST gives them
    Remote(f"{_ADDRESS}/train-images-idx3-ubyte.gz", 26_421_880, "md5", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    Remote(f"{_ADDRESS}/train-labels-idx1-ubyte.gz", 29_515, "md5", "25c81989df183df01b3e8a0aad5dffbe"),
    Remote(f"{_ADDRESS}/t10k-images-idx3-ubyte.gz", 4_422_102, "md5", "bef4ecab320f06d8554ea6380940ec79"),
    Remote(f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz", 5_148, "md5", "bb300cfdad3c16e7a12a480ee83cd310"),
)


def find(data_dir: str | None = None) -> Path | None:
    """Return the folder that holds the four files (as torchvision lays them, or Debian's package), or None."""
    root = data_folder(data_dir)
    return idx.find((*(root / place for place in PLACES), DEBIAN_FOLDER), idx.STEMS)


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder of the four files, fetched where they are missing."""
    hint = "on Debian, `apt-get install dataset-fashion-mnist` brings them"
    return find(data_dir) or fetch(FILES, data_folder(data_dir) / PLACES[0], offline=offline, hint=hint)


def begin(data_dir: str | None = None) -> None:
    """Begin to read the files, where they are there."""
    if (folder := find(data_dir)) is not None:
        idx.begin(folder, idx.STEMS)


def load_fashion_mnist(
    *,
    image_size: int | list[int] = 28,
    transform: Spec = None,
    fast_augment: bool = False,
    channels: Literal[1, 3] = 1,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load torchvision's files, those of Debian's package `dataset-fashion-mnist`, or fetch them.

    With `channels` 3 they are grey images in RGB, as a model of photos takes them.
    """
    folder = get(data_dir, offline=offline)
    return splits_in_memory(
        "fashion_mnist",
        idx.read(folder, idx.STEMS, "fashion_mnist", labels=range(len(CLASSES))),
        CLASSES,
        image_size=image_size,
        transform=transform,
        fast_augment=fast_augment,
        channels=channels,
        source=str(folder.resolve()),
    )
