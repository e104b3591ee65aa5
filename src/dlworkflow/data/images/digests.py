"""Digests of files and checksums of rows of bytes; knows no format and no data set."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dlworkflow.files.paths import open_regular, read_small

DIGEST_BYTES = 16
"""Of SHA-256, which today's processors compute at twice the speed of BLAKE2."""

_HELD_BYTES = 64 * 2**20
"""A larger file is never held in memory whole."""


def digest_of(path: Path) -> bytes:
    """Return a digest of a file's bytes, read piece by piece."""
    return _digest_of(path, "sha256")[:DIGEST_BYTES]


def shard_digest(path: Path) -> str:
    """Return a digest of a file's bytes as an index of shards has it."""
    return _digest_of(path, lambda: hashlib.blake2b(digest_size=16)).hex()


def _digest_of(path: Path, algorithm: Any) -> bytes:
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, algorithm).digest()  # type: ignore[arg-type] # it has `readinto`


def read_digested(path: Path) -> tuple[bytes | None, bytes]:
    """Return a file's bytes and their digest; the bytes are None where they are too many to be held.

    Raises OSError for a file that cannot be read.
    """
    size = path.stat().st_size
    if size > _HELD_BYTES:
        return None, digest_of(path)
    content = read_small(path, size)
    return content, hashlib.sha256(content).digest()[:DIGEST_BYTES]


def checksums(rows: Any) -> Any:
    """Return a number for each row of bytes (n, k), (n,) uint64, that changes when any byte of it does.

    A sum of its 8-byte words, each times an odd number of its own: many times as fast as a digest, and enough against
    damage; whoever wants to can find two rows with the same.
    """
    n_words = rows.shape[1] // 8
    words, rest = rows[:, : 8 * n_words].view("<u8"), rows[:, 8 * n_words :]
    factors = _factors(rows.shape[1])
    return words @ factors[:n_words] + rest @ factors[n_words : n_words + rest.shape[1]]


@cache
def _factors(n_bytes: int) -> Any:
    return np.random.PCG64(0).random_raw(n_bytes // 8 + 8) | np.uint64(1)
