"""Ctrl-C, SIGTERM and a closed terminal stop training after the current batch, a second Ctrl-C at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from types import FrameType
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_HANGUP = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows has no such signal
_NOTED = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None)


class Stopped(BaseException):
    """Training was asked to stop and the current batch has ended; like KeyboardInterrupt, not an `Exception`."""


class Halt(BaseException):
    """Raised by a handler of epochs: training ends after this epoch, and `status` is that of the run."""

    status = "interrupted"


class StopRequest:
    """Whether, and by which signal, this process was asked to stop; with `agree`, any process that trains with it.

    `agree` is given this process's signal, or 0, and returns the highest of all processes.
    """

    def __init__(self, agree: Callable[[int], int] | None = None) -> None:
        self.signal: int | None = None
        self._agree, self._agreed = agree, 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal: the first is kept for `check`, and a Ctrl-C after it raises KeyboardInterrupt at once.

        A further SIGTERM or SIGHUP says nothing new: whoever ends a group of processes sends one to each, and so does
        the parent of each; a shell and the system both report a closed terminal.
        """
        if self.signal is None:
            self.signal = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise Stopped when a signal came."""
        if self._agree is not None:
            self._agreed = self._agree(self.signal or 0)
        if self._agreed or (self.signal is not None and self._agree is None):
            raise Stopped

    def raise_as_asked(self) -> None:
        """Raise what the signal means: KeyboardInterrupt for Ctrl-C, SystemExit(143) for SIGTERM, 129 for SIGHUP."""
        asked = self.signal or self._agreed or signal.SIGINT
        if asked == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + asked)


class Stoppable(Generic[Item]):
    """Batches that end with Stopped after the one in which a signal came."""

    def __init__(self, batches: Iterable[Item], request: StopRequest) -> None:
        self._batches, self._request = batches, request

    def __iter__(self) -> Iterator[Item]:
        for batch in self._batches:
            yield batch
            self._request.check()

    def __len__(self) -> int:
        if not isinstance(self._batches, Sized):
            raise TypeError("these batches have no length")
        return len(self._batches)


@contextmanager
def noted_signals(agree: Callable[[int], int] | None = None) -> Iterator[StopRequest]:
    """Keep signals for `check` within the block instead of stopping at once; does nothing outside the main thread."""
    request = StopRequest(agree)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[signal.Signals, Any] = {}
    try:
        for number in _NOTED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` and a shell's `&` mean it
                before[number] = signal.signal(number, request.note)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
