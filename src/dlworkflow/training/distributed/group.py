"""The processes that train one run together: how they sum, take turns and tell each other, over torch.distributed."""

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
"""A process that waits so long for the others in training gives up, unless DLW_TIMEOUT says otherwise in seconds.

One that died is noticed at once, one of the same machine that was stopped after a minute.
"""

STOPPED_TIMEOUT = timedelta(minutes=1)
"""So long may a process stand stopped (SIGSTOP) before another of its machine ends it; a third of TIMEOUT at most."""

PREPARE_TIMEOUT = timedelta(hours=6)
"""So long may one process load, or fetch, the data while the others wait for it."""


class LostProcessError(DlwError):
    """A process that trains with this one has ended, or no longer answers."""


class ToldElsewhereError(DlwError):
    """Something that went wrong on every process, or that another one tells."""


class Processes:
    """A `sharing.Group` over torch.distributed: gloo for what lies on the CPU, nccl for what lies on a GPU."""

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
        """Return the texts of all processes, in their order."""
        self._turns += 1
        keys = [f"said/{self._turns}/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], text)
        self._store.wait(keys, PREPARE_TIMEOUT)
        return [self._store.get(key).decode() for key in keys]

    def send(self, content: bytes | None) -> bytes | None:
        """Return what rank 0 has: bytes, or None."""
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
        """Return the process ids of all processes on this machine by rank, as soon as all have begun."""
        keys = [f"place/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], f"{os.getpid()} {socket.gethostname()}")
        self._store.wait(keys, TIMEOUT)
        places = [self._store.get(key).decode().partition(" ") for key in keys]
        return {rank: int(pid) for rank, (pid, _, host) in enumerate(places) if host == socket.gethostname()}

    def answering(self, patience: timedelta) -> list[int]:
        """Return which processes have come here, once all have or after that time: those that have lost others."""
        keys = [f"lost/{rank}" for rank in range(self.size)]
        try:
            self._store.set(keys[self.rank], "")
            with suppress(RuntimeError):
                self._store.wait(keys, patience)
            return [rank for rank, key in enumerate(keys) if self._store.check([key])]
        except RuntimeError:  # what holds the store has ended too
            return [0]

    def last_words(self, text: str, patience: timedelta) -> str | None:
        """Return how rank 0 ended: `text` there; elsewhere wait for it, as torchrun stops all when one has failed.

        None where it has not ended after all that time.
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
    return ToldElsewhereError(said[number]) if rank else RunError(f"process {number}: {said[number]}")


class _Parallel(nn.Module):
    """A model whose gradients are shared; it is wrapped anew when other weights of it learn than before.

    Scoring needs nothing of the others, and calls the model itself.
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
    """Return what names the command that started these processes, before and after torchrun starts them anew."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return name if name != "none" else f"{socket.gethostname()}:{os.getppid()}"
