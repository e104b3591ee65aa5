"""The 1,797 handwritten digits that scikit-learn carries: real 8x8 grey images that need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlworkflow.data.datasets.in_memory import splits_in_memory
from dlworkflow.data.images.transforms import Spec
from dlworkflow.data.splits import Splits, stratified_split
from dlworkflow.registry import Fraction, Seed

if TYPE_CHECKING:
    import numpy as np

CLASSES = tuple("0123456789")


def load_digits(
    *,
    image_size: int | list[int] = 8,
    transform: Spec = None,
    fast_augment: bool = False,
    channels: Literal[1, 3] = 1,
    test_fraction: Fraction = 0.2,
    random_state: Seed = 42,
) -> Splits:
    """Load the digits as uint8 `round(v * 255 / 16)`, so that a PNG of one gives back the same pixels.

    With `channels` 3 they are grey images in RGB, as a model of photos takes them.
    """
    import numpy as np
    import torch

    values, labels = _published()
    images = torch.from_numpy(np.rint(values.reshape(-1, 1, 8, 8) * 255 / 16).astype(np.uint8))
    targets = torch.from_numpy(labels).to(torch.int64)
    train, test = stratified_split(targets, test_fraction=test_fraction, random_state=random_state, names=CLASSES)
    indices = {"train": train, "test": test}
    return splits_in_memory(
        "digits",
        {split: (images[chosen], targets[chosen]) for split, chosen in indices.items()},
        CLASSES,
        image_size=image_size,
        transform=transform,
        fast_augment=fast_augment,
        channels=channels,
        indices=indices,
        source="scikit-learn",
    )


def _published() -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (n, 64) from 0 to 16 and labels (n,), as `sklearn.datasets.load_digits` does.

    The file is read without importing scikit-learn, which takes a second.
    """
    import numpy as np

    package = find_spec("sklearn")
    places = (package.submodule_search_locations if package is not None else None) or []
    files = [file for place in places if (file := Path(place, "datasets/data/digits.csv.gz")).is_file()]
    if not files:
        from sklearn import datasets

        return datasets.load_digits(return_X_y=True)
    table = np.loadtxt(files[0], delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
