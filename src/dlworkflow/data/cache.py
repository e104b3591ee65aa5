"""Where what can be made again is remembered: facts of picture files (`facts`) and their pixels (`remembered`)."""

from __future__ import annotations

import os
from pathlib import Path

from dlworkflow.paths import user_path


def cache_folder() -> Path | None:
    """Return where things are remembered, whether or not it is there; None where the machine names no place."""
    if given := os.environ.get("DLW_CACHE_DIR"):
        return user_path(given)
    if (given := os.environ.get("XDG_CACHE_HOME")) and Path(given).is_absolute():
        return Path(given, "dlworkflow")
    try:
        return Path.home() / ".cache" / "dlworkflow"
    except RuntimeError:
        return None
