"""Files of a run, a sweep or the user that hold anything: one line and exit code 1 or 2, no bug, no hang, no bomb."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from dlworkflow.cli.app import main
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.shards.samples import read_samples
from dlworkflow.errors import DataError, RunError
from dlworkflow.runs import Run
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep.folder import Sweep

OLD = Path(__file__).parent / "old_runs" / "v0.1" / "runs"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with everything that has a state: moments, schedule, stopper, average."""
    folder = tmp_path_factory.mktemp("trained")
    learning = ["optimizer=adam", "schedule=plateau", "schedule.patience=1", "early_stopping.patience=4", "ema=0.9"]
    layers = [
        from_flags({"model.name": ("MODEL", "circles_v2"), "epochs": ("--epochs", 5)}),
        from_overrides([*learning, "threads=1"]),
    ]

    def stop(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(resolve_config(layers), runs_dir=folder, name="whole", on_epoch=stop)
    return folder / "whole-001"


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(trained, tmp_path / "runs" / "r-001")
    return Run(tmp_path / "runs" / "r-001")


def answer(capsys, *words):
    """Return the exit code and the last line on stderr of a command; anything but plain words fails."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    err = capsys.readouterr().err
    assert "a bug" not in err
    assert "Traceback" not in err
    return ended.value.code, err.splitlines()[-1] if err else ""


def _leaves(value, path=()):
    """Give the path of every part of a state, a tensor and an empty part among them."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value[:3]):
            yield from _leaves(part, (*path, index))


def _planted(value, path, new):
    """Return a state with the part at `path` replaced."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {**value, head: _planted(value[head], rest, new)}
    return [_planted(part, rest, new) if index == head else part for index, part in enumerate(value)]


HOSTILE = ("text", -1, 10**30, float("nan"), None, [], {}, torch.full((3, 3), 7))


def test_a_state_with_any_part_of_another_kind_is_refused_or_resumed(run, monkeypatch):
    state = torch.load(run.state_path, weights_only=True)
    taken = []
    monkeypatch.setattr("dlworkflow.training.recorder.load_state", lambda _: taken[-1])
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    paths = list(_leaves(state))[1:]
    for number, path in enumerate(paths):
        for new in (HOSTILE[number % len(HOSTILE)], HOSTILE[(number + 1) % len(HOSTILE)]):
            taken.append(_planted(state, path, new))
            try:
                resume_training(run)
            except RunError:
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be named with its place
                pytest.fail(f"{path} = {new!r}: {type(error).__name__}: {error}")
            for file, content in before.items():
                file.write_bytes(content)


@pytest.mark.parametrize(
    ("path", "new", "words"),
    [
        (("optimizer", "param_groups", 0, "lr"), "fast", r"state\.optimizer\.param_groups\.lr is of kind str"),
        (("optimizer", "param_groups", 0, "lr"), -0.1, r"lr is -0\.1"),
        (("epochs_done",), -1, r"state\.epochs_done is -1"),
        (("epochs_done",), 7, r"epochs_done is 7, the last epoch 2"),
        (("optimizer", "state", 0, "exp_avg"), torch.zeros(1, 2), r"exp_avg is of kind Tensor of shape \(1, 2\)"),
        (("optimizer", "state", 0), {}, r"state\.optimizer lacks step"),
        (("parts", "stopper", "waited"), None, r"state\.parts\.stopper\.waited is of kind NoneType"),
        (("best",), {}, r"state\.best lacks"),
        (("best_row",), {"epoch": 1}, r"state\.best_row is no epoch of the history"),
        (("generators", "numpy", 2), -5, r"the position of numpy's generator is -5"),
    ],
)
def test_what_is_wrong_in_a_state_is_named(run, path, new, words):
    torch.save(_planted(torch.load(run.state_path, weights_only=True), path, new), run.state_path)

    with pytest.raises(RunError, match=rf"resume\.pth' is damaged: .*{words}"):
        resume_training(run)


JSON = {
    "nested": "[" * 100_000,
    "constant": '{"format": NaN}',
    "beyond": '{"format": 1e999}',
    "digits": '{"format": ' + "9" * 5000 + "}",
    "list": "[1]",
    "empty": "",
    "bytes": b"\xff\xfe",
}
COMMANDS = {
    "summary.json": [("show", "r-001"), ("train", "--resume", "r-001"), ("compare",), ("runs",)],
    "splits.json": [("train", "--resume", "r-001")],
    "environment.json": [("train", "--resume", "r-001"), ("show", "r-001")],
    "history.csv": [("show", "r-001"), ("train", "--resume", "r-001"), ("compare",)],
    "resume.pth": [("train", "--resume", "r-001")],
    "best.pth": [("evaluate", "r-001"), ("predict", "0", "1", "--run", "r-001")],
    ".lock": [("show", "r-001"), ("train", "--resume", "r-001")],
    "config.yaml": [("train", "--resume", "r-001"), ("train", "--config", "runs/r-001/config.yaml", "--dry-run")],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_a_run_may_hold_anything(run, name, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parent.parent)
    file = run.path / name
    for content in JSON.values():
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for command in COMMANDS[name]:
            code, line = answer(capsys, *command)
            assert code in (0, 1, 2)
            assert len(line) < 2000


@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_in_the_place_of_a_runs_file_is_no_wait(run, name, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parent.parent)
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)

    for command in COMMANDS[name]:
        assert answer(capsys, *command)[0] in (0, 1, 2)


def test_a_summary_with_any_part_of_another_kind_is_refused_or_read(run, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parent.parent)
    file, whole = run.path / "summary.json", json.loads((run.path / "summary.json").read_text())
    hostile = ("text", -1, 2**63, None, [], {}, [[[]]], True, 1e308)
    commands = (
        ("show", "r-001"),
        ("compare",),
        ("predict", "0", "1", "--run", "r-001"),
        ("train", "--resume", "r-001"),
    )
    for number, path in enumerate(list(_leaves(whole))[1:]):
        new = hostile[number % len(hostile)]
        file.write_text(json.dumps(_planted(whole, path, new)))
        code, line = answer(capsys, *commands[number % len(commands)])
        assert code in (0, 1, 2), (path, new, line)


def test_a_sweep_with_any_part_of_another_kind_is_refused_or_read(tmp_path):
    old = next(OLD.glob("*/sweep.json"))
    whole = json.loads(old.read_text())
    for path in list(_leaves(whole))[1:]:
        for new in ("text", -1, 2**70, None, [], {}, [[]]):
            (tmp_path / "sweep.json").write_text(json.dumps(_planted(whole, path, new)))
            try:
                plan = Sweep(tmp_path).read()
            except RunError:
                continue
            assert all(isinstance(point.seed, int) and isinstance(point.values, dict) for point in plan.points)


@pytest.mark.parametrize("content", [*JSON.values(), "{" * 9, chr(123) + "}"], ids=lambda text: str(text)[:9])
def test_a_sweep_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "sweep.json").write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(RunError, match=r"sweep\.json' is damaged"):
        Sweep(tmp_path).read()


@pytest.mark.parametrize("name", ["x.csv", "x.tar", "shards/shards.json", "x.yaml", "x.pth"])
def test_a_pipe_in_the_place_of_a_users_file_is_no_wait(tmp_path, name, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.tar").touch()
    os.mkfifo(name)
    shown = "shards" if name.startswith("shards") else name
    commands = {
        ".csv": [("train", "tinyvgg", "--data", shown), ("predict", shown), ("data", "check", shown)],
        ".yaml": [("train", "--config", shown), ("sweep", "--config", shown)],
        ".pth": [
            ("train", "circles_v2", "--init-from", f"./{shown}"),
            ("predict", "1", "2", "--weights", f"./{shown}", "--model", "circles_v2"),
        ],
    }
    for command in commands.get(Path(name).suffix, [("train", "tinyvgg", "--data", shown), ("data", "check", shown)]):
        code, line = answer(capsys, *command)
        assert code in (1, 2), (command, line)


def test_thousands_of_headers_for_one_member_are_a_damaged_shard(tmp_path):
    pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("a" * 200)
        long_name = info.create_gnu_header(info.get_info(), "utf-8", "strict")[:1024]
        tar.fileobj.write(long_name * 3000)
        tar.offset += len(long_name) * 3000

    with pytest.raises(DataError, match=r"x\.tar' is no whole tar file \(too many headers for one member\)"):
        list(read_samples(tmp_path / "x.tar"))
