"""Images of a large folder are decoded in threads while training begins: the same batches, and the same errors."""

import os
import threading
import time

import numpy as np
import pytest
import torch

from dlworkflow.config import Layer
from dlworkflow.data.images import ahead as module
from dlworkflow.data.images import decoded_cache
from dlworkflow.data.images.ahead import Ahead
from dlworkflow.data.images.decoded_cache import ImageFiles, UnreadableError
from dlworkflow.data.images.decoding import ImageError
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.errors import DataError, DlwError
from dlworkflow.runs import list_runs
from dlworkflow.training.job import prepare
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training, train_job
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.folder import Sweep
from dlworkflow.training.sweep.plan import plan_sweep
from dlworkflow.training.sweep.running import run_sweep

WAY = Pipeline((8, 8))
LIMIT = 30  # seconds until a thread that hangs fails its test


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dlworkflow-cache"


@pytest.fixture
def many(monkeypatch):
    """Let few images be many."""
    monkeypatch.setattr(decoded_cache, "LEAST_AHEAD", 1)


@pytest.fixture
def paths(tmp_path, paint):
    return [paint(tmp_path / "photos" / f"{name}.png", seed=name) for name in range(5)]


def settings(pets, **more):
    data = {"name": "image_folder", "path": str(pets), "image_size": 16, "batch_size": 2}
    return {"model": "tinyvgg", "data": data, "recipe": "notes", "epochs": 2, "device": "cpu", **more}


def begun(paths, **more):
    files = ImageFiles(paths, WAY, 3, **more)
    files.remember(ahead=True)
    return files


class Slow:
    """Reads files one at a time, each when it is let; notes their order."""

    def __init__(self, n, monkeypatch):
        monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
        monkeypatch.setattr(module, "_AT_ONCE", 1)
        self.order, self.gate = [], threading.Semaphore(0)
        self.job = Ahead(n, self.read)

    def read(self, index):
        assert self.gate.acquire(timeout=LIMIT)
        self.order.append(index)

    def let(self, n):
        for _ in range(n):
            self.gate.release()


def test_files_are_read_in_the_order_that_is_wanted(monkeypatch):
    slow = Slow(6, monkeypatch)  # which has taken the first
    slow.job.want([4, 2, 5])
    slow.let(6)

    assert slow.job.end()
    assert slow.order in ([0, 4, 2, 5, 1, 3], [4, 2, 5, 0, 1, 3])


def test_what_is_waited_for_is_read_before_the_rest(monkeypatch):
    slow = Slow(6, monkeypatch)  # which has taken the first, or takes what is wanted
    wanted, want = threading.Event(), slow.job.want
    monkeypatch.setattr(slow.job, "want", lambda order: (want(order), wanted.set()))
    waiting = threading.Thread(target=slow.job.wait, args=[np.array([5])])
    waiting.start()
    assert wanted.wait(LIMIT)
    slow.let(6)
    waiting.join(LIMIT)

    assert slow.job.end()
    assert slow.order[:2] in ([0, 5], [5, 0])


def test_an_error_of_the_reader_is_raised_where_somebody_waits():
    def fail(index):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Ahead(3, fail).wait(np.array([1]))


def test_images_are_those_that_are_decoded_before(paths, many):
    before = ImageFiles(paths, WAY, 3)[range(5)]
    files = begun(paths)

    assert torch.equal(files[[3, 1]], before[[3, 1]])
    assert torch.equal(files[range(5)], before)


def test_they_are_kept_and_remembered_when_all_are_decoded(paths, many):
    files = begun(paths)
    digests = files.contents()
    again = begun(paths)

    assert (files.kept, files.n_decoded) == (True, 5)
    assert (again.kept, again.n_decoded, again.file) == (True, 0, files.file)
    assert again.contents() == digests
    assert again.sums.tolist() == files.sums.tolist()


def test_what_is_to_be_remembered_before_workers_start_is_waited_for(paths, many):
    files = begun(paths)
    files.remember()

    assert files.kept


def test_few_images_are_decoded_before_training(paths):
    assert begun(paths).kept


def test_a_digest_is_not_known_before_its_file_is_read(paths, many):
    files = begun(paths)
    if files._ahead is not None:
        assert not files.contents_known
    files.contents()

    assert files.contents_known


def test_all_files_that_cannot_be_read_are_named_and_none_are_remembered(paths, many, cache):
    for index in (1, 3):
        paths[index].write_bytes(b"no image")
    files = begun(paths)

    with pytest.raises(UnreadableError, match=r"2 of 5 images cannot be read: .*1\.png.*; .*3\.png"):
        files[[1]]
    assert not list(cache.rglob("*.npy"))


@pytest.mark.parametrize("more", [{}, {"data.val_fraction": 0.34}, {"data.sampler": "balanced"}], ids=str)
def test_a_run_is_the_same_to_the_bit(pets, tmp_path, more, monkeypatch):
    before = run_training(settings(pets), runs_dir=tmp_path / "a", **more)
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setattr(decoded_cache, "LEAST_AHEAD", 1)
    after = run_training(settings(pets), runs_dir=tmp_path / "b", **more)

    assert [{**row, "seconds": 0} for row in after.history()] == [{**row, "seconds": 0} for row in before.history()]
    assert after.data_fingerprints() == before.data_fingerprints()
    assert after.summary().leakage == before.summary().leakage


def test_an_image_that_cannot_be_read_ends_training_and_is_named(pets, tmp_path, many):
    bad = next((pets / "train").rglob("*.png"))
    bad.write_bytes(b"no image")

    with pytest.raises(DataError, match=bad.name):
        run_training(settings(pets), runs_dir=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_sweep_records_why_a_run_whose_images_cannot_be_read_is_missing(pets, tmp_path, many):
    next((pets / "train").rglob("*.png")).write_bytes(b"no image")
    layer = Layer(settings(pets, model={"name": "tinyvgg"}, sweep={"seeds": 2, "jobs": 1}))
    plan, chosen = plan_sweep([layer])
    sweep = Sweep.create(tmp_path, "s", plan)
    points = run_sweep(sweep, chosen)[0].points

    assert [(point.status, point.run) for point in points] == [("failed", None)] * 2
    assert "1 of 9 images cannot be read" in points[0].reason
    assert sweep.runs() == []


def test_an_image_that_cannot_be_read_later_leaves_the_epochs_before(pets, tmp_path, many):
    def spoil(epoch):
        raise UnreadableError([ImageError(pets, "is gone")], 9)

    with pytest.raises(UnreadableError):
        run_training(settings(pets), runs_dir=tmp_path / "runs", on_epoch=spoil)
    [run] = list_runs(tmp_path / "runs")
    assert (run.status(), len(run.history())) == ("failed", 1)


def test_images_that_are_to_be_skipped_are_found_before_training(pets, tmp_path, many):
    next((pets / "train").rglob("*.png")).write_bytes(b"no image")
    run = run_training(settings(pets), runs_dir=tmp_path / "runs", **{"data.on_bad": "skip"})

    assert run.summary().skipped == {"train": 1}


def test_a_run_that_was_interrupted_while_images_were_decoded_resumes_to_the_bit(pets, tmp_path, many, monkeypatch):
    whole = run_training(settings(pets), runs_dir=tmp_path / "a")
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "other"))

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_job(prepare(resolve_config(settings(pets))), runs_dir=tmp_path / "b", on_batch=interrupt)
    [run] = list_runs(tmp_path / "b")
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "third"))
    resume_training(run)

    assert [row["test_loss"] for row in run.history()] == [row["test_loss"] for row in whole.history()]


def test_data_that_has_changed_since_is_refused_once_it_is_read(pets, tmp_path, many, monkeypatch, paint):
    run = run_training(settings(pets), runs_dir=tmp_path / "runs")
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "other"))
    paint(next((pets / "train").rglob("*.png")), seed=99)

    with pytest.raises(DlwError, match="has changed since"):
        resume_training(run, epochs=4)
    assert len(run.history()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_what_is_left_itself():
    jobs = Ahead(200, lambda _: time.sleep(0.002))
    child = os.fork()
    if not child:
        threading.Timer(LIMIT, os._exit, [1]).start()
        os._exit(0 if jobs.wait(np.array([199])) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
