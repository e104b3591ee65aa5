"""Worker processes of a sweep that die, hang or are told to stop."""

from __future__ import annotations

import multiprocessing
import threading
import time
from types import SimpleNamespace

import pytest

from dlworkflow.config import Layer, from_overrides
from dlworkflow.engine.signals import StopRequest
from dlworkflow.training.sweep.folder import FINISHED, Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.pool import Pool, _Worker
from dlworkflow.training.sweep.queue import Listed, SweepProgress, Work


@pytest.fixture
def progress(tmp_path):
    """A sweep of three runs, each a task."""
    plan, _ = plan_sweep([from_overrides(["model=circles_v2", "epochs=1"]), Layer({"sweep": {"seeds": 3}})])
    sweep = Sweep.create(tmp_path, "s", plan)
    return SweepProgress(sweep, plan, Listed([Work([point]) for point in plan.points]))


def worker_of_one_task():
    """Stand in for a process that trains one task and is gone when it has told so."""
    ours, theirs = multiprocessing.Pipe()

    def work():
        task = theirs.recv()
        for point in task.points:
            point.status = FINISHED
        theirs.send(("ended", task.points))
        theirs.close()

    thread = threading.Thread(target=work)
    thread.start()
    dead = SimpleNamespace(join=thread.join, is_alive=lambda: False, terminate=lambda: None, exitcode=0)
    return _Worker(dead, ours)


def test_a_worker_that_dies_while_it_waits_is_replaced_and_every_run_is_made(progress, monkeypatch):
    pool = Pool(progress, jobs=1)
    keep = progress.keep
    monkeypatch.setattr(pool, "_start", lambda: pool._workers.append(worker_of_one_task()) or pool._workers[-1])
    monkeypatch.setattr(progress, "keep", lambda *told: (pool._workers[-1].process.join(), keep(*told)))

    pool.run(progress)

    assert [point.status for point in progress.plan.points] == [FINISHED] * 3


def test_a_second_ctrl_c_waits_for_no_worker(progress, monkeypatch):
    pool = Pool(progress, jobs=1)
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    pool._workers.append(_Worker(process, multiprocessing.Pipe()[0]))

    def interrupt(_: StopRequest):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "_serve", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run(progress)

    assert time.monotonic() - began < 2
    assert not process.is_alive()
