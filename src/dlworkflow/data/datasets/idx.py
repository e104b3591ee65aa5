"""Images and labels in IDX files, the format of MNIST and its relatives, packed (.gz) or not; knows none of them."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dlworkflow.data.images.cache import state_of
from dlworkflow.errors import DataError, MissingDataError, first_line
from dlworkflow.files.paths import open_regular

if TYPE_CHECKING:
    from torch import Tensor

_MOST_BYTES = 2**30  # the largest file, of EMNIST by class, has 547 MB
_IMAGES, _LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"

STEMS = {"train": "train", "test": "t10k"}
"""How the names of MNIST's files begin, by split."""


def find(folders: Iterable[Path], stems: Mapping[str, str]) -> Path | None:
    """Return the first folder that has the images and labels of all `stems`, or None."""
    names = [f"{stem}-{kind}" for stem in stems.values() for kind in (_IMAGES, _LABELS)]
    return next((folder for folder in folders if all(_file(folder, name) for name in names)), None)


def begin(folder: Path, stems: Mapping[str, str]) -> None:
    """Begin to read and unpack the files of all `stems` in threads, which `read` waits for."""
    for stem in stems.values():
        for kind in (_IMAGES, _LABELS):
            if (file := _file(folder, f"{stem}-{kind}")) is not None and file not in _begun:
                _begun[file] = _Reading(file)
                _begun[file].start()


class _Reading(threading.Thread):
    """Reads a file while something else is imported; of one that cannot be read, `content` stays None."""

    def __init__(self, file: Path) -> None:
        super().__init__(daemon=True)  # an error elsewhere ends the process without waiting
        self.file, self.state = file, state_of(file)
        self.content: bytearray | None = None

    def run(self) -> None:
        with suppress(OSError, EOFError, zlib.error, MemoryError):  # `read` meets the same error again and raises it
            self.content = _content(self.file)

    def result(self) -> bytearray | None:
        """Wait for the content; None where there is none, or where the file has changed since."""
        self.join()
        return self.content if self.state == state_of(self.file) else None


_begun: dict[Path, _Reading] = {}


def read(folder: Path, stems: Mapping[str, str], name: str, *, labels: range) -> dict[str, tuple[Tensor, Tensor]]:
    """Read {split: (images uint8 (n, 1, h, w), labels int64 (n,), counted from 0)} of the data set `name`.

    `labels` are those that the files may have. Raises DataError for files that are damaged or no pair.
    """
    parts = {}
    for split, stem in stems.items():
        images = _read_file(folder, f"{stem}-{_IMAGES}", name).unsqueeze(1)
        targets = _read_file(folder, f"{stem}-{_LABELS}", name).long()
        shapes_fit = images.ndim == 4 and targets.ndim == 1 and len(images) == len(targets) > 0
        if not shapes_fit or not {int(targets.min()), int(targets.max())} <= {*labels}:
            raise DataError(f"{str(folder)!r}: the {split} files do not belong together")
        parts[split] = images, targets - labels.start
    return parts


def _file(folder: Path, name: str) -> Path | None:
    """Return the file, packed or as torchvision unpacks it."""
    return next((file for file in (folder / name, folder / name.removesuffix(".gz")) if file.is_file()), None)


def _read_file(folder: Path, name: str, data: str) -> Tensor:
    """Read one file: two zero bytes, type 8 (uint8), the number of dimensions, their sizes (big-endian), the data.

    See http://yann.lecun.com/exdb/mnist/. Raises DataError when it is damaged.
    """
    import torch

    file = _file(folder, name)
    if file is None:
        raise MissingDataError(f"no file {str(folder / name)!r}")
    way_out = f"move its folder away and `dlw data get {data}` fetches it again"
    begun = _begun.pop(file, None)
    known = begun.result() if begun is not None else None
    try:
        raw = _content(file) if known is None else known
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{str(file)!r} is damaged: {first_line(error)}; {way_out}") from None
    dimensions = raw[3] if raw[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    start = 4 + 4 * dimensions
    content = torch.frombuffer(raw, dtype=torch.uint8, offset=start) if len(raw) > start else None
    if not shape or content is None or content.numel() != torch.Size(shape).numel():
        raise DataError(f"{str(file)!r} is damaged: it is no IDX file of bytes, or cut short; {way_out}")
    return content.view(shape)


def _content(file: Path) -> bytearray:
    """Return the bytes of a file, unpacked: at once, which leaves the interpreter to other threads meanwhile.

    Raises OSError, EOFError or zlib.error.
    """
    with open_regular(file) as stream:
        content = stream.read(_MOST_BYTES)
    if file.suffix != ".gz":
        return bytearray(content)
    unpacked = bytearray()
    while content:  # a file may be several packed ones, and end in zeros
        unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        unpacked += unpacking.decompress(content, max(1, _MOST_BYTES - len(unpacked)))  # more would be too much as well
        if not unpacking.eof:
            raise EOFError("it is cut short, or too large")
        content = unpacking.unused_data.lstrip(b"\0")
    return unpacked
