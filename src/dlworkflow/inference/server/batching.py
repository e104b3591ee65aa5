"""What many requests bring, gathered into batches for one thread that works on them; knows no model and no HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Part(NamedTuple, Generic[Item, Answer]):
    """Some items of a request, at most a batch of them, and where their answers go."""

    items: Sequence[Item]
    answers: asyncio.Future[list[Answer]]


class Batches(Generic[Item, Answer]):
    """Works on items in batches of at most `size`: on all that wait, as soon as the batch before is done.

    `work` returns an answer for each item. It is called in a thread of its own, and what it raises is raised for every
    request with an item in the batch. While it works, further items gather; none waits for a batch to fill up.
    """

    def __init__(self, work: Callable[[list[Item]], Sequence[Answer]], size: int) -> None:
        self._work, self._size = work, size
        self._waiting: deque[_Part[Item, Answer]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "batches")

    async def answers(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answers for some items. If the caller is cancelled, those that still wait are dropped."""
        future, size = asyncio.get_running_loop().create_future, self._size
        parts = [_Part(items[start : start + size], future()) for start in range(0, len(items), size)]
        self._waiting.extend(parts)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work_off())
        found = await asyncio.gather(*(part.answers for part in parts))
        return [answer for answers in found for answer in answers]

    async def _work_off(self) -> None:
        """Answer all that waits, and what arrives meanwhile."""
        while parts := self._next_batch():
            await self._answer(parts)

    def _next_batch(self) -> list[_Part[Item, Answer]]:
        """Take the parts that fit into one batch, oldest first, without those that nobody waits for any more."""
        parts: list[_Part[Item, Answer]] = []
        n = 0
        while self._waiting and n + len(self._waiting[0].items) <= self._size:
            part = self._waiting.popleft()
            if not part.answers.done():
                parts.append(part)
                n += len(part.items)
        return parts

    async def _answer(self, parts: Sequence[_Part[Item, Answer]]) -> None:
        items = [item for part in parts for item in part.items]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)
        except Exception as error:  # noqa: BLE001 - each request reports it
            for part in parts:
                if not part.answers.done():
                    part.answers.set_exception(error)
            return
        each = iter(answers)
        for part in parts:
            own = list(islice(each, len(part.items)))
            if not part.answers.done():
                part.answers.set_result(own)
