"""Where what can be made again is remembered: facts of image files, their pixels, and what shards hold."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dlworkflow.files.paths import parse_json, read_small, user_path
from dlworkflow.files.writing import clear_leftovers, drop_file, finish_file, unfinished_file

_TAG = "CACHEDIR.TAG"  # the name and the first line by which programs that make backups know a cache
_MARK = b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache that dlworkflow made. It may be deleted at any time.\n"
_SUBFOLDERS = ("pictures", "checks", "shards")
_FINISHED = re.compile(r"[0-9a-f]{24}\.(npy|json)")
_UNUSED_DAYS = 30

_log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return where things are remembered, whether or not it is there.

    None where the machine has no home folder, and with DLW_CACHE=0. The folder holds nothing else and has a mark, as
    DLW_CACHE_DIR may hold anything.
    """
    if os.environ.get("DLW_CACHE") == "0":
        return None
    if given := os.environ.get("DLW_CACHE_DIR"):
        return user_path(given) / "dlworkflow-cache"
    from platformdirs import user_cache_path
    from platformdirs.unix import Unix

    former = Unix("dlworkflow").user_cache_path  # on every system in older versions
    found = former if former.is_dir() else user_cache_path("dlworkflow", appauthor=False)
    return found if found.is_absolute() else None


_rechecking = False


def believes_cache() -> bool:
    """Return whether what is remembered of files may be used without reading them."""
    return not _rechecking


@contextmanager
def rechecked(wanted: bool = True) -> Iterator[None]:
    """Within the block, read everything from the disk and remember it again, if `wanted`."""
    global _rechecking
    before, _rechecking = _rechecking, _rechecking or wanted
    try:
        yield
    finally:
        _rechecking = before


def read_remembered(file: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file remembers of files; {} where it is missing, damaged, of another head or not believed."""
    if not believes_cache():
        return {}
    try:
        check, _, text = read_small(file).partition(b"\n")
        found = parse_json(text) if check == _check(text) else None
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or not isinstance(rows := found.pop("files", None), dict) or found != head:
        return {}
    return rows


def write_remembered(file: Path, text: str) -> None:
    """Write an ASCII text and its digest, whole or not at all; where it cannot be written there is none."""
    with suppress(OSError):
        make_subfolder(file.parent)
        content = text.encode("ascii")
        _write(file, _check(content) + b"\n" + content)


class FileMemory:
    """What was found in the files of a folder, kept in one file of the cache; nothing of a file that has changed.

    A file is known by its path below `root`, its size, inode and times. All that is kept depends on `head` too.
    """

    def __init__(self, kind: str, root: Path | None, head: Mapping[str, Any]) -> None:
        self._base = root if root is None or root.is_dir() else root.parent
        self._head, self._states = head, dict[str, str]()
        self._file = _memory_file(kind, root) if root is not None else None
        rows = read_remembered(self._file, head) if self._file is not None else {}
        self._rows = {name: row for name, row in rows.items() if isinstance(row, list) and row}

    def get(self, path: Path) -> list[Any] | None:
        """Return what is kept of a file, None where nothing is."""
        key = self._key(path)
        state = self._states[key] = state_of(path)
        row = self._rows.get(key)
        return row[1:] if row is not None and state and row[0] == state else None

    def put(self, path: Path, row: Sequence[Any] | None) -> None:
        """Keep this of a file in the state that it was in for `get`, or nothing."""
        key = self._key(path)
        self._rows.pop(key, None)
        if row is not None:
            self._rows[key] = [self._states[key], *row]

    def write(self) -> None:
        """Write what is kept; of files that are gone nothing is."""
        if self._file is not None and self._base is not None:
            rows = {key: row for key, row in self._rows.items() if key in self._states or (self._base / key).exists()}
            text = json.dumps({**self._head, "files": rows}, separators=(",", ":"))
            write_remembered(self._file, text)

    def _key(self, path: Path) -> str:
        base = self._base
        return str(path.absolute() if base is None or not path.is_relative_to(base) else path.relative_to(base))


def state_of(path: Path) -> str:
    """Return a file's size, times and inode; nothing where it cannot be found."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _memory_file(kind: str, root: Path) -> Path | None:
    """Return the file of the cache for a folder or a CSV file; None where it would be among the user's files."""
    folder = cache_folder()
    try:
        home, where = folder.resolve() if folder else None, root.resolve()
    except (OSError, RuntimeError):
        return None
    if home is None or (root.is_dir() and home.is_relative_to(where)):
        return None
    return home / kind / f"{hashlib.blake2b(os.fsencode(where), digest_size=12).hexdigest()}.json"


def make_subfolder(folder: Path) -> None:
    """Make a subfolder of the cache, and the cache folder with its mark; clear what killed processes left there.

    Raises OSError where it cannot be made, or where there is a folder of that name that was not made here.
    """
    home = folder.parent
    home.mkdir(parents=True, exist_ok=True)
    if not _is_marked(home):
        if foreign := [path for path in home.iterdir() if path.name not in _SUBFOLDERS]:  # 0.1 left no mark
            _log.warning("nothing is cached: dlworkflow did not make %s", repr(str(foreign[0])))
            raise FileExistsError(errno.EEXIST, "not made by dlworkflow", str(home))
        _write(home / _TAG, _MARK)
    folder.mkdir(exist_ok=True)
    if folder.is_symlink():
        raise FileExistsError(errno.EEXIST, "a link, not made by dlworkflow", str(folder))
    clear_leftovers(folder)


def sweep(folder: Path) -> None:
    """Delete the finished files in a subfolder of the cache that no run has used for a month; none but ours."""
    if folder.is_symlink() or not _is_marked(folder.parent):
        return
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps too
            state = path.lstat()
            unused = time.time() - state.st_mtime > _UNUSED_DAYS * 24 * 60 * 60
            if unused and _FINISHED.fullmatch(path.name) and stat.S_ISREG(state.st_mode):
                path.unlink()


def _write(file: Path, content: bytes) -> None:
    stream = unfinished_file(file)
    try:
        stream.write(content)
        finish_file(stream, file)
    finally:
        drop_file(stream)


def _is_marked(home: Path) -> bool:
    """Return whether a cache folder was made here."""
    tag = home / _TAG
    try:
        return not tag.is_symlink() and read_small(tag, len(_MARK)) == _MARK
    except OSError:
        return False


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
