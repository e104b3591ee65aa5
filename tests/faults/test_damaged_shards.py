"""Damaged shards and indexes are answered with samples or one line, in time, whatever bytes are wrong."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter

import pytest

pytest.importorskip("webdataset")

from dlworkflow.data.loaders import make_loader
from dlworkflow.data.shards.checking import check_shards
from dlworkflow.data.shards.loading import load_shards
from dlworkflow.errors import DlwError

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("default")]

SECONDS = 10  # longer is a hang
ROUNDS = 200


def damaged(content, rng):
    """Return a file's bytes cut short, changed, with others put in, or with a piece taken out."""
    data, place = bytearray(content), rng.randrange(len(content))
    how = rng.randrange(4)
    if how == 0:
        del data[place:]
    elif how == 1:
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif how == 2:
        data[place:place] = rng.randbytes(rng.randrange(1, 600))
    else:
        header = place // 512 * 512
        for at in range(header, min(header + 512, len(data)), rng.randrange(20, 200)):
            data[at] = rng.choice(b"0123456789\0 \xff\x80S")
    return bytes(data)


@pytest.mark.parametrize("indexed", [True, False])
def test_damaged_shards_are_answered_in_one_line(indexed, pet_shards, tmp_path):
    if not indexed:
        (pet_shards / "shards.json").unlink()
    rng, ended, told = random.Random(0), Counter(), []
    for _ in range(ROUNDS):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pet_shards, folder)
        file = rng.choice(sorted(folder.iterdir()))
        file.write_bytes(damaged(file.read_bytes(), rng))
        started = time.monotonic()
        try:
            splits = load_shards(path=str(folder), image_size=8, on_bad=rng.choice(["error", "skip"]))
            for part in splits.parts().values():
                assert sum(len(y) for _, y in make_loader(part, 4, shuffle=True)) == len(part)
            check_shards(str(folder))
            ended["read"] += 1
        except DlwError as error:
            ended["told"] += 1
            told.append(str(error))
        assert time.monotonic() - started < SECONDS
    assert not [sentence for sentence in told if "\n" in sentence]
    assert min(ended["read"], ended["told"]) > ROUNDS / 20
