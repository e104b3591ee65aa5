"""Requests a second and their times of `dlw serve RUN`: one client, and many with batches of 1 and of 32.

    python tests/bench/serving.py RUN IMAGE... [--seconds 10] [--clients 32]

Client and server share the machine's cores; each client sends one image a request and waits for its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple
from urllib.parse import urlsplit

_BOUNDARY = "-----one-image"


@dataclass
class Load:
    """What clients got: how many answers of each status, and the seconds of those with 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


class Served(NamedTuple):
    """A server: its address and its process."""

    address: str
    process: subprocess.Popen[str]


def post(body: bytes, content_type: str, path: str = "/predict") -> bytes:
    """Return a request as it is sent, on a connection that stays open."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


def post_file(name: str, content: bytes) -> bytes:
    """Return a request with one image."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    body = head + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return post(body, f"multipart/form-data; boundary={_BOUNDARY}")


async def ask(address: str, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Let so many clients send these requests in turn, each the next when the one before is answered; at least one."""
    load, end = Load(), time.perf_counter() + seconds
    await asyncio.gather(*(_client(address, requests, start, end, load) for start in range(clients)))
    return load


async def _client(address: str, requests: Sequence[bytes], start: int, end: float, load: Load) -> None:
    place, number = urlsplit(address), start
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    while (began := time.perf_counter()) < end or number == start:
        writer.write(requests[number % len(requests)])
        status = await _status(reader)
        load.statuses[status] += 1
        if status == 200:
            load.seconds.append(time.perf_counter() - began)
        number += 1
    writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read an answer whole and return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    await reader.readexactly(int(length[1]))
    return int(head.split(maxsplit=2)[1])


@contextmanager
def served(run: str, *options: str) -> Iterator[Served]:
    """Serve a run on a free port within the block."""
    command = [sys.executable, "-m", "dlworkflow", "serve", run, "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                yield Served(found[0], process)
                break
    finally:
        process.terminate()
        process.communicate(timeout=60)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--options", default="", help="further options of dlw serve")
    given = parser.parse_args()
    requests = [post_file(path.name, path.read_bytes()) for path in given.images]
    print("| clients | images a batch, at most | requests a second | p50 | p99 |\n|---|---|---|---|---|")
    for clients, size in ((1, 1), (given.clients, 1), (given.clients, 32)):
        with served(given.run, "--batch-size", str(size), *given.options.split()) as (address, _):
            asyncio.run(ask(address, requests, clients=clients, seconds=2))  # warm
            load = asyncio.run(ask(address, requests, clients=clients, seconds=given.seconds))
        percentiles = quantiles(load.seconds, n=100)
        assert set(load.statuses) == {200}, load.statuses
        rate = load.statuses.total() / given.seconds
        print(
            f"| {clients} | {size} | {rate:,.0f} | {1000 * percentiles[49]:.0f} ms | {1000 * percentiles[98]:.0f} ms |"
        )


if __name__ == "__main__":
    main()
