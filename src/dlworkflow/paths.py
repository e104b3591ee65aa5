"""What a user types for a file or a folder, as paths; opens nothing."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from dlworkflow.errors import MissingDataError


def user_path(given: str | os.PathLike[str]) -> Path:
    """Return a path as it was typed, `~` and `~name` being homes; where there is no such home, it is a plain name."""
    return Path(os.path.expanduser(given))  # noqa: PTH111 - Path.expanduser fails where there is no such home


def matching_paths(given: str) -> list[Path]:
    """Return what a user means by a path or a pattern, sorted; a path that is there is never a pattern.

    Raises MissingDataError for a pattern that nothing fits.
    """
    path = user_path(given)
    if path.exists() or not glob.has_magic(given):
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        raise MissingDataError(f"no file fits {given!r}")
    return found
