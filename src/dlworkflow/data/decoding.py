"""Opening one picture: decoded whole, refused by name when it is broken or too large; knows no data set.

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

from dlworkflow.data.formats import FORMATS, known_as
from dlworkflow.errors import ConfigError, DataError, DlwError, first_line

MAX_PIXELS = 89_478_485
"""A picture of more pixels is refused, as a decompression bomb: 256 MiB as RGB. DLW_MAX_PIXELS sets another limit."""

_MODES = {1: "L", 3: "RGB"}
_FORMATS = tuple(name for name in FORMATS if name != "AVIF" or find_spec("PIL.AvifImagePlugin"))  # Pillow 11.3 has it
_EMPTY = "is empty (0 bytes)"


class ImageError(DataError):
    """A file that is no readable picture; `path` and `reason` say which and why.

    `lasting` tells that the bytes of the file are at fault, not the system's answer, which may be another tomorrow.
    """

    def __init__(self, path: Path, reason: str, *, lasting: bool = True) -> None:
        self.path, self.reason, self.lasting = path, reason, lasting
        super().__init__(f"{str(path)!r}: {reason}")


class TooManyPixelsError(ImageError):
    """A picture above the limit; `pixels` is how many it would have, None where that could not be told."""

    def __init__(self, path: Path, pixels: int | None, limit: int) -> None:
        self.pixels = pixels
        super().__init__(path, too_many_pixels(pixels, limit))


def pixel_limit(given: int | None = None) -> int:
    """Return how many pixels a picture may have: as given, else DLW_MAX_PIXELS, else `MAX_PIXELS`."""
    text = os.environ.get("DLW_MAX_PIXELS", "").strip()
    if given is not None or not text:
        return MAX_PIXELS if given is None else given
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"DLW_MAX_PIXELS: must be a whole number of pixels, at least 1, not {text!r}")
    return int(text)


def too_many_pixels(pixels: int | None, limit: int) -> str:
    """Say that a picture is refused, how large it is, and how to read it nevertheless."""
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
) -> Image.Image:
    """Read a picture of any mode as grey (1 channel) or RGB (3), the way up that its EXIF data says.

    16-bit and float pictures are scaled to 8 bits, transparency is laid on white. Raises ImageError for a file that
    cannot be decoded, or that has more than `max_pixels` (see `pixel_limit`). With `least`, a JPEG may be decoded to a
    half, a quarter or an eighth of its size, as long as each side keeps that many pixels. With `content`, these bytes
    are read, and `path` is what they are called.
    """
    with opened(path, max_pixels=max_pixels, least=least, content=content) as image:
        ImageOps.exif_transpose(image, in_place=True)  # else it copies pictures that are upright
        return to_mode(image, channels)


@contextmanager
def opened(
    path: str | os.PathLike[str],
    *,
    max_pixels: int | None = None,
    least: int | None = None,
    content: bytes | None = None,
) -> Iterator[Image.Image]:
    """Open a picture file, or its `content`, decoded whole. What goes wrong, within the block too, is an ImageError."""
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
            image.load()
            yield image
    except DlwError:
        raise
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise TooManyPixelsError(path, int(found[1]) if found else None, limit) from None
    except Image.UnidentifiedImageError:
        reason = known_as(_head(path) if content is None else content[:16])
        raise ImageError(path, reason or "is no picture in a format that is known here") from None
    except Exception as error:  # noqa: BLE001 - a broken file can lead a decoder into any error
        system = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        raise ImageError(path, _reason(error), lasting=not system) from None


def to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Bring a picture of any mode to 8-bit grey (1 channel) or RGB (3)."""
    if channels not in _MODES:
        raise DataError(f"pictures have 1 channel (grey) or 3 (RGB), not {channels}")
    mode = _MODES[channels]
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(canvas, image)
    return image.convert(mode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits (0 to 65,535), 32 bits or float ([0, 1], or 0 to 255) to 8 bits."""
    import numpy as np

    values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0, posinf=0, neginf=0)
    if image.mode == "F":
        scale = 255.0 if values.max(initial=0) <= 1 else 1.0
    else:
        scale = 1 / 257 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))


def _check_is_file(path: Path) -> None:
    """Raise ImageError for what is no plain file: reading a pipe or a device may never end."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(path, "is a folder", lasting=False)
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(path, "is a pipe or a device, not a file", lasting=False)
    if found.st_size == 0:
        raise ImageError(path, _EMPTY)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError:
        return b""


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; write / between folders, not \\" if "\\" in str(error.filename) else "no such file"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return f"cannot be decoded ({first_line(error)})"


class _Limit(int):
    """Pillow warns above its limit and refuses above twice that; twice this limit is the limit: it only refuses."""

    def __rmul__(self, other: int) -> _Limit:
        return self


_lock = threading.Lock()
_readers = 0
_limit_before: int | None = None


@contextmanager
def _pillow_limit(limit: int) -> Iterator[None]:
    """Let Pillow refuse what is above `limit` while pictures are read here; other code finds its own limit again."""
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
