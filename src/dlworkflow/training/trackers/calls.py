"""Calls of trackers: whatever fails in one is a single warning, and nothing outside of it changes."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dlworkflow.engine.random_state import kept_generators
from dlworkflow.errors import reason_of
from dlworkflow.training.trackers import TRACKERS, Tracker

_log = logging.getLogger(__name__)


class Calls:
    """The trackers that are open, by name; one that fails is closed to further calls."""

    def __init__(self, what: str, on_lost: Callable[[str], object] = lambda _: None) -> None:
        self._what, self._on_lost = what, on_lost
        """What is reported on, for the warning; what is called with the name of a tracker that has failed."""
        self.open: dict[str, Tracker] = {}

    def make(self, name: str, settings: Mapping[str, Any], start: Callable[[Tracker], object]) -> bool:
        """Make a tracker and call `start` with it; return whether it is open."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what packages warn of as they are imported
            try:
                with kept_generators():
                    self.open[name] = TRACKERS.build(name, settings)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the code of others raises
                self._leave_out(name, error)
                return False
            return self.call(name, start)

    def call(self, name: str, function: Callable[[Any], object]) -> bool:
        """Call `function` with an open tracker; return whether it did not fail."""
        tracker = self.open[name]
        try:
            with kept_generators(), _environment(tracker.environment), _silence(tracker.silenced):
                function(tracker)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the code of others raises
            self._leave_out(name, error)
            return False
        return True

    def call_all(self, function: Callable[[Any], object]) -> None:
        """Call `function` with each open tracker."""
        for name in list(self.open):
            self.call(name, function)

    def _leave_out(self, name: str, error: BaseException) -> None:
        self.open.pop(name, None)
        self._on_lost(name)
        _log.warning("warning tracker %s failed and is left out of %s: %s", name, self._what, reason_of(error))


def checked_id(given: Any) -> str | None:
    """Return what a tracker returned for a run or a sweep, which is kept in a file. Raises TypeError for no text."""
    if not isinstance(given, str | None):
        raise TypeError(f"what it returns at the start must be text or None, not {type(given).__name__}")
    return given


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set."""
    new = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _silence(names: Iterable[str]) -> Iterator[None]:
    """Let loggers say nothing."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
