"""Images are decoded once: the second look finds the same bytes in memory or in a file."""

import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.images import decoded_cache as remembered
from dlworkflow.data.images import decoded_file
from dlworkflow.data.images.cache import rechecked
from dlworkflow.data.images.decoded_cache import ImageFiles
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.loaders import make_loader
from dlworkflow.errors import DataError

WAY = Pipeline((8, 8))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dlworkflow-cache"


@pytest.fixture
def paths(tmp_path, paint):
    return [paint(tmp_path / "photos" / f"{name}.png", seed=name) for name in range(5)]


def files(paths, way=WAY, **more):
    found = ImageFiles(paths, way, 3, **more)
    found.remember()
    return found


def pixels(found):
    return found[range(len(found))]


def cached(cache):
    return sorted((cache / "pictures").glob("*")) if (cache / "pictures").exists() else []


def decode(paths):
    return ImageFiles(paths, WAY, 3)[range(len(paths))]


def test_a_second_look_decodes_nothing(paths):
    assert [files(paths).n_decoded for _ in range(2)] == [5, 0]


def test_a_second_look_finds_the_same_bytes(paths):
    first, second = files(paths), files(paths)

    assert torch.equal(pixels(first), pixels(second))
    assert torch.equal(pixels(first), decode(paths))


def test_only_what_changed_is_decoded_again(paths, paint):
    files(paths)
    paint(paths[3], seed=99)
    again = files(paths)

    assert again.n_decoded == 1
    assert torch.equal(pixels(again), decode(paths))


def test_a_file_that_only_looks_newer_is_decoded_again(paths):
    files(paths)
    os.utime(paths[0], (1, 1))

    assert files(paths).n_decoded == 1


def test_more_and_fewer_pictures_in_another_order_decode_what_is_new(paths, paint):
    files(paths[1:])
    more = [paint(paths[0].parent / "new.png", seed=7), *reversed(paths[:4])]
    found = files(more)

    assert found.n_decoded == 2
    assert torch.equal(pixels(found), decode(more))


@pytest.mark.parametrize("way", [Pipeline((8, 9)), Pipeline((4, 4))])
def test_another_size_is_remembered_apart(paths, way, cache):
    files(paths)
    files(paths, way)

    assert (files(paths).n_decoded, files(paths, way).n_decoded, len(cached(cache))) == (0, 0, 2)


def test_two_parts_of_one_folder_do_not_overwrite_each_other(paths):
    for _ in range(2):
        found = [files(paths[:3], part="train"), files(paths[3:], part="test")]

    assert [part.n_decoded for part in found] == [0, 0]


def test_above_the_memory_budget_the_file_is_read_from(paths, monkeypatch):
    expected = decode(paths)
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 100)
    for n_decoded in (5, 0):
        found = files(paths)
        assert (found.n_decoded, found.kept) == (n_decoded, True)
        assert torch.equal(found[[4, 0, 4]], expected[[4, 0, 4]])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is in KiB there")
def test_what_is_found_takes_the_memory_of_its_pixels_once(tmp_path):
    code = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from dlworkflow.data.images.decoded_file import RowWriter, in_memory, read_rows, row_type
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
file, n, row = Path(sys.argv[1], "pictures", "rows.npy"), 20_000, row_type(3, (32, 32))
keys = np.arange(2 * n, dtype=np.uint64).view("V16")
with RowWriter(file, row, n) as writer:
    for start in range(0, n, 1000):
        zeros = torch.zeros(1000, 3, 32, 32, dtype=torch.uint8)
        writer.write(keys[start : start + 1000], np.zeros((1000, 16), np.uint8), np.zeros(1000, np.uint64), zeros)
before = peak()
pixels, *_ = in_memory(read_rows(file, row), keys)
print(pixels.nbytes / 2**20, peak() - before)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cache"], capture_output=True, text=True, check=True
    )
    pixels, grown = map(float, answer.stdout.split())

    assert grown < 1.3 * pixels


def test_what_is_read_from_the_file_cannot_change_it(paths, monkeypatch):
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 100)
    found = files(paths)
    before = found.file.read_bytes()
    found._kept[0] = 0

    assert found.file.read_bytes() == before


def test_a_file_changed_with_its_size_and_time_kept_is_decoded_again(paths, paint):
    files(paths)
    kept, before = paths[2].stat(), paths[2].read_bytes()
    paint(paths[2].with_name("other.png"), seed=99)
    paths[2].write_bytes(paths[2].with_name("other.png").read_bytes()[: len(before)].ljust(len(before), b"\0"))
    os.utime(paths[2], ns=(kept.st_atime_ns, kept.st_mtime_ns))
    again = files(paths)

    assert (paths[2].stat().st_size, again.n_decoded) == (len(before), 1)
    assert torch.equal(pixels(again), decode(paths))


@pytest.mark.parametrize("budget", [2**31, 100])
@pytest.mark.parametrize("at", [1, 3])
def test_one_flipped_byte_of_the_file_is_noticed_and_decoded_again(paths, budget, at, monkeypatch):
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", budget)
    found = files(paths)
    content = bytearray(found.file.read_bytes())
    content[-at * 100] ^= 4
    found.file.write_bytes(content)
    again = files(paths)

    assert torch.equal(pixels(again), decode(paths))
    assert again.n_decoded == 1


@pytest.mark.parametrize("byte", range(0, 48, 5))
@pytest.mark.parametrize("budget", [2**31, 100])
def test_one_flipped_byte_beside_the_pixels_is_noticed(paths, byte, budget, monkeypatch):
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", budget)
    found = files(paths)
    before = found.contents()
    content = bytearray(found.file.read_bytes())
    content[len(content) - 2 * (48 + 8 * 8 * 3) + byte] ^= 1
    found.file.write_bytes(content)
    again = files(paths)

    assert torch.equal(pixels(again), decode(paths))
    assert (again.contents(), again.n_decoded) == (before, 1)


def test_what_is_rechecked_is_decoded_whatever_is_remembered(paths):
    files(paths)
    with rechecked():
        assert files(paths).n_decoded == 5
    assert files(paths).n_decoded == 0


def test_each_file_is_opened_once(paths, monkeypatch):
    opened = []
    original = os.open
    monkeypatch.setattr("os.open", lambda path, *more, **rest: (opened.append(str(path)), original(path, *more))[1])
    monkeypatch.setattr("builtins.open", lambda path, *_, **__: opened.append(path))
    ImageFiles(paths, WAY, 3)[range(5)]

    assert sorted(opened) == sorted(map(str, paths))


@pytest.mark.parametrize("damage", ["torn", "empty", "text", "pickle"])
def test_a_damaged_file_is_made_anew(paths, cache, damage):
    found = files(paths)
    whole = found.file.read_bytes()
    if damage == "pickle":
        np.save(found.file, np.array([{"a": 1}]), allow_pickle=True)
    else:
        found.file.write_bytes({"torn": whole[:-100], "empty": b"", "text": b"no images"}[damage])
    again = files(paths)

    assert again.n_decoded == 5
    assert found.file.read_bytes() == whole


def test_a_full_disk_leaves_pictures_in_memory_and_nothing_behind(paths, cache, monkeypatch):
    class Full:
        def __init__(self, stream):
            self._stream = stream

        def write(self, content):
            if len(content) > 200:  # what comes before is the head
                raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(self._stream, name)

    original = decoded_file.unfinished_file
    monkeypatch.setattr(decoded_file, "unfinished_file", lambda target: Full(original(target)))
    found = files(paths)

    assert (found.kept, found.file, cached(cache)) == (True, None, [])


def test_a_file_larger_than_a_quarter_of_the_free_disk_is_not_written(paths, cache, monkeypatch):
    monkeypatch.setattr(decoded_file.shutil, "disk_usage", lambda _: Usage(free=5 * 3 * 64 * 3))

    assert (files(paths).kept, cached(cache)) == (True, [])


class Usage:
    def __init__(self, free):
        self.free = free


def test_without_file_and_memory_pictures_are_decoded_when_asked_for(paths, monkeypatch):
    monkeypatch.setenv("DLW_CACHE", "0")
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 100)
    found = files(paths)

    assert (found.kept, found.n_decoded) == (False, 0)
    assert torch.equal(found[[2]], decode(paths[2:3]))


def test_dlw_cache_0_remembers_in_memory_alone(paths, cache, monkeypatch):
    monkeypatch.setenv("DLW_CACHE", "0")

    assert (files(paths).kept, cached(cache)) == (True, [])


def test_nothing_is_written_among_the_pictures(paths, monkeypatch):
    monkeypatch.setenv("DLW_CACHE_DIR", str(paths[0].parent / "cache"))
    before = sorted(paths[0].parent.rglob("*"))
    files(paths)

    assert sorted(paths[0].parent.rglob("*")) == before


def test_an_unreadable_picture_is_named_and_nothing_is_left_behind(paths, cache):
    paths[2].write_bytes(b"no image")

    with pytest.raises(DataError, match=r"1 of 5 images cannot be read: '.*2\.png'"):
        files(paths)
    assert cached(cache) == []


def test_a_picture_that_became_unreadable_is_named_although_it_was_remembered(paths):
    files(paths)
    paths[2].write_bytes(b"no image")

    with pytest.raises(DataError, match=r"2\.png"):
        files(paths)


def test_a_lower_limit_of_pixels_still_refuses_what_was_decoded_under_a_higher_one(paths, monkeypatch):
    files(paths)
    monkeypatch.setenv("DLW_MAX_PIXELS", "10")

    with pytest.raises(DataError, match="above the limit of 10"):
        files(paths)


def test_what_nobody_used_for_a_month_is_deleted(paths, cache, monkeypatch):
    old = files(paths).file
    os.utime(old, (time.time() - 40 * 86400,) * 2)
    files(paths, Pipeline((4, 4)))

    assert not old.exists()


def test_what_a_killed_process_left_is_deleted(paths, cache):
    files(paths)
    left = cache / "pictures" / f".{'0' * 24}.npy.{'1' * 16}.dlw-tmp"
    left.touch()
    files(paths, Pipeline((4, 4)))

    assert not left.exists()


def test_files_of_others_in_the_cache_stay_whatever_their_age_and_name(paths, cache, foreign):
    files(paths)
    others = foreign(cache.parent, cache.parent / "pictures", cache, cache / "pictures")
    before = others()
    files(paths, Pipeline((4, 4)))

    assert others() == before


def test_a_folder_of_the_caches_name_that_others_made_is_left_alone(paths, cache, foreign):
    others = foreign(cache)
    before = others()

    assert (files(paths).file, others(), (cache / "pictures").exists()) == (None, before, False)


def test_pictures_that_are_a_link_to_elsewhere_are_not_swept(paths, cache, tmp_path, foreign):
    files(paths).file.parent.rename(tmp_path / "elsewhere")
    others = foreign(tmp_path / "elsewhere")
    (cache / "pictures").symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    for path in before:
        os.utime(path, (1, 1))
    files(paths, Pipeline((4, 4)))

    assert sorted((tmp_path / "elsewhere").iterdir()) == before
    assert all(others().values())


def test_progress_is_told_of_every_picture(paths, monkeypatch):
    monkeypatch.setattr(remembered, "_DECODED_AT_ONCE", 2)
    told = []
    ImageFiles(paths, WAY, 3).remember(lambda done, total: told.append((done, total)))

    assert told == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("transform", [None, "flip", "trivial_augment", "flip,normalize"])
def test_training_batches_are_the_same_to_the_bit_with_memory_and_without(pets, transform, monkeypatch):
    def batches():
        torch.manual_seed(42)
        loader = make_loader(
            load_image_folder(path=str(pets), image_size=16, transform=transform).train, 4, shuffle=True
        )
        return [X for _ in range(2) for X, _ in loader]

    made, remembered_on_disk = batches(), batches()
    monkeypatch.setenv("DLW_CACHE", "0")
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 1)
    decoded_each_time = batches()

    assert all(map(torch.equal, made, remembered_on_disk))
    assert all(map(torch.equal, made, decoded_each_time))
