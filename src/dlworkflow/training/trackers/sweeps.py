"""The trackers of a sweep, in the process that runs it: what stands above the runs that its workers report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlworkflow.config.command_line import flat
from dlworkflow.config.settings import trackers_in
from dlworkflow.training.trackers import Tracked, Tracker
from dlworkflow.training.trackers.calls import Calls, checked_id
from dlworkflow.training.trackers.tracking import forget_lost


class SweepTracking:
    """The trackers of the sweep in `folder`; `kept` is what `start` returned in an earlier call of it."""

    def __init__(
        self,
        folder: Path,
        base: Mapping[str, Any],
        search: Mapping[str, Any],
        *,
        kept: Mapping[str, str | None] | None = None,
    ) -> None:
        self._folder, self._wanted, self._kept = folder.resolve(), trackers_in(base.get("track")), kept or {}
        own = {f"sweep.{key}": value for key, value in search.items() if value is not None}
        self._settings = flat(base) | own
        self._calls = Calls(folder.name)

    def start(self) -> tuple[dict[str, str | None] | None, list[str]]:
        """Open the trackers; return what each says of the sweep, None where none are set, and those that failed.

        One that failed has what it returned in an earlier call: the next one continues with that.
        """
        if not self._wanted:
            return None, []
        forget_lost(self._folder)
        found = {name: self._kept.get(name) for name in self._wanted}
        for name, settings in self._wanted.items():
            sweep = Tracked(self._folder.name, self._folder, self._folder.parent, self._settings, self._kept.get(name))

            def start(tracker: Tracker, name: str = name, sweep: Tracked = sweep) -> None:
                found[name] = checked_id(tracker.start_sweep(sweep))

            self._calls.make(name, settings, start)
        return found, [name for name in self._wanted if name not in self._calls.open]

    def end(self, status: str) -> None:
        """Report the end of the sweep, or of this call of it."""
        self._calls.call_all(lambda tracker: tracker.end_sweep(status))
