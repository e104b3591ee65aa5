"""Files and folders may bear names that are no text, or that move a terminal's cursor: every command takes them."""

from __future__ import annotations

import csv
import io
import json

import pytest

CLASSES = ["caf\udce9", "dog\x1b[31m\nx"]  # the first is b"caf\xe9": Latin-1, no UTF-8


@pytest.fixture
def odd(in_tmp, paint):
    """Work in a folder with images of oddly named classes, files and all."""
    for seed, (split, name) in enumerate((split, name) for split in ("train", "test") for name in CLASSES):
        for number in range(2):
            paint(in_tmp / "odd\udcff" / split / name / f"p\udce9{number}.png", 10 * seed + number)
    return in_tmp / "odd\udcff"


@pytest.fixture
def run(odd, dlw):
    """A run that was trained on them."""
    answer = dlw("train", "tinyvgg", "--data", odd, "--epochs", "1", "--set", "data.image_size=16", "--threads", "1")
    assert answer.code == 0, answer.err
    return odd.parent / "runs" / "tinyvgg-odd-001"


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "odd\udcff", "--plot", "out.png"],
        ["predict", "odd\udcff", "--format", "csv"],
        ["evaluate"],
        ["evaluate", "--data", "odd\udcff", "--no-plots"],
        ["data", "check", "odd\udcff"],
        ["data", "info", "odd\udcff"],
        ["data", "show", "odd\udcff"],
        ["data", "show", "odd\udcff", "--what", "balance"],
        ["data", "show", "odd\udcff", "--what", "transforms"],
        ["compare"],
        ["show", "last"],
        ["plot", "last"],
        ["diagnose"],
        ["train", "--resume", "last", "--epochs", "2"],
        ["train", "--config", "runs/tinyvgg-odd-001/config.yaml"],
    ],
    ids=" ".join,
)
def test_every_command_takes_names_that_are_no_text(arguments, dlw, run):
    answer = dlw(*arguments)

    assert answer.code == 0, answer.err
    assert "\x1b" not in answer.err


def test_a_run_keeps_names_that_are_no_text(run):
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["classes"] == CLASSES


def test_predictions_name_the_real_file(dlw, odd, run):
    rows = json.loads(dlw("predict", "odd\udcff/test", "--format", "json").out)

    assert all((odd.parent / row["input"]).is_file() for row in rows)


def test_names_that_are_no_text_come_from_stdin(dlw, run):
    assert dlw("predict", "-", stdin=b"odd\xff/test/caf\xe9/p\xe90.png\n").code == 0


def test_a_csv_spells_out_names_that_are_no_text(dlw, run):
    dlw("evaluate", "--no-plots")
    rows = csv.DictReader(io.StringIO((run / "predictions.csv").read_text(encoding="utf-8")))

    assert {row["truth"] for row in rows} == {r"caf\udce9", CLASSES[1]}


@pytest.mark.parametrize("arguments", [["predict", "odd\udcff"], ["data", "info", "odd\udcff"]], ids=" ".join)
def test_csv_on_a_terminal_sends_it_no_codes(arguments, dlw, run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    answer = dlw(*arguments, "--format", "csv")
    assert "dog\\x1b[31m\\nx" in answer.out
    assert "\x1b" not in answer.out


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_sends_no_codes_and_reads_back_as_the_name_was(form, dlw, run, odd):
    name = "\x9b31m\u202egnp.png"
    (odd / "train" / CLASSES[0] / "p\udce90.png").rename(odd / name)

    answer = dlw("predict", odd / name, "--format", form)
    assert not {"\x9b", "\u202e"} & {*answer.out}
    assert json.loads(answer.out.strip("[] \n"))["input"] == str(odd / name)
