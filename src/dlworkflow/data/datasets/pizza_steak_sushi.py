"""The notes' own photos: 300 of three Food-101 classes, 225 for training and 75 for testing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dlworkflow.data.download import Remote, data_folder, fetch_archive
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits

PLACES = ("pizza_steak_sushi",)
ARCHIVE = Remote(
    "https://github.com/mrdbourke/pytorch-deep-learning/raw/main/data/pizza_steak_sushi.zip",
    15_737_296,
    "sha256",
    "5e9596fcc939a32996e59bbed8ec690ae39203bbcbc08292a92d44e4c4a27652",
)


def find(data_dir: str | None = None) -> Path | None:
    """Return the folder with the photos, or None."""
    folder = data_folder(data_dir) / PLACES[0]
    return folder if (folder / "train").is_dir() and (folder / "test").is_dir() else None


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder with the photos, fetched where it is missing."""
    return find(data_dir) or fetch_archive(ARCHIVE, data_folder(data_dir) / PLACES[0], offline=offline)


def load_pizza_steak_sushi(
    *,
    image_size: int | list[int] = 64,
    transform: Spec = None,
    channels: Literal[1, 3] = 3,
    on_bad: Literal["error", "skip"] = "error",
    fast_decode: bool = False,
    fast_augment: bool = False,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load the photos from the data folder, or fetch them from the address in the notes."""
    from dlworkflow.data.datasets.image_folder import load_image_folder

    folder = get(data_dir, offline=offline)
    return load_image_folder(
        path=str(folder),
        image_size=image_size,
        transform=transform,
        channels=channels,
        on_bad=on_bad,
        fast_decode=fast_decode,
        fast_augment=fast_augment,
    )
