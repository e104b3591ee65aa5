"""The same image in training and in another split, found by what was digested as the images were decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from dlworkflow.data.images.dataset import image_files
from dlworkflow.data.splits import Splits


class Copy(NamedTuple):
    """An image of another split and the training image that it is."""

    path: Path
    of: Path


def find_copies(splits: Splits) -> dict[str, list[Copy]] | None:
    """Return {split: its images that training has too}, by the bytes of the files or by the pixels a model sees.

    Reads no file: None where the splits are no image files, or where some have not been read yet. Pixels are
    compared where they are kept.
    """
    files = {name: image_files(part) for name, part in splits.parts().items()}
    train = files.pop("train")
    if train is None or not train.contents_known:
        return None
    by_bytes = {content: place for place, content in enumerate(train.contents())}
    by_sum = {} if train.sums is None else {int(number): place for place, number in enumerate(train.sums)}
    found: dict[str, list[Copy]] = {}
    for name, other in files.items():
        if other is None or not other.contents_known:
            return None
        sums: Any = [None] * len(other) if other.sums is None else other.sums.tolist()
        for place, (content, number) in enumerate(zip(other.contents(), sums, strict=True)):
            twin = by_bytes.get(content)
            if twin is None and (likely := by_sum.get(number)) is not None:
                twin = likely if torch.equal(other[[place]], train[[likely]]) else None
            if twin is not None:
                found.setdefault(name, []).append(Copy(other.paths[place], train.paths[twin]))
    return found
