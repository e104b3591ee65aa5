"""EMNIST: 814,255 grey 28x28 images of handwritten digits and letters in six splits (Cohen and others, 2017).

Its files hold each image transposed, which is undone here.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Literal

from dlworkflow.data.datasets import idx
from dlworkflow.data.datasets.in_memory import splits_in_memory
from dlworkflow.data.download import Remote, data_folder, fetch_archive
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits
from dlworkflow.errors import MissingDataError

_MERGED = f"{digits}{ascii_uppercase}abdefghnqrt"  # the other small letters look like their capitals and count as them
CLASSES = {
    "balanced": tuple(_MERGED),
    "letters": tuple(ascii_lowercase),  # capitals count as the small letter
    "digits": tuple(digits),
    "mnist": tuple(digits),
    "bymerge": tuple(_MERGED),
    "byclass": (*digits, *ascii_uppercase, *ascii_lowercase),
}
PLACES = ("EMNIST/raw", "emnist")
ARCHIVE = Remote(  # address and digest as torchvision.datasets.EMNIST gives them
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", 561_753_746, "md5", "58c8d27c78d21e728a6bc7b3cc06412e"
)


def find(data_dir: str | None = None) -> Path | None:
    """Return the folder that holds the files of a split, packed or as torchvision leaves them, or None."""
    return next((found for split in CLASSES if (found := _find(split, data_dir))), None)


def get(data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return the folder of the files, fetched where there are none."""
    return find(data_dir) or fetch_archive(
        ARCHIVE, data_folder(data_dir) / PLACES[0], offline=offline, top_folder="gzip"
    )


def load_emnist(
    *,
    split: Literal["balanced", "letters", "digits", "mnist", "bymerge", "byclass"] = "balanced",
    image_size: int | list[int] = 28,
    transform: Spec = None,
    fast_augment: bool = False,
    channels: Literal[1, 3] = 1,
    data_dir: str | None = None,
    offline: bool = False,
) -> Splits:
    """Load a split from the data folder, or fetch the archive of all.

    With `channels` 3 they are grey images in RGB, as a model of photos takes them.
    """
    folder = _find(split, data_dir) or get(data_dir, offline=offline)
    if idx.find([folder], _stems(split)) is None:
        there = ", ".join(name for name in CLASSES if idx.find([folder], _stems(name)))
        raise MissingDataError(f"data.split: no files of {split!r} in {str(folder)!r}; those of {there} are there")
    first = 1 if split == "letters" else 0  # the files of the letters count from 1
    parts = idx.read(folder, _stems(split), "emnist", labels=range(first, first + len(CLASSES[split])))
    return splits_in_memory(
        "emnist",
        {part: (images.transpose(2, 3).contiguous(), labels) for part, (images, labels) in parts.items()},
        CLASSES[split],
        image_size=image_size,
        transform=transform,
        fast_augment=fast_augment,
        channels=channels,
        source=str(folder.resolve()),
    )


def _stems(split: str) -> dict[str, str]:
    return {part: f"emnist-{split}-{part}" for part in ("train", "test")}


def _find(split: str, data_dir: str | None) -> Path | None:
    return idx.find((data_folder(data_dir) / place for place in PLACES), _stems(split))
