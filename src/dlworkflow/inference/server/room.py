"""How many requests a server has taken and how many bytes they hold, so that it refuses what it has no room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dlworkflow.inference.server.answers import BUSY, Refused
from dlworkflow.inference.server.limits import Limits


class Room:
    """Counts the requests that are handled and the bytes of their bodies; used by one thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._memory = max(limits.memory, limits.bytes)  # the largest request has room where there is no other
        self._requests = self._bytes = 0

    @contextmanager
    def taken(self) -> Iterator[Callable[[int], None]]:
        """Count a request within the block, and the bytes that the function yielded is called with.

        Both raise Refused where there is no more room.
        """
        if self._requests >= self._limits.queue:
            raise Refused(BUSY, f"busy with {self._requests} requests; try again in a second")
        held = 0

        def hold(n_bytes: int) -> None:
            nonlocal held
            if self._bytes + n_bytes > self._memory:
                raise Refused(BUSY, "busy with large requests; try again in a second")
            held += n_bytes
            self._bytes += n_bytes

        self._requests += 1
        try:
            yield hold
        finally:
            self._requests -= 1
            self._bytes -= held
