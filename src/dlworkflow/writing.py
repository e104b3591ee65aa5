"""Writing a file whole or not at all: to a temporary name beside it, flushed to disk, renamed. Knows no format."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dlworkflow.errors import RunError, first_line


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Let `write` fill a temporary file, then put it in the place of `path`; return the path.

    What was there before stays until the new file is whole. Raises RunError naming the file that cannot be written,
    and leaves nothing behind.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as stream:
            temporary = Path(stream.name)
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps what the disk says in a RuntimeError
        raise RunError(f"cannot write {str(path)!r}: {first_line(error)}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    r"""Write a UTF-8 text; see `write_whole`.

    Bytes of a file's name that are no text are written as \udce9 is: JSON and YAML read them back as they were.
    """
    return write_whole(path, lambda stream: stream.write(text.encode(errors="backslashreplace")))


def umask() -> int:
    """Return the process's umask: temporary files are private, finished ones as others are."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
