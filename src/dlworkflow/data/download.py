"""Fetching published files whole or not at all: to a temporary name, checked by size and digest, then moved into place.

What this library fetches by itself is in a table with its digest; nothing is unpacked outside its folder.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import lzma
import math
import os
import shutil
import ssl
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from dlworkflow.errors import DataError, MissingDataError, first_line
from dlworkflow.files.paths import user_path

TIMEOUT_SECONDS = 30
UNPACKED_LIMIT = 10
"""The most that an archive may unpack to, as a multiple of its own size."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A published file: where it is, its size in bytes, and its digest by the named algorithm.

    Without a size, it has the one that the server announces; without a digest, its content is not checked.
    """

    url: str
    size: int | None = None
    algorithm: str = "sha256"
    digest: str | None = None

    @property
    def name(self) -> str:
        """The file's own name. Raises DataError where the address has none."""
        name = PurePosixPath(urlsplit(self.url).path).name
        if name in ("", ".."):
            raise DataError(f"{self.url!r} names no file to fetch")
        return name


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where data sets are kept: as given, else DLW_DATA_DIR, else `data` in the working folder."""
    return user_path(data_dir or os.environ.get("DLW_DATA_DIR") or "data")


def is_offline(offline: bool = False) -> bool:
    """Return whether downloads are off: by argument, or by DLW_OFFLINE set to anything but 0 or nothing."""
    return offline or os.environ.get("DLW_OFFLINE", "0").casefold() not in ("", "0", "false", "no")


def fetch(
    files: Sequence[Remote],
    folder: Path,
    *,
    offline: bool = False,
    hint: str = "",
    finish: Callable[[Path], Path] = lambda fetched: fetched,
) -> Path:
    """Fetch files into `folder`, which appears only when all are there and whole; return it.

    `finish` gets the folder of the fetched files and returns the one that becomes `folder`.
    Raises MissingDataError that names the file and its place when there is no network or downloads are off.
    """
    names = ", ".join(file.url for file in files)
    by_hand = f"put {names} into {str(folder.parent)!r} yourself and try again" + (f"; {hint}" if hint else "")
    local = [folder.parent / file.name for file in files]
    have = all(file.is_file() for file in local)
    if not have and is_offline(offline):
        raise MissingDataError(f"{folder.name} is not in {str(folder.parent)!r} and fetching is off; {by_hand}")
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{str(folder)!r} is there but is not whole: move it away to fetch it anew, or {by_hand}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            fetched = Path(temporary, "fetched")
            fetched.mkdir()
            for file, copy in zip(files, local, strict=True):
                if have:
                    shutil.copyfile(copy, fetched / file.name)
                    check(fetched / file.name, file)
                else:
                    _download(file, fetched / file.name, by_hand)
            finish(fetched).replace(folder)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        if folder.is_dir() and any(folder.iterdir()):
            return folder  # another process was faster
        raise DataError(
            f"cannot write {str(folder)!r}: {first_line(error)}; name another folder with --data-dir"
        ) from None
    return folder


def fetch_archive(
    archive: Remote,
    folder: Path,
    *,
    offline: bool = False,
    keep: bool = False,
    on_unpack: Callable[[], object] = lambda: None,
) -> Path:
    """Fetch a zip file and unpack it as `folder`, which appears only when it is whole; return it.

    A copy of the archive beside `folder` under its own name is used instead of the network, and stays. A fetched
    archive is put there with `keep`. `on_unpack` is called before the archive is unpacked.
    """

    def unpack(fetched: Path) -> Path:
        on_unpack()
        unpacked = extract_zip(fetched / archive.name, fetched / "unpacked")
        if keep and not (beside := folder.parent / archive.name).exists():
            (fetched / archive.name).replace(beside)
        return unpacked

    return fetch([archive], folder, offline=offline, finish=unpack)


def _download(file: Remote, target: Path, by_hand: str) -> None:
    size = f" ({file.size / 1e6:.1f} MB)" if file.size is not None else ""
    _log.info("fetching %s%s from %s", file.name, size, file.url)
    if not file.url.startswith(("https://", "http://", "file://")):
        raise DataError(f"{file.url!r} is no address to fetch from; it starts with https://")
    try:
        with urlopen(file.url, timeout=TIMEOUT_SECONDS) as answer, target.open("wb") as out:  # noqa: S310 - checked
            announced = answer.headers["Content-Length"] or ""
            if file.size is None and announced.isdecimal():
                file = replace(file, size=int(announced))
            left = math.inf if file.size is None else file.size + 1
            while left > 0 and (chunk := answer.read(int(min(left, 1 << 20)))):
                out.write(chunk)
                left -= len(chunk)
    except (URLError, TimeoutError, ConnectionError, HTTPException, ssl.SSLError) as error:
        reason = getattr(error, "reason", error)
        raise MissingDataError(f"cannot fetch {file.url} ({reason}); {by_hand}") from None
    check(target, file)


def check(path: Path, file: Remote) -> None:
    """Raise DataError unless `path` has the size and digest of the published file, where these are known."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        more = "at least " if size > file.size else ""
        raise DataError(
            f"{file.name} from {file.url} is {more}{size:,} bytes, not the {file.size:,} expected: not kept"
        )
    if file.digest is None:
        return
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.new(file.algorithm, usedforsecurity=False))
    if digest.hexdigest() != file.digest.casefold():
        raise DataError(f"{file.name} from {file.url} has another {file.algorithm} than expected: not kept")


def extract_zip(archive: Path, folder: Path) -> Path:
    """Unpack a zip file into a new folder and return it; raises DataError where a member would leave the folder.

    Raises DataError naming the member for absolute paths, `..`, links, and for an archive that unpacks to far more
    than its own size or is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            total = 0
            for member in packed.infolist():
                parts = Path(member.filename.replace("\\", "/")).parts
                if member.filename.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
                    raise DataError(f"{archive.name}: member {member.filename!r} would be written outside its folder")
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise DataError(f"{archive.name}: member {member.filename!r} is a link")
                total += member.file_size
            if total > max(archive.stat().st_size, 1 << 20) * UNPACKED_LIMIT:
                raise DataError(f"{archive.name}: would unpack to {total:,} bytes, {UNPACKED_LIMIT} times its own size")
            packed.extractall(folder)
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, lzma.LZMAError, ValueError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise DataError(f"{archive.name} is no whole zip file: {first_line(error)}") from None
    folder.mkdir(exist_ok=True)
    return folder
