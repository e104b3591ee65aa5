"""FashionMNIST: 60,000 + 10,000 grey 28x28 images of clothes, read from the four files that it is published as."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlworkflow.data.download import Remote, data_folder, fetch
from dlworkflow.data.images.transforms import Spec, parse
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError, MissingDataError, first_line
from dlworkflow.files.paths import open_regular

if TYPE_CHECKING:
    import torch

_MOST_BYTES = 2**28  # the largest of the files has 47 MB

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
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
    candidates = (root / "FashionMNIST" / "raw", root / "fashion_mnist", DEBIAN_FOLDER)
    return next((folder for folder in candidates if all(_file(folder, remote.name) for remote in FILES)), None)


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder of the four files, fetched where they are missing."""
    return find(data_dir) or fetch(
        FILES,
        data_folder(data_dir) / "FashionMNIST" / "raw",
        offline=offline,
        hint="on Debian, `apt-get install dataset-fashion-mnist` brings them",
    )


def load_fashion_mnist(
    *,
    image_size: int | list[int] = 28,
    transform: Spec = None,
    channels: Literal[1, 3] = 1,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load torchvision's files, those of Debian's package `dataset-fashion-mnist`, or fetch them.

    With `channels` 3 they are grey images in RGB, as a model of photos takes them.
    """
    from dlworkflow.data.images.dataset import ImageData, resize_all

    pipeline = parse(transform, image_size=image_size, channels=channels)
    folder = get(data_dir, offline=offline)
    parts = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        images = _read_idx(folder, f"{stem}-images-idx3-ubyte.gz").unsqueeze(1)
        labels = _read_idx(folder, f"{stem}-labels-idx1-ubyte.gz").long()
        shapes_fit = images.ndim == 4 and labels.ndim == 1 and len(images) == len(labels) > 0
        if not shapes_fit or int(labels.max()) >= len(CLASSES):
            raise DataError(f"{str(folder)!r}: the {split} files do not belong together")
        way = pipeline if split == "train" else pipeline.for_evaluation()
        parts[split] = ImageData(resize_all(images, way).expand(-1, channels, -1, -1), labels, way)
    return Splits.of_images("fashion_mnist", parts, pipeline, channels, CLASSES, source=str(folder.resolve()))


def _file(folder: Path, name: str) -> Path | None:
    """Return the file, packed or as torchvision unpacks it."""
    return next((file for file in (folder / name, folder / name.removesuffix(".gz")) if file.is_file()), None)


def _read_idx(folder: Path, name: str) -> torch.Tensor:
    """Read one file of the IDX format: two zero bytes, type 8 (uint8), the number of dimensions, their sizes, the data.

    See http://yann.lecun.com/exdb/mnist/. Raises DataError when it is damaged.
    """
    import torch

    file = _file(folder, name)
    if file is None:
        raise MissingDataError(f"no file {str(folder / name)!r}")
    try:
        with open_regular(file) as stream:
            unpacked = gzip.GzipFile(fileobj=stream) if file.suffix == ".gz" else stream
            raw = bytearray(unpacked.read(_MOST_BYTES))  # of a file that would unpack to more, it is too much as well
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{str(file)!r} is damaged: {first_line(error)}; delete it and `dlw data get fashion_mnist`"
        ) from None
    dimensions = raw[3] if raw[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    data = (
        torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * dimensions) if len(raw) > 4 + 4 * dimensions else None
    )
    if not shape or data is None or data.numel() != torch.Size(shape).numel():
        raise DataError(f"{str(file)!r} is damaged: it is no IDX file of bytes, or cut short")
    return data.view(shape)
