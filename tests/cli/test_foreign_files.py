"""Whatever else lies where this tool reads and writes, it stays as it is: every name and age, after every command."""

from __future__ import annotations

import pytest

SMALL = ["--set", "data.image_size=8", "--set", "model.hidden_units=2"]

COMMANDS = (
    ["train", "line", "--epochs", "1"],
    ["train", "tinyvgg", "--data", "pets", "--epochs", "1", *SMALL],
    ["train", "tinyvgg", "--data", "pets/labelled.csv", "--epochs", "1", *SMALL, "--plots", "--name", "listed"],
    ["train", "tinyvgg", "--data", "pets", "--epochs", "1", *SMALL, "--set", "data.image_size=9"],
    ["train", "--resume", "tinyvgg-pets-001", "--epochs", "2"],
    ["train", "tinyvgg", "--data", "pets", *SMALL, "--dry-run"],
    ["predict", "pets/test/cat", "--run", "tinyvgg-pets-001", "--plot", "predicted.png"],
    ["predict", "pets/test/cat", "--run", "tinyvgg-pets-001", "--plot", "predicted.png", "--overwrite"],
    ["evaluate", "tinyvgg-pets-001"],
    ["evaluate", "tinyvgg-pets-001", "--split", "train", "--weights", "last", "--no-plots"],
    ["plot", "tinyvgg-pets-001"],
    ["plot", "line", "curves", "--out", "curves.svg"],
    ["compare", "--plot", "all.png"],
    ["diagnose", "tinyvgg-pets-001"],
    ["show", "line"],
    ["runs"],
    ["lr-find", "tinyvgg", "--data", "pets", *SMALL, "--steps", "10", "--plot", "rates.png"],
    ["sweep", "circles_v0", "--seeds", "2", "--epochs", "1", "--name", "swept", "--jobs", "1", "--max-runs", "1"],
    ["sweep", "--resume", "last", "--jobs", "1", "--plot", "swept.png"],
    ["compare", "swept"],
    ["data", "list"],
    ["data", "info", "pets"],
    ["data", "show", "pets"],
    ["data", "check", "pets"],
    ["data", "check", "pets/labelled.csv"],
    ["data", "shard", "pets", "--out", "new-shards"],
    ["data", "check", "shards"],
    ["summary", "tinyvgg", "--trace", "pets/test/cat/0.png"],
    ["trace", "--plot", "path.png"],
    ["models"],
)


@pytest.mark.slow
def test_files_that_this_tool_did_not_make_stay_as_they_are_after_every_command(
    dlw, in_tmp, pets, foreign, monkeypatch
):
    monkeypatch.setenv("DLW_CACHE_DIR", str(in_tmp))
    monkeypatch.setenv("DLW_DATA_DIR", str(in_tmp))
    images = sorted(path for path in pets.rglob("*.png"))
    rows = [f"{path.relative_to(pets)},{path.parent.name},{path.parent.parent.name}" for path in images]
    (pets / "labelled.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    own = {path: path.read_bytes() for path in [*images, pets / "labelled.csv"]}
    dlw("data", "shard", "pets", "--out", "shards")
    home = in_tmp / "dlworkflow-cache"
    filled = {
        *(in_tmp, in_tmp / "pictures", in_tmp / "checks", pets, pets / "train", in_tmp / "runs", in_tmp / "shards"),
        *(home, home / "pictures", home / "checks"),
    }
    looks = [foreign(*sorted(filled))]
    before = looks[0]()

    for command in COMMANDS:
        answer = dlw(*command)
        assert answer.code in (0, 1), (command, answer.err)
        assert all(look().items() <= before.items() for look in looks), command
        assert all(path.read_bytes() == content for path, content in own.items()), command
        made = {path.parent for path in (in_tmp / "runs").rglob("*.json") if not path.parent.name.startswith(".")}
        if new := {folder for run in made - filled for folder in (run, run / "plots") if run.parent.name != ".new-x"}:
            looks.append(foreign(*sorted(new)))
            before |= looks[-1]()
            filled |= new
