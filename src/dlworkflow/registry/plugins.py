"""Entry points of other packages; finding that there are none costs a look at the installed packages' names."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any


def entry_points_of(group: str) -> list[Any]:
    """Return the entry points of other packages in the group `dlworkflow.<group>`."""
    found = _entry_points()
    return list(found.select(group=f"dlworkflow.{group}")) if found is not None else []


@cache
def _entry_points() -> Any:
    """Return all entry points, None where none is in a group of ours; looked for once per process, on the disk.

    `importlib.metadata` takes longer to import than many a command: it is left alone where no file names a group.
    """
    files = (file for folder in sys.path for file in Path(folder).glob("*-info/entry_points.txt"))
    if not any(file.is_file() and os.access(file, os.R_OK) and b"[dlworkflow." in file.read_bytes() for file in files):
        return None
    from importlib.metadata import entry_points

    return entry_points()
