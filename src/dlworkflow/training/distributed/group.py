"""A group of processes over torch.distributed: sums, turns, messages. Knows no run and no settings."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from dlworkflow.engine.data_parallel import share_batch_norms
from dlworkflow.errors import DlwError, RunError

TIMEOUT = timedelta(minutes=15)
"""A process waits this long for the others in training; DLW_TIMEOUT sets another number of seconds.

A process that died is noticed immediately, a stopped one of the same machine after a minute.
"""

STOPPED_TIMEOUT = timedelta(minutes=1)
"""Another process of the machine ends one that was stopped (SIGSTOP) for this long; at most a third of TIMEOUT."""

PREPARE_TIMEOUT = timedelta(hours=6)
"""The others wait this long while one process downloads or loads the data."""


class LostProcessError(DlwError):
    """Another process of the group has ended or does not respond."""


class ReportedElsewhereError(DlwError):
    """An error of every process, or of another one, which that process reports."""


class Processes:
    """A `data_parallel.Group` over torch.distributed: gloo for tensors on the CPU, nccl for tensors on a GPU."""

    def __init__(self, store: distributed.Store, rank: int, size: int, timeout: timedelta = TIMEOUT) -> None:
        self.rank, self.size = rank, size
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        self.launch = _launch_name()
        # torchrun keeps one store for all its restarts: what dead processes wrote there must not be read
        begun = f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{size}"
        self._store, self._turns = distributed.PrefixStore(f"dlworkflow/{begun}", store), 0
        if self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        self.beside = self._find_beside()
        distributed.init_process_group(self.backend, store=self._store, rank=rank, world_size=size, timeout=timeout)

    def sum(self, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    def highest(self, number: int) -> int:
        found = torch.tensor(number)
        distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
        return int(found)

    def share(self, model: nn.Module) -> nn.Module:
        share_batch_norms(model, self)
        return _Parallel(model)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        self._turns += 1
        first = f"first/{self._turns}/{os.environ.get('GROUP_RANK', 0)}"
        if self.local_rank:
            self._store.wait([first], PREPARE_TIMEOUT)
        error: DlwError | None = None
        try:
            yield
        except DlwError as found:
            error = found
        finally:
            if not self.local_rank:
                self._store.set(first, "gone")
        said = self.tell(str(error or ""))
        if error is not None and not self.rank:
            raise error
        if any(said):
            raise _elsewhere(self.rank, said)

    def tell(self, text: str) -> list[str]:
        """Return the texts of all processes, by rank."""
        self._turns += 1
        keys = [f"said/{self._turns}/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], text)
        self._store.wait(keys, PREPARE_TIMEOUT)
        return [self._store.get(key).decode() for key in keys]

    def send(self, content: bytes | None) -> bytes | None:
        """Return the bytes, or None, that rank 0 passes."""
        length = self.highest(len(content) + 1 if content is not None and not self.rank else 0)
        if not length:
            return None
        parcel = torch.empty(length - 1, dtype=torch.uint8)
        if content and not self.rank:
            parcel.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        if len(parcel):
            distributed.broadcast(parcel, src=0)
        return parcel.numpy().tobytes()

    def _find_beside(self) -> dict[int, int]:
        """Return the process ids of all processes on this machine by rank, once all have started."""
        keys = [f"place/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], f"{os.getpid()} {socket.gethostname()}")
        self._store.wait(keys, TIMEOUT)
        places = [self._store.get(key).decode().partition(" ") for key in keys]
        return {rank: int(pid) for rank, (pid, _, host) in enumerate(places) if host == socket.gethostname()}

    def answering(self, patience: timedelta) -> list[int]:
        """Return the ranks that have made this call, once all have or after that time; the others are lost."""
        keys = [f"lost/{rank}" for rank in range(self.size)]
        try:
            self._store.set(keys[self.rank], "")
            with suppress(RuntimeError):
                self._store.wait(keys, patience)
            return [rank for rank, key in enumerate(keys) if self._store.check([key])]
        except RuntimeError:  # what holds the store has ended too
            return [0]

    def last_words(self, text: str, patience: timedelta) -> str | None:
        """Return the error of rank 0: `text` there, elsewhere after waiting, as torchrun stops all once one has failed.

        None where rank 0 has not ended after that time.
        """
        if not self.rank:
            self._store.set("ended", text)
            return text
        try:
            self._store.wait(["ended"], patience)
        except RuntimeError:
            return None
        return self._store.get("ended").decode()


def _elsewhere(rank: int, said: Sequence[str]) -> DlwError:
    number = next(number for number, text in enumerate(said) if text)
    return ReportedElsewhereError(said[number]) if rank else RunError(f"process {number}: {said[number]}")


class _Parallel(nn.Module):
    """A model with shared gradients; it is wrapped again when other weights are trained than before.

    Evaluation needs no other process and calls the model itself.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._learns: list[bool] = []
        self._wrapped: list[nn.Module] = []  # a list, or its weights would count twice

    def forward(self, x: Tensor) -> Any:
        if not torch.is_grad_enabled():
            return self.model(x)
        learns = [parameter.requires_grad for parameter in self.model.parameters()]
        if learns != self._learns:
            parallel = nn.parallel.DistributedDataParallel(self.model)
            self._learns, self._wrapped = learns, [parallel]
        return self._wrapped[0](x)


def _launch_name() -> str:
    """Return a name of the command that started these processes, the same after torchrun restarts them."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"{socket.gethostname()}:{os.getppid()}"
