"""Paths as a user types them, and reading a small file as bytes, text or JSON. Knows no file of a run."""

from __future__ import annotations

import errno
import glob
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from dlworkflow.errors import ConfigError, MissingDataError

MOST_BYTES = 256 * 1024**2
"""Settings files, summaries, histories and tables with more bytes are not read."""


def user_path(given: str | os.PathLike[str]) -> Path:
    """Return a typed path with `~` and `~name` expanded; without such a home folder, it is a plain name.

    Raises ConfigError for a web address.
    """
    if "://" in os.fspath(given):
        raise ConfigError(f"{str(given)!r} is an address; only files of this machine are read: fetch it first")
    return Path(os.path.expanduser(given))  # noqa: PTH111 - Path.expanduser fails where there is no such home


def matching_paths(given: str) -> list[Path]:
    """Return the paths that a path or a pattern means, sorted; an existing path is never a pattern.

    Raises MissingDataError for a pattern without matches.
    """
    path = user_path(given)
    if path.exists() or not glob.has_magic(given):
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        raise MissingDataError(f"no file fits {given!r}")
    return found


def open_regular(path: str | os.PathLike[str], *, buffering: int = -1) -> BinaryIO:
    """Open a file for reading. Raises OSError for anything but a regular file: a pipe would block forever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb", buffering)
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_small(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the bytes of a file of at most `most` bytes.

    Raises OSError for a file that cannot be read, that is larger, or that is no file; see `open_regular`.
    """
    with open_regular(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than the {most:,} bytes that are read", str(path))
    return content


def read_small_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the UTF-8 text of a small file, a byte order mark and line ends as Python reads them; see `read_small`.

    Raises UnicodeDecodeError for bytes that are no UTF-8.
    """
    return read_small(path, most).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Return the content of a small JSON file. Raises OSError as `read_small` does, and ValueError for invalid JSON."""
    return parse_json(read_small(path, most))


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text. Raises ValueError for invalid JSON, deep nesting, or a number beyond floats."""
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is beyond any range")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
