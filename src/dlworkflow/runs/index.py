"""A short form of the runs in a folder, in one hidden file beside them, so that thousands are compared at once.

What it has of a run counts only while every file that this was read from has the time, size and inode that it had.
Deleting it costs the time to read the runs again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlworkflow._version import __version__
from dlworkflow.errors import RunError
from dlworkflow.files.writing import write_whole

INDEX = ".dlworkflow-index.json"
_LEAST = 50  # runs that were read: of fewer no index is worth its file
_SETTLED = 2 * 10**9  # nanoseconds after which a file that is written again has another time, on any file system
_HEAD = {"format": 1, "version": __version__}
_MOST_BYTES = 2**28

State = list[int]
Known = tuple[str, dict[str, Any], dict[str, Any]]
"""When a run started, its row and its settings."""

_read: dict[Path, tuple[State, RunIndex]] = {}


class RunIndex:
    """What is known of the runs in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, list[Any]] = {}
        self._changed = 0
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):  # as if there was none
            self._rows = _rows_in(folder / INDEX)

    @classmethod
    def of(cls, folder: Path) -> RunIndex:
        """Return the index of a folder as its file is now; it is read once."""
        state = states(folder, [INDEX])
        if folder not in _read or _read[folder][0] != state:
            _read[folder] = (state, cls(folder))
        return _read[folder][1]

    def started(self, name: str, summary: State) -> str | None:
        """Return when a run started, None where its summary is no longer in the state `summary`."""
        row = self._rows.get(name)
        return row[1] if row is not None and row[0][: len(summary)] == summary else None

    def get(self, name: str, now: State) -> Known | None:
        """Return what is known of a run whose files are in this state, None where nothing is."""
        row = self._rows.get(name)
        return (row[1], row[2], row[3]) if row is not None and row[0] == now else None

    def put(self, name: str, then: State, known: Known) -> None:
        """Keep this of a run, read from files in the state `then`, unless one may change without another time."""
        if max(then[::3]) < time.time_ns() - _SETTLED:
            self._rows[name] = [then, *known]
            self._changed += 1

    def write(self) -> None:
        """Write what is known of runs that are there, where enough is new; a folder that refuses has no index."""
        if self._changed < _LEAST:
            return
        self._changed = 0
        rows = {name: row for name, row in self._rows.items() if os.path.isdir(self._folder / name)}  # noqa: PTH112
        content = json.dumps(_HEAD | _packed(rows), separators=(",", ":")).encode()
        with suppress(RunError):
            write_whole(self._folder / INDEX, lambda stream: stream.write(_digest(content) + b"\n" + content))


def states(folder: str | os.PathLike[str], files: Sequence[str]) -> State:
    """Return time, size and inode of files of a run, a file after the other; zeros for one that is not there."""
    found: State = []
    for file in files:
        try:
            state = os.stat(f"{os.fspath(folder)}/{file}")  # noqa: PTH116 - a Path for each takes longer than the call
        except OSError:
            found += (0, 0, 0)
        else:
            found += (state.st_mtime_ns, state.st_size, state.st_ino)
    return found


def _rows_in(file: Path) -> dict[str, list[Any]]:
    if file.stat().st_size > _MOST_BYTES:
        return {}
    check, _, content = file.read_bytes().partition(b"\n")
    if check != _digest(content):
        return {}
    found = json.loads(content)
    if any(found[key] != value for key, value in _HEAD.items()):
        return {}
    bases, rows = found["settings"], found["runs"]
    for row in rows.values():
        row[3:] = [bases[row[3]] | row[4]]
    return dict(rows)


def _packed(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return rows of which each has, for settings, the number of similar ones and what differs from them."""
    bases: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
    packed = {}
    for name, (state, started, row, settings) in rows.items():
        number, base = bases.setdefault(tuple(settings), (len(bases), settings))
        own = {key: value for key, value in settings.items() if json.dumps(value) != json.dumps(base[key])}
        packed[name] = [state, started, row, number, own]
    return {"settings": [base for _, base in bases.values()], "runs": packed}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()
