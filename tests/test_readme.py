"""What README says is so: its script runs, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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


def test_the_refusal_that_readme_shows_is_the_one_that_is_printed(capsys):
    import pytest

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
