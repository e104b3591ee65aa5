"""Standard streams that were closed before `dlw` began (`>&-`), and pipes that nobody reads any more."""

from __future__ import annotations

import io
import os
import select
import sys


class Lost(io.TextIOWrapper):
    """Stands for a stream that was closed: what is written there is lost, and noted."""

    lost = False

    def write(self, text: str) -> int:
        self.lost = True
        return super().write(text)


def replace_closed_streams() -> None:
    """Put something in the place of each closed stream, so that no file gets its number and no `print` fails."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            taken = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            if taken != number:
                os.dup2(taken, number)
                os.close(taken)
        os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, "rb" if name == "stdin" else "wb", closefd=False)  # noqa: SIM115 - as long as we live
            replacement = io.TextIOWrapper(stream) if name == "stdin" else Lost(stream, write_through=True)
            setattr(sys, name, replacement)


def output_is_lost(*, by_others: bool = False) -> bool:
    """Return whether standard output was closed and something was printed there, here or `by_others`."""
    return isinstance(sys.stdout, Lost) and (sys.stdout.lost or by_others)


def is_a_reader_gone() -> bool:
    """Return whether the reader of standard output or error has closed it; True where that cannot be known."""
    if not hasattr(select, "poll"):  # Windows
        return True
    poller = select.poll()
    for stream in (sys.stdout, sys.stderr):
        try:
            poller.register(stream.fileno(), 0)
        except (OSError, ValueError, AttributeError):  # no file: a test's, or a notebook's
            return True
    return bool(poller.poll(0))
