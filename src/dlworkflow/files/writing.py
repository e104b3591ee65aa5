"""Files and folders are written as a whole or not at all, and never over other files. Knows no format.

An unfinished file has a temporary name beside its target, `.NAME.0123456789abcdef.dlw-tmp`, and the process that writes
it has it locked. `clear_leftovers` deletes only such files, and only those that no process has locked.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dlworkflow.errors import ConfigError, FileTakenError, RunError, system_reason
from dlworkflow.files.locking import IS_POSIX, try_lock, wait_for_lock

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.dlw-tmp", re.DOTALL)
_LONGEST = 50  # letters of a name within its temporary one: file systems take 255 bytes
_ABANDONED = 24 * 60 * 60  # seconds after which nobody still writes it, where there are no locks to tell
_STREAMS = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/self/fd/\d+")


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, replace: bool = True) -> Path:
    """Call `write` with a temporary file, then rename it to `path`; return the path.

    An existing file stays until the new one is complete, and without `replace` for good. Raises RunError with the name
    of a file that cannot be written and ConfigError for one that exists and stays; leaves no temporary file.
    """
    stream = None
    try:
        stream = unfinished_file(path)
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
        finish_file(stream, path, replace=replace)
    except FileExistsError:
        raise _taken(repr(str(path))) from None
    except (OSError, RuntimeError) as error:  # torch wraps what the disk says in a RuntimeError
        raise RunError(f"cannot write {str(path)!r}: {system_reason(error)}") from None
    finally:
        if stream is not None:
            drop_file(stream)
    return path


def write_text(path: Path, text: str) -> Path:
    r"""Write a UTF-8 text; see `write_whole`.

    Bytes of a file's name that are no text are written as \udce9 is: JSON and YAML read them back as they were.
    """
    return write_whole(path, lambda stream: stream.write(text.encode(errors="backslashreplace")))


def check_output(path: Path, *, option: str = "", overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Raise ConfigError, naming the option, unless a file that a user asks for may be written at `path`.

    An existing file is kept without `overwrite`; with it, too, where it is one of `inputs` or inside one of them.
    """
    where = f"{option}: {str(path)!r}" if option else repr(str(path))
    try:
        if is_device(path):
            return
        if path.is_dir():
            raise ConfigError(f"{where} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise RunError(f"cannot write {str(path)!r}: No such file or directory")
        if not os.path.lexists(path):
            return
        for given in inputs:
            if is_same_or_within(path, given):
                raise ConfigError(f"{where} is an input of this command, which is never overwritten; name another file")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: {system_reason(error)}") from None
    if not overwrite:
        raise _taken(where)


def check_new_folder(folder: Path, *, option: str) -> None:
    """Raise ConfigError, naming the option, where a new folder is to be and there is something: an empty folder may."""
    try:
        taken = os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise ConfigError(f"{option}: {str(folder)!r}: {error.strerror}") from None
    if taken:
        raise ConfigError(f"{option}: {str(folder)!r} exists already; name another folder, or remove it first")


def write_output(path: Path, write: Callable[[IO[bytes]], object], *, overwrite: bool = False) -> Path:
    """Write a file that a user asked for, as `check_output` allows: whole, or straight into a device or a pipe."""
    if not is_device(path):
        return write_whole(path, write, replace=overwrite)
    try:
        with path.open("ab") as stream:  # to append: a file behind /dev/stdout keeps its content
            write(stream)
    except OSError as error:
        raise RunError(f"cannot write {str(path)!r}: {system_reason(error)}") from None
    return path


def free_name(path: Path) -> Path:
    """Return the path, or the first of `name-2.png`, `name-3.png`, ... that does not exist."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def is_device(path: Path) -> bool:
    """Return whether a path is a device or a pipe, which is written to but never replaced: /dev/stdout, /dev/null."""
    if _STREAMS.fullmatch(str(path)):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def is_same_or_within(path: Path, given: Path) -> bool:
    """Return whether a path is an existing file or folder, or inside that folder, by whatever names."""
    with suppress(OSError, ValueError):  # an input that is not there is no file to be kept
        if path.exists() and path.samefile(given):
            return True
        return given.is_dir() and path.resolve().is_relative_to(given.resolve())
    return False


def _taken(where: str) -> FileTakenError:
    return FileTakenError(f"{where} exists already; name another file, or replace it with --overwrite")


def unfinished_file(target: Path) -> IO[bytes]:
    """Open a new file under a temporary name beside `target`, to be passed to `finish_file` or `drop_file`."""
    while True:
        stream = _temporary_name(target).open("xb")
        if _is_kept(stream.fileno(), Path(stream.name)):
            return stream
        stream.close()


def finish_file(stream: IO[bytes], target: Path, *, replace: bool = True) -> None:
    """Rename an unfinished file to its target. Raises FileExistsError for an existing one without `replace`."""
    stream.flush()
    temporary = Path(stream.name)
    if not IS_POSIX:
        stream.close()  # Windows renames no open file; elsewhere it stays locked until it has its name
    if replace:
        temporary.replace(target)
    else:
        _place_new(temporary, target)
    stream.close()


def drop_file(stream: IO[bytes]) -> None:
    """Close a file and remove it if it is still unfinished."""
    with suppress(OSError):  # a full disk complains again of what is still to be written
        stream.close()
    Path(stream.name).unlink(missing_ok=True)


def _place_new(temporary: Path, target: Path) -> None:
    """Give a file a name that must be free: two processes at once never write over each other."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        target.open("xb").close()
        temporary.replace(target)
    else:
        temporary.unlink()


@contextmanager
def unfinished_folder(target: Path) -> Iterator[Path]:
    """Make a new folder under a temporary name beside `target`; it is removed unless it is renamed within the block."""
    while True:
        folder = _temporary_name(target)
        folder.mkdir()
        try:
            lock = os.open(folder, os.O_RDONLY) if IS_POSIX else None
        except FileNotFoundError:  # another process took it for a leftover just before
            continue
        if lock is None or _is_kept(lock, folder):
            break
        os.close(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def clear_leftovers(folder: Path, names: str = ".+", contents: str = "") -> None:
    """Remove unfinished files that no process has locked and whose target fits the regular expression `names`.

    In unfinished folders, the files whose names fit `contents` are removed, and the folder if nothing else is in it.
    Nothing else is touched, and no link is followed.
    """
    with suppress(OSError):  # a folder that cannot be read keeps what is in it
        for path in folder.iterdir():
            if _is_temporary(path.name, names):
                with suppress(OSError):  # another process removed it, or it is not to be removed by this user
                    _remove_abandoned(path, contents)


def _is_temporary(name: str, of: str) -> bool:
    """Return whether a name is a temporary one for a name that fits the regular expression `of`."""
    found = _TEMPORARY.fullmatch(name)
    return found is not None and re.fullmatch(of, found[1], re.DOTALL) is not None


def name_in_temporary(name: str) -> str:
    """Return the regular expression for a name's part of its temporary one, to be passed to `clear_leftovers`."""
    return re.escape(name[:_LONGEST])


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name[:_LONGEST]}.{os.urandom(8).hex()}.dlw-tmp")


def _is_kept(descriptor: int, path: Path) -> bool:
    """Lock what was just made; return False where another process has removed it as a leftover just before."""
    wait_for_lock(descriptor)
    return os.path.lexists(path)


def _remove_abandoned(path: Path, contents: str) -> None:
    """Remove an unfinished file or folder unless a process has locked it."""
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK"))
    descriptor = os.open(path, os.O_RDONLY | sum(flags))
    try:
        state = os.fstat(descriptor)
        free = try_lock(descriptor)
        if free is False or (free is None and time.time() - state.st_mtime < _ABANDONED):
            return
        if stat.S_ISREG(state.st_mode):
            path.unlink()
        elif stat.S_ISDIR(state.st_mode):
            for file in path.iterdir():
                if re.fullmatch(contents, file.name) or _is_temporary(file.name, contents):
                    file.unlink()
            path.rmdir()
    finally:
        os.close(descriptor)
