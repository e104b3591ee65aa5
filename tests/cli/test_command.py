"""What every command's help has in common: groups, defaults, examples that run, hints for the words of other tools."""

from __future__ import annotations

import shlex

import pytest
import typer
from PIL import Image

from dlworkflow.cli.app import app
from dlworkflow.cli.command import documentation
from dlworkflow.config.flags import FLAGS, HINTS

GROUP = typer.main.get_command(app)


def examples(command):
    return [shlex.split(line.partition("   ")[0].rpartition("| ")[2]) for line in command.examples]


ALL = {name: command for name, command in GROUP.commands.items() if not hasattr(command, "commands")}
ALL |= {f"data {name}": command for name, command in GROUP.commands["data"].commands.items()}


def test_the_examples_of_train_run_one_after_the_other(dlw, in_tmp):
    for split in ("train", "test"):
        for label in ("0", "1"):
            folder = in_tmp / "path" / "to" / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(5 if split == "train" else 2):
                shade = 40 * number + (100 if label == "1" else 0) + (7 if split == "test" else 0)
                Image.new("RGB", (70, 70), (shade, 0, 255 - shade)).save(folder / f"{number}.png")
    commands = examples(ALL["train"])

    assert len(commands) == 3
    for words in commands:
        answer = dlw(*words[1:])
        assert answer.code == 0, answer.err


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if command.examples])
def test_examples_are_command_lines_that_are_accepted(name):
    command = ALL[name]
    for words in examples(command):
        start = 1 + len(name.split())
        assert words[:start] == ["dlw", *name.split()]
        command.make_context(name, words[start:])


def test_options_are_in_groups_and_show_their_defaults(dlw):
    text = dlw("train", "--help").out
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]

    assert headings == [
        *("Arguments:", "Data options:", "Model options:", "Optimization options:", "Run options:"),
        *("Output options:", "Options:", "Examples:"),
    ]
    words = " ".join(text.split())
    assert "--workers N Worker processes that load batches; 0 loads them in the training process [default: 0]." in words
    assert "0 evaluates the untrained model [default: set by the recipe]." in words


@pytest.mark.parametrize("flag", FLAGS.values(), ids=FLAGS)
def test_a_flag_states_its_default(flag):
    assert "[default: " in documentation(flag)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--imgsz", "--image-size"),
        ("--img-size=64", "--image-size"),
        ("--lr0", "--lr"),
        ("--learning-rate", "--lr"),
        ("--learning_rate", "--lr"),
        ("--batch", "--batch-size"),
        ("--batch_size", "--batch-size"),
        ("--max-epochs", "--epochs"),
        ("--gpus", "--processes, one for each GPU"),
        ("--wd", "--set optimizer.weight_decay=1e-4"),
        ("--num-workers", "--workers"),
        ("--arch", "--model"),
        ("--criterion", "--loss"),
        ("--mixup", "--set mixup=VALUE"),
        ("--clip-norm", "--set clip_norm=VALUE"),
    ],
)
def test_the_words_of_other_tools_get_a_hint(typed, meant, dlw, in_tmp):
    answer = dlw("train", "tinyvgg", typed, "3")

    assert answer.code == 2
    assert f"did you mean {meant}?" in answer.err
    assert answer.err.count("\n") == 1


def test_hints_name_options_that_there_are():
    options = {name for parameter in ALL["train"].params for name in parameter.opts} | {"MODEL"}

    assert {hint.split(",")[0].split()[0] for hint in HINTS.values()} <= options
    assert not set(HINTS) & options


def test_image_size_and_workers_are_options(dlw, in_tmp):
    out = dlw("train", "tinyvgg", "--image-size", "16", "--workers", "1", "--print-config").out

    assert "image_size: 16" in out
    assert "num_workers: 1" in out
