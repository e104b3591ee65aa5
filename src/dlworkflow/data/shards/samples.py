"""The samples of one tar file, in its order and held one at a time; each is an image's bytes and a label.

Members belong together by WebDataset's convention: `key.jpg` and `key.cls`, one after the other. Nothing is extracted
to the disk, unpickled or decoded here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dlworkflow.data.images.formats import IMAGE_EXTENSIONS
from dlworkflow.errors import DataError, MissingDataError, first_line, not_installed, system_reason
from dlworkflow.files.paths import open_regular

MOST_BYTES = 2**30
"""The most bytes of a member: it is held in memory."""

_AT_ONCE = 2**20
_MOST_DIGITS = 5  # a class more than that is a mistake, and each would be counted


class Sample(NamedTuple):
    """An image's bytes, empty where only labels are read, its label, and where both are."""

    shard: Path
    member: str
    image: bytes
    label: int

    def fault(self, reason: str) -> str:
        """Return what is wrong with it, and where it is."""
        return f"{str(self.shard)!r}: member {self.member!r}: {reason}"


def need_webdataset() -> None:
    """Raise DataError that says how to install what reads shards, where it is missing."""
    if find_spec("webdataset") is None:
        raise DataError(not_installed("a shard", "webdataset", "shards"))


def read_samples(path: Path, *, images: bool = True) -> Iterator[Sample]:
    """Yield the samples of a tar file from first to last; without `images`, these are skipped, not read.

    Raises DataError naming the file and, where it is one, the member, for what is damaged or no sample.
    """
    from webdataset.tariterators import group_by_keys

    try:
        for members in group_by_keys(_members(path, images)):
            yield _sample(path, members)
    except ValueError as error:  # a member that is there twice
        what = str(error.args[0]).partition(" in tar file")[0]
        raise DataError(f"{str(path)!r}: {what}; write the shard again") from None


def _members(path: Path, images: bool) -> Iterator[dict[str, Any]]:
    """Yield the files within a tar file as webdataset has them."""
    try:
        with open_regular(path, buffering=_AT_ONCE) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined] # it would remember all of them
                if not member.isreg() or member.name.startswith("__"):
                    continue
                if member.issparse() or member.size > MOST_BYTES:
                    size = f"{member.size:,} bytes by its header, more than {MOST_BYTES:,}"
                    raise DataError(f"{str(path)!r}: member {member.name!r} has {size}")
                stream = tar.extractfile(member) if images or member.name.lower().endswith(".cls") else None
                data = stream.read() if stream is not None else b""
                yield {"fname": member.name, "data": data, "__url__": str(path)}
            file.seek(tar.offset)  # a damaged header looks like the end
            _check_end(path, file.read(tarfile.BLOCKSIZE))
    except FileNotFoundError:
        raise MissingDataError(f"no shard {str(path)!r}") from None
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {system_reason(error)}") from None
    except (tarfile.TarError, EOFError, ArithmeticError, ValueError) as error:
        raise _damaged(path, first_line(error)) from None
    except RecursionError:  # tarfile calls itself for each header that only names the next
        raise _damaged(path, "too many headers for one member") from None


def _check_end(path: Path, block: bytes) -> None:
    if len(block) < tarfile.BLOCKSIZE:
        raise _damaged(path, "it was cut short")
    if any(block):
        raise _damaged(path, "a header within it is broken")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{str(path)!r} is no whole tar file ({what}); copy or write it again (a compressed one: unpack it first)"
    )


def _sample(path: Path, members: dict[str, Any]) -> Sample:
    """Take the image and the label out of what belongs together."""
    key = members["__key__"]
    found = [extension for extension in members if f".{extension}" in IMAGE_EXTENSIONS]
    if "cls" not in members:
        others = ", ".join(repr(f"{key}.{extension}") for extension in members if not extension.startswith("__"))
        raise DataError(f"{str(path)!r}: sample {key!r} has no label: no member {f'{key}.cls'!r} beside {others}")
    if len(found) != 1:
        what = "several images" if found else "no image"
        raise DataError(f"{str(path)!r}: sample {key!r} has {what}; one is needed, such as {f'{key}.jpg'!r}")
    text = members["cls"].strip()
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        shown = text[:20].decode(errors="replace")
        raise DataError(
            f"{str(path)!r}: member {f'{key}.cls'!r} holds {shown!r}; a label is a number from 0 to "
            f"{10**_MOST_DIGITS - 1:,}"
        )
    return Sample(path, f"{key}.{found[0]}", members[found[0]], int(text))
