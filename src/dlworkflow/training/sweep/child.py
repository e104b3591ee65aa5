"""The process that trains one task of a cluster: `python -m dlworkflow.training.sweep.child FOLDER`.

Its input is a line of JSON, then a line for each order; the end of the input, as when its parent dies, stops it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

from dlworkflow.engine.child_processes import leave_interrupts_to_the_parent
from dlworkflow.errors import RunError, naming_options
from dlworkflow.training.sweep.folder import Point, Sweep
from dlworkflow.training.sweep.parcel import take_stock
from dlworkflow.training.sweep.worker import PRUNE, REPORT

_WAIT = 180.0  # seconds for a process that trains the same task for a worker that has lost its sweep


def main(folder: str) -> None:
    """Train the points of a small sweep that have not ended."""
    leave_interrupts_to_the_parent()
    lines = _lines()
    task = json.loads(next(lines))
    pruned = threading.Event()
    threading.Thread(target=_listen, args=(lines, pruned), daemon=True).start()

    import torch

    from dlworkflow.registry.user_code import use_code
    from dlworkflow.training.sweep.queue import Work
    from dlworkflow.training.sweep.training import train_task

    torch.set_num_threads(1)
    use_code(*task["code"])

    def watch(point: Point, epoch: int, loss: float) -> bool:
        if task["watched"]:
            sys.stdout.write(f"{REPORT}{json.dumps([point.number, epoch, loss])}\n")
            sys.stdout.flush()
        return pruned.is_set()

    sweep = Sweep(Path(folder))
    with ExitStack() as held, naming_options() if task["names_options"] else nullcontext():
        _lock(sweep, held)
        plan = sweep.read()
        for point in plan.waiting():
            if point.run is not None and not sweep.run(point.run).path.is_dir():
                point.run = None  # this machine has no such run: it is trained anew
        take_stock(sweep, plan)
        waiting = plan.waiting()
        together = task["together"] and all(point.run is None for point in waiting)
        try:
            if waiting:
                train_task(sweep, plan, Work(waiting, together, task["watched"]), watch)
        finally:
            sweep.write(plan)


def _lock(sweep: Sweep, held: ExitStack) -> None:
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            held.enter_context(sweep.locked())
            return
        except RunError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _lines() -> Iterator[str]:
    """Yield the lines of the input as they come: a thread that waits in `sys.stdin` would hold its lock at the end."""
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in lines)


def _listen(lines: Iterator[str], pruned: threading.Event) -> None:
    for line in lines:
        if line == PRUNE:
            pruned.set()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
