"""The scheduler of a Dask cluster: how it is reached, and what its workers offer; an optional extra."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dlworkflow.errors import ConfigError, RunError, first_line, not_installed, short
from dlworkflow.files.paths import read_json, user_path
from dlworkflow.training.sweep import worker

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer for the first time."""

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+|[\w.-]+:\d+")


@dataclass
class Scheduler:
    """A Dask cluster by the address of its scheduler; each task takes `cores` cores or, with `gpu`, a GPU.

    `address` is `tcp://HOST:PORT`, `tls://HOST:PORT` or the path of a scheduler file. Raises ConfigError for what is
    no address, and where Dask is not installed.
    """

    address: str
    cores: int | None = None
    gpu: bool = False
    on_note: Callable[[str], object] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        try:
            import distributed  # noqa: F401 - imported here only to say so early
        except ImportError:
            raise ConfigError(not_installed("--cluster", "Dask", "cluster")) from None
        self._file: Path | None = None
        if not _ADDRESS.fullmatch(self.address):
            if "://" in self.address or not (file := user_path(self.address)).is_file():
                raise ConfigError(
                    f"--cluster: {short(self.address)!r} is no address of a scheduler and no file; give "
                    "tcp://HOST:8786, tls://HOST:8786 or the path of a scheduler file"
                )
            self._file = file
            self._place()
        if self.cores is not None and self.gpu:
            raise ConfigError("--task-gpu: contradicts --task-cores; a task takes cores or a GPU, leave one out")
        self._client: Any = None

    def connect(self, threads: int | str = 1, jobs: int | Literal["auto"] = "auto") -> int:
        """Connect to the scheduler, check its workers, and return how many tasks they take at once, at most `jobs`.

        Each task computes with so many `threads`; the workers' cores are set aside for them.

        Raises RunError where no scheduler answers or no worker is there, ConfigError where versions or resources of
        the workers do not fit.
        """
        if not self.gpu and self.cores is None and threads != 1:
            if not isinstance(threads, int):
                raise ConfigError("--task-cores: say how many cores a task takes, as the runs have --threads auto")
            self.cores = threads
        if self._client is None:
            self._client = self._connected(ANSWER_SECONDS)
        if not (workers := self._workers()):
            raise RunError(f"--cluster: {self.address} has no worker; start one with: {self._to_start()}")
        for address, found in workers.items():
            if others := worker.other_versions(worker.versions(), found["versions"]):
                raise ConfigError(f"--cluster: worker {address} has {others}; install the same versions there")
        if not (slots := self._slots(workers)):
            raise ConfigError(
                f"--cluster: no worker of {self.address} offers {self._needs()}; start workers with: {self._to_start()}"
            )
        self._jobs, self._at_once = jobs, slots if jobs == "auto" else min(slots, jobs)
        return self._at_once

    def close(self) -> None:
        """Leave the cluster; its processes that are left end by themselves."""
        if self._client is not None:
            self._client.close(timeout=2)
            self._client = None

    def _connected(self, seconds: float) -> Any:
        from distributed import Client

        for name in ("distributed", "distributed.client"):  # Dask's configuration gives each a level
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            return Client(self._place(), timeout=seconds, set_as_default=False, name="dlw")
        except (OSError, ValueError) as error:
            raise RunError(
                f"--cluster: no scheduler answers at {self.address}: {first_line(error)}; start it with: dask scheduler"
            ) from None

    def _place(self) -> str:
        """Return the scheduler's address; one that was started anew has written another into its file."""
        if self._file is None:
            return self.address
        try:
            content = read_json(self._file)
            if not isinstance(content, dict) or not isinstance(content.get("address"), str):
                raise ValueError("it has no address")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--cluster: {short(self.address)!r} is no scheduler file: {first_line(error)}; make one with: "
                "dask scheduler --scheduler-file FILE"
            ) from None
        return str(content["address"])

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return what each worker offers, by address."""
        found = self._client.run(worker.about, on_error="return")
        worker.check_seen(found)
        return {address: json.loads(text) for address, text in found.items() if isinstance(text, str)}

    def _slots(self, workers: dict[str, dict[str, Any]]) -> int:
        """Return how many tasks the workers take at once."""
        slots = 0
        for found in workers.values():
            fit = [int(found["resources"].get(name, 0) // need) for name, need in self._resources().items()]
            slots += min([found["threads"], *fit])
        return slots

    def _resources(self) -> dict[str, int]:
        return {"GPU": 1} if self.gpu else {"CPU": self.cores} if self.cores is not None else {}

    def _needs(self) -> str:
        return " and ".join(f"{name}={need}" for name, need in self._resources().items())

    def _to_start(self) -> str:
        place = f"--scheduler-file {self._file}" if self._file else self.address
        return f"dask worker {place}" + (f" --resources {self._needs()}" if self._resources() else "")
