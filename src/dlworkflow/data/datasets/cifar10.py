"""CIFAR-10: 50,000 + 10,000 colour 32x32 images of ten classes, read from the six files of its binary version.

The Python version holds the same images as pickles, which can run code when they are read: it is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlworkflow.data.datasets.in_memory import splits_in_memory
from dlworkflow.data.download import Remote, data_folder, fetch_archive
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits
from dlworkflow.errors import DataError, first_line
from dlworkflow.files.paths import open_regular

if TYPE_CHECKING:
    from torch import Tensor

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PLACES = ("cifar-10-batches-bin", "cifar10")
FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
ARCHIVE = Remote(  # as https://www.cs.toronto.edu/~kriz/cifar.html gives it
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170_052_171, "md5", "c32a1d4ab5d03f1284b67883e8d87530"
)
_SHAPE = (3, 32, 32)
_BYTES = 1 + 3 * 32 * 32  # a label, then the image
_MOST_BYTES = 2**28  # a file has 31 MB


def find(data_dir: str | None = None) -> Path | None:
    """Return the folder that holds the six files, or None."""
    names = [name for part in FILES.values() for name in part]
    folders = (data_folder(data_dir) / place for place in PLACES)
    return next((folder for folder in folders if all((folder / name).is_file() for name in names)), None)


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder of the six files, fetched where they are missing."""
    return find(data_dir) or fetch_archive(
        ARCHIVE, data_folder(data_dir) / PLACES[0], offline=offline, top_folder=PLACES[0]
    )


def load_cifar10(
    *,
    image_size: int | list[int] = 32,
    transform: Spec = None,
    fast_augment: bool = False,
    channels: Literal[1, 3] = 3,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load the binary version from the data folder, or fetch it; with `channels` 1 the images are grey."""
    pickles = data_folder(data_dir) / "cifar-10-batches-py"
    if find(data_dir) is None and pickles.is_dir():
        raise DataError(
            f"{str(pickles)!r} is the Python version, pickles that can run code when they are read; "
            f"`dlw data get cifar10` fetches the binary version ({ARCHIVE.size_text})"
        )
    folder = get(data_dir, offline=offline)
    return splits_in_memory(
        "cifar10",
        {split: _read(folder, names) for split, names in FILES.items()},
        CLASSES,
        image_size=image_size,
        transform=transform,
        fast_augment=fast_augment,
        channels=channels,
        source=str(folder.resolve()),
    )


def _read(folder: Path, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Read images uint8 (n, 3, 32, 32) and labels int64 (n,). Raises DataError naming a file that is damaged."""
    import torch

    records = torch.cat([_read_file(folder / name) for name in names])
    return records[:, 1:].reshape(-1, *_SHAPE), records[:, 0].long()


def _read_file(file: Path) -> Tensor:
    import torch

    way_out = "move its folder away and `dlw data get cifar10` fetches it again"
    try:
        with open_regular(file) as stream:
            raw = bytearray(stream.read(_MOST_BYTES))
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be read: {first_line(error)}") from None
    if not raw or len(raw) % _BYTES:
        raise DataError(f"{str(file)!r} is damaged: {len(raw):,} bytes are no multiple of {_BYTES:,}; {way_out}")
    records = torch.frombuffer(raw, dtype=torch.uint8).view(-1, _BYTES)
    if int(records[:, 0].max()) >= len(CLASSES):
        raise DataError(f"{str(file)!r} is damaged: it has labels above {len(CLASSES) - 1}; {way_out}")
    return records
