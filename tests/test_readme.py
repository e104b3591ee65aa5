"""What README says is so: its script runs, its commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_script_runs_and_prints_what_readme_shows(tmp_path):
    script, output = re.search(r"<!-- test: run -->\n```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL).groups()

    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert ran.stdout == output
    assert len([line for line in script.splitlines() if line.strip()]) <= 20


def test_every_dlw_command_in_readme_exists():
    from dlworkflow.cli.app import app

    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    named = set(re.findall(r"(?:^|[`$ ])dlw ([a-z][a-z-]*)\b", README))

    assert named - known == set()


FILES = re.compile(r"food|labels\.csv|photo|\.tar")
ELSEWHERE = re.compile(r"resnet18|RUN|configs/")  # published weights, a name to be filled in, the notes' own files


def commands_with_files():
    """Every command of README that takes files, in its order; those of shards after the one that writes them."""
    lines = re.findall(r"(?:^\$? ?|`)(dlw (?:train|predict|summary|data) [^`\n]*)", README, re.MULTILINE)
    found = [line.split("   ")[0].strip() for line in lines if FILES.search(line) and not ELSEWHERE.search(line)]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def readme_files(tmp_path_factory):
    """The files that README's commands name, a run to predict with, and the file of weights of a script."""
    import torch

    from dlworkflow.models import build

    root = tmp_path_factory.mktemp("readme")
    noise = np.random.default_rng(0)
    labels = ["path,label,split"]
    for split, number in (("train", 12), ("test", 2)):
        for name in ("pizza", "steak", "sushi"):
            (root / "food" / split / name).mkdir(parents=True)
            for index in range(number):
                path = root / "food" / split / name / f"{index}.jpg"
                Image.fromarray(noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
                labels.append(f"food/{split}/{name}/{index}.jpg,{name},{split}")
    (root / "labels.csv").write_text("\n".join(labels))
    for place in ("photo.jpg", "more-photos/1.jpg", "scans/1.png", "photos/1.jpg"):
        (root / place).parent.mkdir(exist_ok=True)
        Image.open(path).save(root / place)
    torch.save(build("tinyvgg", (3, 64, 64), 3).state_dict(), root / "script.pth")
    call_in(root, "dlw train tinyvgg --data food --epochs 1")
    call_in(root, "dlw data shard food --out food-shards --shards 32")
    (root / "theirs").mkdir()
    for shard in (root / "food-shards").glob("*.tar"):
        shutil.copy(shard, root / "theirs" / shard.name.removeprefix("train-"))
    shutil.rmtree(root / "food-shards")
    return root


def call_in(folder, command):
    from dlworkflow.cli.app import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command, comments=True)[1:])
    return ended.value.code


@pytest.mark.parametrize("command", commands_with_files())
def test_a_command_of_readme_takes_the_files_that_it_names(command, readme_files, capsys):
    command = command.split("#")[0]
    if command.startswith("dlw train"):
        command = command.replace("--processes 2", "") + " --dry-run"
    if "food-shards" in command and "data shard" not in command and not (readme_files / "food-shards").exists():
        call_in(readme_files, "dlw data shard food --out food-shards --shards 32")

    assert call_in(readme_files, command) == 0, capsys.readouterr().err


def test_the_commands_of_readme_that_take_files_are_found():
    assert {command.split()[1] for command in commands_with_files()} >= {"train", "predict", "data"}
    assert any("theirs" in command for command in commands_with_files())


def test_the_refusal_that_readme_shows_is_the_one_that_is_printed(capsys):
    from dlworkflow.cli.app import main

    command, shown = re.search(r"\$ dlw (train line --epochs ten .*)\n(dlw: .*)\n", README).groups()

    with pytest.raises(SystemExit):
        main(command.split())

    assert capsys.readouterr().err.strip() == shown


def test_every_promise_names_a_test_that_exists():
    section = re.search(r"## What it promises\n(.*?)\n## ", README, re.DOTALL)[1]
    promises = [line for line in section.splitlines() if line.startswith("| ")][1:]

    for promise in promises:
        file, name = re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", promise).groups()
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), promise
    assert len(promises) >= 10
