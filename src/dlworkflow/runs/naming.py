"""Names of folders and files of a run: safe on every system, numbered."""

from __future__ import annotations

import errno
import re
from pathlib import Path

_LONGEST = 200  # bytes of a run's name without its number; file systems take 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)\.", re.IGNORECASE)


def safe_name(stem: str) -> str:
    """Return a name that is a single folder on every system, whatever a data set is called."""
    name = re.sub(r"[^\w.+-]+", "_", stem).strip("._-")
    if _RESERVED.match(name):  # Windows reserves con and con.x, but not con-001
        name = name.replace(".", "_", 1)
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    return name or "run"


def number_folder(new: Path, stem: str) -> Path:
    """Rename a complete folder to the next free `stem-NNN` beside it: a run appears as a whole or not at all."""
    pattern = re.compile(re.escape(stem) + r"-(\d+)")
    taken = [int(found[1]) for path in new.parent.iterdir() if (found := pattern.fullmatch(path.name))]
    number = max(taken, default=0) + 1
    while True:
        path = new.with_name(f"{stem}-{number:03d}")
        try:
            return new.rename(path)
        except OSError as error:  # another process was faster
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or not path.exists():
                raise
            number += 1


OUT_OF_FOLD = "out-of-fold"
"""The split of a cross-validation: all training samples, each predicted by a model that has not seen it."""


def of_split(name: str, split: str) -> str:
    """Return the name of a file about a split: `errors.csv`, `errors-val.csv`.

    The test split is not named, and neither are the folds of a cross-validation, all that its folder has.
    """
    stem, dot, suffix = name.partition(".")
    return name if split in ("test", OUT_OF_FOLD) else f"{stem}-{safe_name(split)}{dot}{suffix}"
