"""Where what can be made again is remembered: facts of picture files, their pixels, and what shards hold."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

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


def read_remembered(file: Path, key: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping `key` of a remembered file; {} where the file is missing or damaged, or its head another."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(rows := found.pop(key, None), dict) or found != head:
        return {}
    return rows


def write_remembered(file: Path, text: str) -> None:
    """Write an ASCII text, whole or not at all; a place that cannot be written is no fault."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".new-", delete=False, encoding="ascii") as out:
            temporary = Path(out.name)
            try:
                out.write(text)
                out.flush()
                temporary.replace(file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
