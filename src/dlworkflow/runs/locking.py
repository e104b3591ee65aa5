"""A lock on a file that ends with the process that holds it; without file locks, nothing is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked_file(path: Path) -> Iterator[bool | None]:
    """Try to lock a file within the block; give True or False, or None where that cannot be told."""
    if fcntl is None:
        yield None
        return
    try:
        stream = path.open("a")
    except OSError:
        yield None  # a read-only folder: nobody writes there
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            yield None
        else:
            yield True
