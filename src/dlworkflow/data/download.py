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
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from dlworkflow.errors import DataError, MissingDataError, first_line, system_reason
from dlworkflow.files.paths import user_path

TIMEOUT_SECONDS = 30
UNPACKED_LIMIT = 10
"""The most that an archive may unpack to, as a multiple of its own size."""

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, ValueError)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)

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

    @property
    def size_text(self) -> str:
        """The size in MB, empty where it is not known."""
        return f"{self.size / 1e6:.1f} MB" if self.size is not None else ""


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
            f"cannot write {str(folder)!r}: {system_reason(error)}; name another folder with --data-dir"
        ) from None
    return folder


def fetch_archive(
    archive: Remote,
    folder: Path,
    *,
    offline: bool = False,
    keep: bool = False,
    top_folder: str = "",
    on_unpack: Callable[[], object] = lambda: None,
) -> Path:
    """Fetch a zip or tar file and unpack it as `folder`, which appears only when it is whole; return it.

    A copy of the archive beside `folder` under its own name is used instead of the network, and stays. A fetched
    archive is put there with `keep`. `folder` is the archive's `top_folder`, where it has one. `on_unpack` is called
    before the archive is unpacked.
    """

    def unpack(fetched: Path) -> Path:
        on_unpack()
        unpacked = extract(fetched / archive.name, fetched / "unpacked") / top_folder
        if not unpacked.is_dir():
            raise DataError(f"{archive.name} has no folder {top_folder!r}")
        if keep and not (beside := folder.parent / archive.name).exists():
            (fetched / archive.name).replace(beside)
        return unpacked

    return fetch([archive], folder, offline=offline, finish=unpack)


def _download(file: Remote, target: Path, by_hand: str) -> None:
    size = f" ({file.size_text})" if file.size_text else ""
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


def extract(archive: Path, folder: Path) -> Path:
    """Unpack a zip or tar file into a new folder and return it; raises DataError where a member would leave the folder.

    Raises DataError naming the member for absolute paths, `..`, links and devices, and for an archive that unpacks to
    far more than its own size or is damaged.
    """
    is_tar = archive.name.casefold().endswith((".tar", ".tar.gz", ".tgz"))
    try:
        if is_tar:
            _extract_tar(archive, folder)
        else:
            _extract_zip(archive, folder)
    except (OSError, *_DAMAGE) as error:
        if getattr(error, "errno", None) in _OF_THE_DISK:
            raise
        raise DataError(f"{archive.name} is no whole {'tar' if is_tar else 'zip'} file: {first_line(error)}") from None
    folder.mkdir(exist_ok=True)
    return folder


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        links = {member.filename for member in members if stat.S_ISLNK(member.external_attr >> 16)}
        _check_members(archive, {member.filename: member.file_size for member in members}, links)
        for member in members:
            packed.extract(member, folder)


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
        links = {member.name for member in members if not (member.isfile() or member.isdir())}
        _check_members(archive, {member.name: member.size for member in members}, links)
        for member in members:
            if member.isdir():
                (folder / member.name).mkdir(parents=True, exist_ok=True)
            elif (content := packed.extractfile(member)) is not None:
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                with (folder / member.name).open("wb") as out:
                    shutil.copyfileobj(content, out)


def _check_members(archive: Path, sizes: Mapping[str, int], links: Collection[str]) -> None:
    """Raise DataError unless every member is a file or folder within the archive's folder and all are not too large."""
    for name in sizes:
        parts = Path(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
            raise DataError(f"{archive.name}: member {name!r} would be written outside its folder")
        if name in links:
            raise DataError(f"{archive.name}: member {name!r} is a link or a device")
    total = sum(sizes.values())
    if total > max(archive.stat().st_size, 1 << 20) * UNPACKED_LIMIT:
        raise DataError(f"{archive.name}: would unpack to {total:,} bytes, {UNPACKED_LIMIT} times its own size")
