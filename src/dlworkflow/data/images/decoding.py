"""Opening one image: decoded whole; an error names it when it is broken or too large; knows no data set.

Files are opened for reading only. Imports no torch.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps

from dlworkflow.data.images.formats import EIGHT_BITS, FORMATS, known_as
from dlworkflow.data.images.modes import ValueRange, to_mode
from dlworkflow.errors import ConfigError, DataError, DlwError, first_line

MAX_PIXELS = 89_478_485
"""More pixels are an error, as they may be a decompression bomb: 256 MiB as RGB. DLW_MAX_PIXELS sets another limit."""

BYTES_AT_ONCE = 2 * 1024**3
"""All threads together hold about so many bytes of images that are being decoded; a larger one is decoded alone."""

_BYTES_A_PIXEL = _BYTES_A_ROW = 8  # as decoded and as converted, at most four each; Pillow points to every row
_FORMATS = tuple(name for name in FORMATS if name != "AVIF" or find_spec("PIL.AvifImagePlugin"))  # Pillow 11.3 has it
_EMPTY = "is empty (0 bytes)"


class ImageError(DataError):
    """A file that is no readable image; `path` is the file and `reason` the error.

    `lasting` is true for an error of the bytes of the file, false for one of the system, which may pass.
    """

    def __init__(self, path: Path, reason: str, *, lasting: bool = True) -> None:
        self.path, self.reason, self.lasting = path, reason, lasting
        super().__init__(f"{str(path)!r}: {reason}")


class TooManyPixelsError(ImageError):
    """An image above the limit; `pixels` is how many it would have, None where it is not known."""

    def __init__(self, path: Path, pixels: int | None, limit: int) -> None:
        self.pixels = pixels
        super().__init__(path, too_many_pixels(pixels, limit))


def pixel_limit(given: int | None = None) -> int:
    """Return how many pixels an image may have: as given, else DLW_MAX_PIXELS, else `MAX_PIXELS`."""
    text = os.environ.get("DLW_MAX_PIXELS", "").strip()
    if given is not None or not text:
        return MAX_PIXELS if given is None else given
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"DLW_MAX_PIXELS: must be a whole number of pixels, at least 1, not {text!r}")
    return int(text)


def too_many_pixels(pixels: int | None, limit: int) -> str:
    """Return the message for an image above the limit: how large it is, and how to read it nevertheless."""
    size = f"{pixels:,} pixels" if pixels else "more pixels"
    way_out = f"DLW_MAX_PIXELS={pixels}" if pixels else "DLW_MAX_PIXELS"
    return f"has {size}, above the limit of {limit:,}; set {way_out} if you trust it"


def load_image(
    path: str | os.PathLike[str],
    channels: int = 3,
    *,
    max_pixels: int | None = None,
    least: int | None = None,
    content: bytes | None = None,
    longest: int | None = None,
    value_range: ValueRange = None,
) -> Image.Image:
    """Read an image of any mode as grey (1 channel) or RGB (3), upright by its EXIF data.

    16-bit and float images are scaled to 8 bits by `value_range`, transparent parts become white. Raises ImageError
    for a file that cannot be decoded, or that has more than `max_pixels` (see `pixel_limit`). With `least`, a JPEG may
    be decoded to a half, a quarter or an eighth of its size, as long as each side keeps that many pixels. With
    `content`, these bytes are read, and `path` is what they are called. With `longest`, it is shrunk until no side has
    more pixels.
    """
    limits = {"max_pixels": max_pixels, "least": least or longest}
    with decoded(path, channels, **limits, content=content, value_range=value_range) as image:
        if longest is not None:
            image.thumbnail((longest, longest), reducing_gap=2.0)
        return image


@contextmanager
def decoded(
    path: str | os.PathLike[str],
    channels: int = 3,
    *,
    max_pixels: int | None = None,
    least: int | None = None,
    content: bytes | None = None,
    value_range: ValueRange = None,
) -> Iterator[Image.Image]:
    """Yield an image as `load_image` does; its memory counts as in use, and errors are the file's, within the block."""
    with opened(path, max_pixels=max_pixels, least=least, content=content) as image:
        if not is_upright(image):
            ImageOps.exif_transpose(image, in_place=True)  # else it copies images that are upright
        yield to_mode(image, channels, value_range)


_ORIENTATION = (b"\x12\x01", b"\x01\x12")  # the number of its tag, in both orders of bytes
_UPRIGHT = (b"\x12\x01\x03\x00\x01\x00\x00\x00\x01\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x01")  # one short: 1


def is_upright(image: Image.Image) -> bool:
    """Return whether a JPEG's metadata surely names no orientation but upright.

    Parsing its EXIF data, as Pillow does, takes a tenth of the time of decoding a photo.
    """
    found: bytes = image.info.get("exif", b"")
    for entry in _UPRIGHT:
        found = found.replace(entry, b"")
    named = any(tag in found for tag in _ORIENTATION) or b"tiff:Orientation" in image.info.get("xmp", b"")
    return image.format == "JPEG" and not named


@contextmanager
def opened(
    path: str | os.PathLike[str],
    *,
    max_pixels: int | None = None,
    least: int | None = None,
    content: bytes | None = None,
) -> Iterator[Image.Image]:
    """Open an image file, or its `content`, decoded whole. What goes wrong, within the block too, is an ImageError.

    Waits until there is room for it beside what other threads have open (see `BYTES_AT_ONCE`): never nest two.
    """
    path = Path(path)
    limit = pixel_limit(max_pixels)
    try:
        if content is None:
            _check_is_file(path)
        elif not content:
            raise ImageError(path, _EMPTY)
        source = path if content is None else io.BytesIO(content)
        with _pillow_limit(limit), Image.open(source, formats=_FORMATS) as image:
            if image.width * image.height > limit:
                raise TooManyPixelsError(path, image.width * image.height, limit)
            if least is not None:
                image.draft(None, (least, least))
            with _room_for(image.height * (image.width * _BYTES_A_PIXEL + _BYTES_A_ROW)):
                image.load()
                yield image
    except DlwError:
        raise
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise TooManyPixelsError(path, int(found[1]) if found else None, limit) from None
    except Image.UnidentifiedImageError:
        reason = known_as(_head(path) if content is None else content[:16])
        raise ImageError(path, reason or "is no image in a format that is known here") from None
    except Exception as error:  # noqa: BLE001 - a broken file can lead a decoder into any error
        system = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        raise ImageError(path, _reason(error), lasting=not system) from None


def mode_of(path: Path, content: bytes | None = None) -> str:
    """Return Pillow's name for what an image's pixels are, decoding none; '' for a file that cannot be opened."""
    if content is None:
        ending = path.suffix.lower()
        if ending in EIGHT_BITS or (ending in FORMATS["PNG"] and not _has_16_bits(path)):
            return "8 bits"
    try:
        with _pillow_limit(pixel_limit()):
            if content is None:
                _check_is_file(path)
            with Image.open(path if content is None else io.BytesIO(content), formats=_FORMATS) as image:
                return image.mode
    except Exception:  # noqa: BLE001 - decoding it reports what is wrong
        return ""


def _has_16_bits(path: Path) -> bool:
    """Return whether a PNG's header names 16 bits; so it is for a file that is no PNG by its first bytes."""
    head = _head(path, 26)
    return not head.startswith(b"\x89PNG") or head[24:25] == b"\x10"


def _check_is_file(path: Path) -> None:
    """Raise ImageError for what is no plain file: reading a pipe or a device may never end."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(path, "is a folder", lasting=False)
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(path, "is a pipe or a device, not a file", lasting=False)
    if found.st_size == 0:
        raise ImageError(path, _EMPTY)


def _head(path: Path, n_bytes: int = 16) -> bytes:
    try:
        _check_is_file(path)
        with path.open("rb") as stream:
            return stream.read(n_bytes)
    except (OSError, ImageError):
        return b""


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; write / between folders, not \\" if "\\" in str(error.filename) else "no such file"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return f"cannot be decoded ({first_line(error)})"


_room = threading.Condition()
_in_use = 0


@contextmanager
def _room_for(n_bytes: int) -> Iterator[None]:
    """Wait until so many bytes fit beside those that other threads use, or no other thread uses any."""
    global _in_use
    with _room:
        _room.wait_for(lambda: _in_use == 0 or _in_use + n_bytes <= BYTES_AT_ONCE)
        _in_use += n_bytes
    try:
        yield
    finally:
        with _room:
            _in_use -= n_bytes
            _room.notify_all()


def _forget_other_threads() -> None:
    """Start afresh in a forked process, which has none of the threads that held room or the lock."""
    global _room, _in_use, _lock
    _room, _in_use, _lock = threading.Condition(), 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


class _Limit(int):
    """Pillow warns above its limit and raises above twice that; twice this limit is the limit: it only raises."""

    def __rmul__(self, other: int) -> _Limit:
        return self


_lock = threading.Lock()
_readers = 0
_limit_before: int | None = None


@contextmanager
def _pillow_limit(limit: int) -> Iterator[None]:
    """Make Pillow raise for more pixels than `limit` within the block; its limit is restored afterwards."""
    global _readers, _limit_before
    with _lock:
        if _readers == 0:
            _limit_before = Image.MAX_IMAGE_PIXELS
        _readers += 1
        Image.MAX_IMAGE_PIXELS = _Limit(limit)
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _limit_before
