"""Work on items in chunks, on all cores and in order; knows no model and no file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any


def on_all_cores(
    work: Callable[[Any], Any], items: Iterable[Any], prepare: Callable[[], object] | None = None
) -> Iterator[Any]:
    """Yield what `work` returns for each item, in order; each core works on one, a little ahead.

    `prepare` is called in each thread before its first item.
    """
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores, initializer=prepare) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                while len(waiting) > cores + 1 or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items, the last of which may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
