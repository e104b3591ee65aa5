"""Image files are read in threads while the first of them are used already. Knows no format and no cache."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from dlworkflow.data.images.decoding import ImageError

_AT_ONCE = 16
"""Files that a thread takes at once."""
_WAITING, _BEGUN, _DONE = range(3)

_changed = threading.Condition()
_jobs: list[Ahead] = []
_all: weakref.WeakSet[Ahead] = weakref.WeakSet()
_threads = 0


class Ahead:
    """Files 0 to n - 1 that are read ahead of whoever needs them.

    `read` reads one into its place and returns what is wrong with it; `finish` is called once all are read, unless one
    could not be. Jobs are worked on one after the other, on all cores; one that somebody waits for goes first.
    """

    def __init__(
        self, n: int, read: Callable[[int], ImageError | None], finish: Callable[[], object] = lambda: None
    ) -> None:
        self.bad: list[ImageError] = []
        self._read, self._finish = read, finish
        self._states = np.zeros(n, np.uint8)
        self._order: Iterator[int] = iter(range(n))
        self._left, self._is_over = n, False
        self._failure: BaseException | None = None
        with _changed:
            _jobs.append(self)
            _all.add(self)
            _start_threads()

    def want(self, order: Sequence[int]) -> None:
        """Read the files that are left in this order, before those of other jobs."""
        with _changed:
            rest = np.flatnonzero(self._states == _WAITING)
            self._order = iter([*order, *rest.tolist()])
            if self in _jobs:
                _jobs.remove(self)
                _jobs.insert(0, self)
                _start_threads()  # a forked process has none yet

    def wait(self, indices: Any) -> bool:
        """Wait until these files, (n,) int64, are read; return whether all could be.

        Where one cannot be read, this waits for all others too, so that `bad` names all such files.
        """
        with _changed:
            missing = indices[self._states[indices] == _WAITING]
        if len(missing):
            self.want(missing.tolist())
        with _changed:
            _changed.wait_for(lambda: self.bad or self._failure or (self._states[indices] == _DONE).all())
        return self.end() if self.bad or self._failure is not None else True

    def end(self) -> bool:
        """Wait until all files are read and `finish` has returned; return whether all could be read."""
        with _changed:
            _changed.wait_for(lambda: self._is_over)
        if self._failure is not None:
            raise self._failure
        return not self.bad

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        return self._is_over

    def _take(self) -> list[int]:
        """Return the next files; nothing where all are begun. The lock is held."""
        taken: list[int] = []
        for index in self._order:
            if self._states[index] == _WAITING:
                self._states[index] = _BEGUN
                taken.append(index)
                if len(taken) == _AT_ONCE:
                    break
        return taken

    def _work(self, indices: Sequence[int]) -> None:
        """Read files, and finish after the last."""
        try:
            bad = [error for index in indices if (error := self._read(index)) is not None]
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits
            bad, self._failure = [], error
        with _changed:
            self.bad += bad
            self._states[indices] = _DONE
            self._left -= len(indices)
            is_last = self._left == 0
            _changed.notify_all()
        if not is_last:
            return
        try:
            if not self.bad and self._failure is None:
                self._finish()
        except BaseException as error:  # noqa: BLE001 - the same
            self._failure = error
        finally:
            with _changed:
                self._is_over = True
                _changed.notify_all()


def _start_threads() -> None:
    """Start threads up to the number of cores; they end when nothing is left. The lock is held."""
    global _threads
    while _threads < (os.cpu_count() or 1):
        _threads += 1
        threading.Thread(target=_work_off, name="decoding ahead", daemon=True).start()


def _work_off() -> None:
    global _threads
    while True:
        with _changed:
            job, indices = _next()
            if job is None:
                _threads -= 1
                return
        job._work(indices)


def _next() -> tuple[Ahead | None, list[int]]:
    """Return what to read next: of the first job that has anything left."""
    while _jobs:
        if taken := _jobs[0]._take():
            return _jobs[0], taken
        del _jobs[0]
    return None, []


def _begin_again() -> None:
    """In a forked process, which has none of the threads, read what they had not read yet."""
    global _changed, _threads
    _changed, _threads = threading.Condition(), 0
    _jobs[:] = [job for job in _all if not job._is_over]
    for job in _jobs:
        job._states[job._states == _BEGUN] = _WAITING
        if (job._states == _DONE).all():
            job._states[-1] = _WAITING  # whoever reads the last one finishes
        job._left = int((job._states == _WAITING).sum())
        job._order = iter(range(len(job._states)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
