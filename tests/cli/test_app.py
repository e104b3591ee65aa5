from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.runs.test_comparison import make_run

from dlworkflow import __version__
from dlworkflow.cli.app import COMMANDS as TABLE
from dlworkflow.cli.app import app
from dlworkflow.cli.command import documentation
from dlworkflow.config.flags import FLAGS

HEAVY = ("torch", "torchvision", "matplotlib", "sklearn", "numpy")
LOOKING = (
    *("--help", "train --help", "sweep --help", "models", "data list", "runs", "compare", "show", "config", "guide"),
    *(f"list {kind}" for kind in ("models", "data", "optimizers", "schedules", "losses", "augmentations")),
)


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


TREE = typer.main.get_command(app)
COMMANDS = dict(commands(TREE))


LOOK = f"""
import json, sys
loaded = {{}}

def note(step):
    loaded[step] = [name for name in {HEAVY} if name in sys.modules]

import dlworkflow
note("import dlworkflow")
from dlworkflow.cli.app import main
note("import dlworkflow.cli.app")
for arguments in {LOOKING}:
    try:
        main(arguments.split())
    except SystemExit as ended:
        assert not ended.code, arguments
    note(arguments)
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def heavy_after(trained):
    """Commands that only look, one after the other in a fresh process, and what is loaded after each that is heavy."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, cwd=trained.parent, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", ["dlworkflow", "dlworkflow.cli.app"])
def test_an_import_leaves_the_heavy_packages_out(module, heavy_after):
    assert heavy_after[f"import {module}"] == []


@pytest.mark.parametrize("arguments", LOOKING)
def test_a_command_that_only_looks_leaves_the_heavy_packages_out(arguments, heavy_after):
    assert heavy_after[arguments] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text(name, dlw):
    lines = dlw(*name.split(), "--help").out.splitlines()

    assert lines[0].startswith(f"Usage: dlw {name}")
    assert lines[2].strip().endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_has_each_argument_in_one_pair_of_brackets_and_no_type_of_python(name, dlw):
    text = dlw(*name.split(), "--help").out

    assert re.search(r"[{}]|\[\[|\]\]|\.{4}|\.{3}\]\.", text.splitlines()[0]) is None
    assert re.search(r"<(str|int|float|list)|default: \(", text) is None


@pytest.mark.parametrize("name", TABLE)
def test_the_list_of_commands_has_the_first_sentence_of_each_help_text(name):
    assert TREE.commands[name].get_short_help_str(200) == TABLE[name][1]


@pytest.mark.parametrize(("arguments", "modules"), [("--help", []), ("runs --help", ["runs"])])
def test_a_help_text_imports_the_module_of_its_command_alone(arguments, modules):
    code = (
        f"import sys\nfrom dlworkflow.cli.app import main\ntry: main({arguments.split()})\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    loaded = done.stdout.splitlines()[-1].split()
    rooms = {place.partition(":")[0] for place, _ in TABLE.values()}
    assert [name for name in loaded if name.removeprefix("dlworkflow.cli.") in rooms] == [
        f"dlworkflow.cli.{name}" for name in modules
    ]
    assert "pydantic" not in loaded


@pytest.mark.parametrize("arguments", ["compare --columns all --sort seconds", "runs --format json", "guide runs"])
def test_a_command_that_reads_texts_imports_no_pydantic(arguments, tmp_path):
    make_run(tmp_path / "runs")
    code = f"""import sys
from dlworkflow.cli.app import main
try: main({arguments.split()})
except SystemExit as ended: print(ended.code, *sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)

    code, *loaded = done.stdout.splitlines()[-1].split()
    assert (code, "pydantic" in loaded) == ("0", False)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--format", "jsn"], 2), (["--format"], 2), (["--format", "csv-bom"], 0), (["--tag"], 2)]
)
def test_a_choice_is_checked_with_and_without_pydantic(arguments, code, dlw, runs):
    answer = dlw("runs", *arguments)

    assert answer.code == code
    assert ("'jsn' is not one of" in answer.err) == ("jsn" in arguments)


def test_a_typer_that_tells_less_of_its_parameters_converts_them_all(dlw, runs, monkeypatch):
    usual = dlw("runs", "--format", "csv")
    monkeypatch.setattr("dlworkflow.cli.command._unconverted", lambda value, param: param.no_such_attribute)

    assert dlw("runs", "--format", "csv").out == usual.out
    assert dlw("runs", "--format", "jsn").code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_does(name):
    silent = [
        parameter.name
        for parameter in COMMANDS[name].params
        if not (getattr(parameter, "help", "context") or documentation(FLAGS[parameter.opts[0]]))
    ]

    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme_or_the_guide(name):
    from dlworkflow import guide

    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")

    assert re.search(rf"\bdlw {name}\b", readme + "".join(map(guide.page, guide.pages())))


def test_help_goes_to_stdout_and_names_every_command(dlw):
    answer = dlw("--help")

    assert (answer.code, answer.err) == (0, "")
    assert [name for name in COMMANDS if not re.search(rf"^  {name.split()[0]} ", answer.out, re.MULTILINE)] == []


@pytest.mark.parametrize(("arguments", "usage"), [((), "Usage: dlw "), (("data",), "Usage: dlw data ")])
def test_without_a_command_the_help_is_shown_as_it_is_laid_out(arguments, usage, dlw):
    answer = dlw(*arguments)

    lines = (answer.out + answer.err).splitlines()
    assert answer.code == 2
    assert lines[0].startswith(usage)
    assert len(lines) > 5


def test_the_version_is_printed_and_nothing_else(dlw):
    answer = dlw("--version")

    assert (answer.code, answer.out, answer.err) == (0, f"dlw {__version__}\n", "")


def test_python_m_dlworkflow_is_the_same_program(start_dlw):
    assert start_dlw("--version").communicate()[0] == f"dlw {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "given", "way_out"),
    [
        (["trai"], "'trai'", "'train'"),
        (["bogus"], "'bogus'", "dlw --help"),
        (["data", "lst"], "'lst'", "'list'"),
        (["--verson"], "--verson", "--version"),
        (["train", "line", "--epoch", "3"], "--epoch", "--epochs"),
        (["predict", "x.png", "--tpo-k", "3"], "--tpo-k", "--top-k"),
        (["predict", "x.png", "--tpo-k=3"], "--tpo-k", "--top-k"),
        (["runs", "--format", "jsn"], "'jsn'", "'json'"),
        (["compare", "--format", "tabel"], "'tabel'", "'table'"),
        (["show", "--format", "yaml"], "'yaml'", "'json'"),
        (["models", "--format", "xml"], "'xml'", "'csv'"),
        (["data", "list", "--format", "xml"], "'xml'", "'csv'"),
        (["predict", "x.png", "--format", "md"], "'md'", "'jsonl'"),
        (["predict", "x.png", "--weights", "lats"], "'lats'", "'last'"),
        (["evaluate", "--split", "tset"], "'tset'", "'test'"),
        (["predict"], "INPUT", "dlw predict --help"),
        (["summary"], "'MODEL'", "dlw summary --help"),
        (["data", "info"], "NAME", "dlw data info --help"),
        (["train", "line", "extra"], "extra", "dlw train --help"),
        (["train", "line", "--epochs"], "--epochs", "dlw train --help"),
        (["predict", "x.png", "--top-k", "0"], "0", "1"),
        (["predict", "x.png", "--top-k", "many"], "many", "dlw predict --help"),
        (["predict", "x.png", "--batch-size", "-7"], "-7", "dlw predict --help"),
        (["summary", "line", "--batch-size", "-7"], "-7", "dlw summary --help"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_slip_and_the_way_out(arguments, given, way_out, dlw, in_tmp):
    answer = dlw(*arguments)

    assert answer.code == 2
    assert answer.out == ""
    [line] = answer.err.splitlines()
    assert line.startswith("dlw: ")
    assert given in line.partition("(see")[0]
    assert way_out in line
    assert list(in_tmp.iterdir()) == []


def test_an_unknown_option_of_predict_is_answered_with_options_only(dlw):
    [line] = dlw("predict", "x.png", "-x").err.splitlines()

    possible = line.partition("possible: ")[2].partition(" (")[0].split(", ")
    assert [name for name in possible if not name.startswith("-")] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["train", "{}"],
        ["train", "line", "--{}"],
        ["train", "line", "--data", "{}"],
        ["train", "line", "--config", "{}.yaml"],
        ["train", "line", "--set", "{}=3"],
        ["train", "line", "--set", "data.{}=3"],
        ["train", "line", "--device", "{}"],
        ["train", "line", "--optimizer", "{}"],
        ["show", "{}"],
        ["runs", "--format", "{}"],
        ["data", "info", "{}"],
        ["predict", "x.png", "--run", "{}"],
        ["predict", "--{}"],
        ["compare", "--runs-dir", "{}"],
    ],
)
def test_a_hostile_name_cannot_break_the_line_or_move_the_cursor(arguments, dlw, in_tmp):
    answer = dlw(*[argument.format("no\n\x1b[31msuch\r") for argument in arguments])

    [line] = answer.err.splitlines()
    assert line.isprintable()


@pytest.mark.parametrize("arguments", [["--debug", "show", "nosuch"], ["show", "nosuch", "--debug"]])
def test_debug_shows_the_traceback_before_the_line(arguments, dlw, in_tmp):
    lines = dlw(*arguments).err.splitlines()

    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("dlw: no run 'nosuch'")


def test_debug_after_two_dashes_is_an_input(dlw, runs):
    assert "Traceback" not in dlw("predict", "--run", "nosuch", "--", "--debug").err


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (KeyboardInterrupt(), 130, "dlw: interrupted"),
        (ZeroDivisionError("by zero\nand more"), 1, "dlw: unexpected ZeroDivisionError: by zero (a bug; --debug"),
        (MemoryError(), 1, "dlw: out of memory: MemoryError; lower --batch-size"),
        (RuntimeError("CUDA out of memory."), 1, "dlw: out of memory: CUDA out of memory.; lower --batch-size"),
    ],
)
def test_whatever_goes_wrong_is_one_line_with_its_exit_code(error, code, start, dlw, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr("dlworkflow.models.entries", fail)
    answer = dlw("models")

    [line] = answer.err.splitlines()
    assert answer.code == code
    assert line.startswith(start)


def test_a_message_is_said_once_however_often_main_was_called(dlw, capsys):
    dlw("--version")
    dlw("--version")
    logging.getLogger("dlworkflow").info("fetching")

    assert capsys.readouterr().err == "fetching\n"


def test_a_reader_that_has_gone_ends_the_command_quietly(runs):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "dlworkflow", "runs"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "at", "offered"),
    [
        ("dlw trai", 1, ["train"]),
        ("dlw train tiny", 2, ["tinyvgg"]),
        ("dlw train tinyvgg --data pizza", 4, ["pizza_steak_sushi"]),
        ("dlw show tiny", 2, ["tinyvgg-digits-001"]),
        ("dlw runs rm tiny", 3, ["tinyvgg-digits-001"]),
    ],
)
def test_a_shell_completes_commands_models_data_and_runs(words, at, offered, runs):
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_DLW_COMPLETE": "complete_bash"}
    command = "import sys; sys.argv[0] = 'dlw'; from dlworkflow.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", command], env=os.environ | asked, capture_output=True, text=True)

    assert done.stdout.split() == offered


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("predict x.png --top-k 1 --top-k=2", "--top-k: given twice, '1' and '2'"),
        ("train line --epochs 1 --epochs 1", "--epochs: given twice, '1' and '1'"),
        ("data shard x --seed 1 --seed 2", "--seed: given twice, '1' and '2'"),
    ],
)
def test_an_option_of_one_value_that_is_given_two_is_refused(arguments, said, dlw, in_tmp):
    answer = dlw(*arguments.split())

    assert (answer.code, answer.err) == (2, f"dlw: {said}; leave one out\n")


@pytest.mark.parametrize("command", ["compare ~nobody/x", "sweep --resume ~nobody/x", "compare ~/x", "show ~nobody/x"])
def test_a_home_that_is_not_there_is_a_name_that_is_not_found(command, dlw, in_tmp, monkeypatch):
    monkeypatch.delenv("HOME")
    answer = dlw(*command.split())

    assert answer.code == 1
    assert answer.err.startswith("dlw: no ")
