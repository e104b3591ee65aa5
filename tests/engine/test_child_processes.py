"""Real processes of ours in a folder whose files are named like modules: none of them is run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dlworkflow.engine.child_processes import guarded_start

TRAPS = ("random", "signal", "torch", "socket", "queue", "tempfile", "numpy", "yaml")
SPAWNED = """
import multiprocessing, os
from dlworkflow.config import from_overrides
from dlworkflow.training import resolve_config, run_training

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    pairs = ["model.name=fashion_mnist_v0", "data.name=digits", "data.num_workers=1", "epochs=1", "threads=1"]
    run_training(resolve_config([from_overrides(pairs)]), runs_dir="runs")
    assert "PYTHONSAFEPATH" not in os.environ
"""


@pytest.fixture
def trapped(in_tmp):
    """A working folder of files that say so when they are run, and where they say it."""
    said = in_tmp / "said"
    for name in TRAPS:
        (in_tmp / f"{name}.py").write_text(f"open({str(said)!r}, 'a').write({name!r} + ' '); raise SystemExit(3)\n")
    return said


def run(*arguments, **environment):
    told = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run([sys.executable, *arguments], env=told | environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "circles_v2", "--epochs", "1", "--processes", "2"], id="processes"),
        pytest.param(
            ["sweep", "circles_v2", "--epochs", "1", *["--seeds", "2", "--jobs", "2", "--no-vectorize"]], id="sweep"
        ),
        pytest.param(
            ["train", "fashion_mnist_v0", "--data", "digits", "--epochs", "1", "--set", "data.num_workers=1"],
            id="loader",
        ),
    ],
)
def test_no_file_of_the_working_folder_is_run(trapped, arguments):
    ended = run("-m", "dlworkflow", *arguments)

    assert not trapped.exists(), trapped.read_text()
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_no_file_of_the_working_folder_is_run_by_a_loader_that_spawns(trapped, tmp_path_factory):
    script = tmp_path_factory.mktemp("elsewhere") / "script.py"
    script.write_text(SPAWNED)

    ended = run(str(script))

    assert not trapped.exists(), trapped.read_text()
    assert ended.returncode == 0, ended.stderr


def test_a_process_of_ours_finds_modules_of_pythonpath_and_passes_nothing_on(in_tmp, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_own.py").write_text("value = 7\n")
    (in_tmp / "my_own.py").write_text("value = 0\n")
    code = (
        "import os, signal\n"
        "from dlworkflow.engine.child_processes import leave_interrupts_to_the_parent as leave\nleave()\n"
        "import my_own\nprint(my_own.value, 'PYTHONSAFEPATH' in os.environ)"
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    with guarded_start():
        ended = run_as_it_is("-c", code, PYTHONPATH=path)

    assert ended.stdout.split() == ["7", "False"], ended.stderr


def run_as_it_is(*arguments, **environment):
    return subprocess.run([sys.executable, *arguments], env=os.environ | environment, capture_output=True, text=True)


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "1")

    with guarded_start():
        pass

    assert os.environ["PYTHONSAFEPATH"] == "1"
