"""A user's own code in a file, driven through `dlw`: named by a command, never imported on a run folder's word."""

from __future__ import annotations

import json
import shlex

import pytest

from dlworkflow.runs import find_run

MODELS = '''
from torch import nn


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, in_features: int, num_classes: int, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, x):
        return self.body(x)
'''
DATA = """
import torch
from torch.utils.data import TensorDataset


def load(n: int = 40):
    X = torch.rand(n, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    y = (X[:, 0] > 0).long()
    return TensorDataset(X[: n // 2], y[: n // 2]), TensorDataset(X[n // 2 :], y[n // 2 :])
"""
LOSS = """
from torch.nn import functional as F


def smooth(outputs, labels, eps: float = 0.1):
    return F.cross_entropy(outputs, labels, label_smoothing=eps)
"""
FLIP = """
def upside_down(image):
    return image.transpose(1)
"""
TRAIN = ("train", "nets.py:Net", "--data", "points.py:load", "--epochs", "1")
EVIL = "from pathlib import Path\nPath('ran').touch()\n" + MODELS


@pytest.fixture
def code(in_tmp, forget):
    """A folder with a model, data, a loss and an augmentation in files."""
    for name, text in (("nets", MODELS), ("points", DATA), ("losses", LOSS), ("flips", FLIP)):
        (in_tmp / f"{name}.py").write_text(text, encoding="utf-8")
    return in_tmp


@pytest.fixture
def own_run(code, dlw, forget):
    """A run of one epoch with a model and data of files, in a process that has forgotten them."""
    answer = dlw(*TRAIN)
    assert answer.code == 0, answer.err
    forget()
    return find_run("last")


def last_line(answer):
    return answer.err.splitlines()[-1]


def test_the_signature_of_a_class_in_a_file_is_its_settings(code, dlw):
    dlw(*TRAIN, "--set", "model.width=7", "--set", "data.n=60")

    config = find_run("last").summary().config
    assert (config["model"]["width"], config["data"]["n"]) == (7, 60)


def test_a_run_is_named_by_the_class_and_the_file_of_data(own_run):
    assert own_run.name == "Net-points-001"


def test_the_run_keeps_path_digest_and_name(code, own_run):
    model, dataset = own_run.summary().code

    assert (model["kind"], model["name"], model["path"]) == ("model", "nets.py:Net", str(code / "nets.py"))
    assert len(model["sha256"]) == 64
    assert (dataset["kind"], dataset["attribute"]) == ("data set", "load")


def test_model_loss_and_transform_are_options_too(code, dlw):
    answer = dlw(
        *("train", "--model", "nets.py", "--data", "digits", "--epochs", "1"),
        *("--loss", "losses.py:smooth", "--set", "loss.eps=0.3", "--transform", "flips.py:upside_down"),
    )

    assert answer.code == 0, answer.err
    config = find_run("last").summary().config
    assert config["loss"] == {"name": "losses.py:smooth", "eps": 0.3}
    assert config["data"]["transform"] == "flips.py:upside_down"


def test_a_file_of_settings_may_name_code(code, dlw):
    (code / "my.yaml").write_text("model: nets.py:Net\ndata: points.py:load\nepochs: 1\n", encoding="utf-8")

    assert dlw("train", "--config", "my.yaml").code == 0


@pytest.mark.parametrize("command", ["predict 0.1 0.2", "evaluate --no-plots", "train --resume last --epochs 2"])
def test_the_complete_command_is_printed_and_works(own_run, dlw, forget, command):
    refused = dlw(*command.split())
    printed = last_line(refused).rpartition(": dlw ")[2]

    assert refused.code == 1
    assert printed.startswith(command)
    forget()
    assert dlw(*shlex.split(printed)).code == 0


@pytest.mark.parametrize(
    "command",
    [
        *("predict 0.1 0.2", "evaluate", "plot", "plot boundary", "diagnose", "trace --run last", "show last"),
        *("train --resume last --epochs 2", "compare", "runs", "train --config runs/Net-points-001/config.yaml"),
        "summary nets.py:Net --run last",
    ],
)
def test_nothing_is_imported_on_the_word_of_a_run_folder(code, own_run, dlw, command):
    (code / "nets.py").write_text(EVIL, encoding="utf-8")
    (code / "points.py").write_text(EVIL, encoding="utf-8")
    typed = command.split()
    if "nets.py:Net" in typed:
        (code / "nets.py").write_text(MODELS, encoding="utf-8")  # the command names this one

    dlw(*typed)

    assert not (code / "ran").exists()


def test_code_that_has_moved_is_found_where_the_command_names_it(code, own_run, dlw):
    (code / "elsewhere").mkdir()
    (code / "nets.py").rename(code / "elsewhere" / "nets.py")

    assert dlw("predict", "0.1", "0.2", "--code", "elsewhere/nets.py").code == 0


def test_changed_code_is_reported(code, own_run, dlw):
    (code / "nets.py").write_text(MODELS + "\n# changed\n", encoding="utf-8")

    answer = dlw("predict", "0.1", "0.2", "--code", "nets.py")

    assert answer.code == 0
    assert "nets.py has changed since Net-points-001 was trained" in answer.err


def test_changed_code_is_compared_before_it_is_imported(code, own_run, dlw):
    (code / "nets.py").write_text(EVIL, encoding="utf-8")
    named = ("--code", "nets.py", "--code", "points.py")

    answer = dlw("train", "--resume", "last", "--epochs", "2", *named)

    assert (answer.code, (code / "ran").exists()) == (1, False)
    assert "--force resumes with it as it is now" in last_line(answer)


def test_a_run_cannot_choose_what_the_file_only_imports(code, own_run, dlw):
    (code / "nets.py").write_text("from os import system\n" + MODELS, encoding="utf-8")
    summary = json.loads((own_run.path / "summary.json").read_text(encoding="utf-8"))
    summary["config"]["model"] = {"name": "nets.py:system", "command": "touch ran"}
    summary["code"][0] |= {"name": "nets.py:system", "attribute": "system"}
    (own_run.path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")

    answer = dlw("predict", "0.1", "0.2", "--code", "nets.py")

    assert (answer.code, (code / "ran").exists()) == (1, False)


def test_a_script_that_registers_a_model_is_code_for_its_runs(code, dlw, forget):
    script = MODELS + (
        "import dlworkflow as dlw\n\ndlw.models.register('net', Net)\n"
        "if __name__ == '__main__':\n    raise SystemExit('it is imported, not run')\n"
    )
    (code / "script.py").write_text(script, encoding="utf-8")
    dlw("train", "script.py", "--data", "circles", "--epochs", "1")  # the one model that it registers
    assert find_run("last").summary().model == "net"
    forget()

    refused, answered = dlw("predict", "0.1", "0.2"), dlw("predict", "0.1", "0.2", "--code", "script.py")

    assert "net-circles-001 needs the code of model 'net', which is imported only where" in last_line(refused)
    assert answered.code == 0, answered.err


def test_a_run_without_a_record_of_its_model_asks_for_the_file(code, own_run, dlw):
    summary = json.loads((own_run.path / "summary.json").read_text(encoding="utf-8"))
    summary["config"]["model"]["name"] = "net"
    del summary["code"]
    (own_run.path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")

    assert last_line(dlw("predict", "0.1", "0.2")).endswith("dlw predict 0.1 0.2 --code FILE.py")


@pytest.mark.parametrize(
    "command",
    [
        *("summary nets.py:Net --data points.py:load", "lr-find nets.py:Net --data points.py:load"),
        *("trace nets.py:Net --data points.py:load --samples 2", "data info points.py:load"),
        "data show points.py:load",
        "sweep nets.py:Net --data points.py:load --epochs 1 --grid model.width=2,3 --jobs 1",
        "sweep --data points.py:load --epochs 1 --grid model.name=nets.py:Net,blobs --jobs 1",
        "list losses --code losses.py",
    ],
)
def test_every_command_takes_a_thing_of_a_file(code, dlw, command):
    answer = dlw(*command.split())

    assert answer.code == 0, answer.err


def test_a_thing_of_a_file_is_data_to_evaluate_on(code, own_run, dlw):
    assert dlw("evaluate", "--data", "points.py:load", "--code", "nets.py", "--no-plots").code == 0


def test_the_name_of_a_file_alone_means_the_one_that_the_command_names_elsewhere(code, own_run, dlw):
    (code / "elsewhere").mkdir()
    (code / "points.py").rename(code / "elsewhere" / "points.py")
    code = ["--code", "elsewhere/points.py", "--code", "nets.py"]

    assert dlw("evaluate", "--data", "points.py:load", *code, "--no-plots").code == 0


def test_weights_go_into_a_class_of_a_file(code, own_run, dlw):
    weights = own_run.weights_path("best")

    answer = dlw("predict", "0.1", "0.2", "--model", "nets.py:Net", "--weights", weights, "--classes", "a,b")

    assert answer.code == 0, answer.err


BAD = """
from torch import nn

import dlworkflow as dlw

net = nn.Linear(2, 2)


class Config: ...


class Crash(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.x = undefined


class Deep(nn.Module):
    def __init__(self, depth, num_classes: int): ...


class Two(nn.Module):
    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(in_features, num_classes)

    def forward(self, x):
        return self.fc(x), x


def three():
    return 3


def crash():
    return {}["train"]


def wide(outputs, labels):
    return outputs
"""
FAULTS = {
    "nest.py:Net": "MODEL: no file 'nest.py'; did you mean 'nets.py'?",
    "nets.py:Nett": "MODEL: nets.py has no 'Nett'; did you mean nets.py:Net?",
    "bad.py:net": "bad.py:net is a model that is built already; name its class, or a function that returns it",
    "bad.py:Config": "bad.py:Config is a class, but no torch.nn.Module",
    "bad.py:Crash": "bad.py:15: self.x = undefined: NameError: name 'undefined' is not defined",
    "bad.py:Deep": "model.depth: model 'bad.py:Deep' needs it; set it, or give it a default in the signature",
    "bad.py:Two": "model 'bad.py:Two' gives tuple, not a tensor of raw scores",
    "bad.py:three": "model 'bad.py:three' returns int, not a torch.nn.Module",
    "bad.py": "bad.py has several: Crash, Deep, Two; name one, as bad.py:Crash",
    "points.py:torch": "points.py:torch is a value of type module, not a function or class",
    "fails.py": "fails.py cannot be imported: beside.py:2: 1 / 0: ZeroDivisionError: division by zero",
    "typo.py": "typo.py cannot be imported: typo.py:1: def f(:: SyntaxError: invalid syntax",
    "trains.py": "trains.py trains when it is imported; put that under `if __name__ == '__main__':`",
    "ends.py": "ends.py:1: raise SystemExit: it ends the program; put what it does under `if __name__",
}


@pytest.fixture
def bad_code(code):
    (code / "bad.py").write_text(BAD, encoding="utf-8")
    (code / "beside.py").write_text("def divide():\n    1 / 0\n", encoding="utf-8")
    (code / "fails.py").write_text("import beside\n\nbeside.divide()\n", encoding="utf-8")
    (code / "typo.py").write_text("def f(:\n", encoding="utf-8")
    (code / "trains.py").write_text(
        "import dlworkflow as dlw\n\ndlw.run_training(model='blobs', epochs=1)\n", encoding="utf-8"
    )
    (code / "ends.py").write_text("raise SystemExit\n", encoding="utf-8")
    return code


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_model_of_a_file_is_one_line(bad_code, dlw, name):
    answer = dlw("train", name, "--data", "points.py:load", "--epochs", "1")

    assert FAULTS[name] in last_line(answer)
    assert not (bad_code / "runs").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bad.py:three", "data set 'bad.py:three': expected dlworkflow.Splits, or torch data sets or loaders"),
        ("bad.py:crash", "data set 'bad.py:crash' fails: bad.py:36: return {}[\"train\"]: KeyError: 'train'"),
        ("bad.py:Config", "--data: bad.py:Config is a class; name a function that returns splits"),
    ],
)
def test_what_is_wrong_with_data_of_a_file_is_one_line(bad_code, dlw, name, words):
    assert words in last_line(dlw("train", "nets.py", "--data", name, "--epochs", "1"))


def test_a_loss_that_is_no_number_is_found_before_there_is_a_run(bad_code, dlw):
    answer = dlw("train", "nets.py", "--data", "points.py", "--loss", "bad.py:wide", "--epochs", "1")

    assert "the loss 'wide' returns a tensor of shape (1, 2), not the mean of a batch" in last_line(answer)
    assert not (bad_code / "runs").exists()


def test_all_that_is_wrong_is_said_at_once(code, dlw):
    line = last_line(dlw("train", "nets.py:Nett", "--data", "pints.py", "--loss", "losses.py:smoth", "--epochs", "-1"))

    assert all(f"{label}: " in line for label in ("MODEL", "--data", "--loss", "--epochs"))
