"""Small pictures that the tests of this room draw for themselves."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def paint():
    """Write a picture of noise, the same for the same seed; its format follows from the name."""

    def write(path, seed=0, size=(9, 7), mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = len(Image.new(mode, (1, 1)).getbands())
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
        Image.fromarray(noise.squeeze(2) if channels == 1 else noise).save(path)
        return path

    return write


@pytest.fixture
def pets(tmp_path, paint):
    """Five cats and four dogs to train on, two of each to test on, of several sizes."""
    root = tmp_path / "pets"
    for seed, (split, name, number) in enumerate(
        (split, name, number)
        for split, name, count in (("train", "cat", 5), ("train", "dog", 4), ("test", "cat", 2), ("test", "dog", 2))
        for number in range(count)
    ):
        paint(root / split / name / f"{number}.png", seed, size=(20 + 3 * number, 17))
    return root


@pytest.fixture
def state_of():
    """Return what a user would notice of a folder: names, bytes, times of change."""

    def look(folder):
        return {
            path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None)
            for path in sorted(folder.rglob("*"))
        }

    return look
