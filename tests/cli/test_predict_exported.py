"""`dlw predict` of a run that was exported: by onnxruntime where the file is of the run's weights, else by torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dlworkflow.inference.known_samples import KnownSamples
from dlworkflow.runs import Run
from dlworkflow.runs.calibration import CalibrationSummary

RUN = "tinyvgg-digits-001"
SLOPES = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
DIGITS = {"classes": "0123456789", "in_shape": (1, 8, 8), "transform": [{"resize": {"size": [8, 8]}}]}
RENEW = f"`dlw export runs/{RUN} --format onnx --overwrite`"
STALE = f"model.onnx of run {RUN} has other weights than best.pth; renew it: {RENEW}"


@pytest.fixture
def exported(runs, pictures, write_onnx):
    """The file of the run that takes images: a linear model with the digest of its weights."""
    run = runs / RUN
    return write_onnx(run / "model.onnx", SLOPES, weights=run / "best.pth", run=RUN, model="tinyvgg", **DIGITS)


def labels(answer):
    return [one["label"] for one in json.loads(answer.out)]


def as_linear(n):
    """The labels of the linear model: what torch's TinyVGG answers is another thing."""
    from dlworkflow import data

    pixels = data.load("digits").test.images[:n].numpy().reshape(n, -1) / 255
    return [str(label) for label in (pixels @ SLOPES.T).argmax(axis=1)]


def test_a_file_of_these_weights_predicts(dlw, exported):
    answer = dlw("predict", "pictures", "--format", "json")

    assert labels(answer) == as_linear(3)
    assert answer.err == f"run runs/{RUN} (best weights, onnx)\n"


def test_backend_torch_leaves_the_file_alone(dlw, exported):
    answer = dlw("predict", "pictures", "--format", "json", "--backend", "torch")

    assert labels(answer) != as_linear(3)
    assert answer.err == f"run runs/{RUN} (best weights)\n"


def test_a_file_of_other_weights_is_noted_and_torch_predicts(dlw, exported):
    weights = exported.parent / "best.pth"
    weights.write_bytes((exported.parent / "last.pth").read_bytes() + b" ")

    answer = dlw("predict", "pictures", "--backend", "auto")

    assert answer.err.splitlines() == [f"note    {STALE}; torch is used", f"run runs/{RUN} (best weights)"]


def test_a_file_of_other_weights_of_the_same_size_is_noticed(dlw, exported):
    weights = exported.parent / "best.pth"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert dlw("predict", "pictures", "--backend", "onnx").err == f"dlw: {STALE}\n"


def test_a_run_whose_files_were_copied_is_predicted_by_its_file(dlw, exported):
    os.utime(exported.parent / "best.pth", (1e9, 1e9))

    assert "onnx" in dlw("predict", "pictures").err


def test_other_weights_than_those_of_the_file_are_predicted_with_torch(dlw, exported):
    (exported.parent / "last.pth").write_bytes((exported.parent / "best.pth").read_bytes() + b" ")

    answer = dlw("predict", "pictures", "--weights", "last")

    assert "has other weights than last.pth; renew it: " in answer.err
    assert f"`dlw export runs/{RUN} --format onnx --weights last --overwrite`; torch is used" in answer.err


def test_a_damaged_file_is_noted_and_torch_predicts(dlw, exported):
    exported.write_bytes(b"torn")

    answer = dlw("predict", "pictures")

    assert answer.code == 0
    assert "model.onnx' is no ONNX model that can be read" in answer.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--run", "circles"], "run circles_v2-circles-001 has no model.onnx; make it: `dlw export runs/circles_v2-c"),
        (["--run", RUN, "--device", "cuda"], "--device: --backend onnx predicts on the CPU, not on 'cuda'"),
        (["--run", RUN, "--run", "circles"], "--backend onnx: takes one run, not 2; several are averaged with torch"),
        (["--model", "tinyvgg", "--weights", "w.pth"], "--backend: not with --model, which decides it"),
    ],
)
def test_what_onnx_cannot_do_is_an_error(arguments, error, dlw, exported):
    answer = dlw("predict", "pictures", "--backend", "onnx", *arguments)

    assert answer.err.startswith(f"dlw: {error}")


def test_without_onnxruntime_torch_predicts(dlw, exported, monkeypatch):
    monkeypatch.setattr("dlworkflow.inference.backends.find_spec", lambda name: None)

    assert dlw("predict", "pictures").err == f"run runs/{RUN} (best weights)\n"


@pytest.mark.usefixtures("exported")
def test_an_onnxruntime_that_cannot_be_imported_is_noted_and_torch_predicts(dlw, in_tmp, monkeypatch):
    (in_tmp / "onnxruntime.py").write_text("raise ImportError('libx.so: no such file')")
    monkeypatch.syspath_prepend(in_tmp)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)

    answer = dlw("predict", "pictures")

    note = "note    onnxruntime is installed and cannot be imported: libx.so: no such file; torch is used"
    assert answer.err.splitlines() == [note, f"run runs/{RUN} (best weights)"]


def test_labels_are_by_the_thresholds_that_the_run_has_now(exported):
    from dlworkflow.inference.onnx_predictor import OnnxPredictor

    summary = exported.parent / "summary.json"
    changed = json.loads(summary.read_text()) | {"task": "multilabel", "thresholds": dict.fromkeys("0123456789", 0.25)}
    summary.write_text(json.dumps(changed | {"baseline": {}}))

    assert OnnxPredictor.from_run(exported.parent).thresholds == (0.25,) * 10


def test_a_mirrored_image_is_averaged(dlw, exported):
    answer = dlw("predict", "pictures", "--tta", "flip")

    assert answer.err.splitlines()[0] == f"run runs/{RUN} (best weights, onnx, --tta flip)"


# A file alone


def test_a_file_alone_predicts_without_a_run(dlw, exported, in_tmp):
    exported.rename(in_tmp / "digits.onnx")

    answer = dlw("predict", "pictures", "--model", "digits.onnx", "--format", "json")

    assert labels(answer) == as_linear(3)
    assert answer.err == f"model digits.onnx: tinyvgg of run {RUN} (best weights, onnx)\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--weights", "last"], "--weights: not with --model m.onnx, which has weights of its own"),
        (["--classes", "a,b"], "--classes: not with --model m.onnx, which has classes and preprocessing of its own"),
        (["--device", "cuda"], "--device: an ONNX file predicts on the CPU, not on 'cuda'"),
        (["--run", "last"], "--run: not with --model, which uses no run"),
        ([], "no file 'm.onnx'"),
    ],
)
def test_what_does_not_go_with_a_file_is_an_error(arguments, error, dlw, pictures):
    assert dlw("predict", "pictures", "--model", "m.onnx", *arguments).err == f"dlw: {error}\n"


# What is not imported

WITHOUT = ("torch", "yaml", "matplotlib", "rich", "sklearn", "tqdm", "onnx")
CODE = f"""
import sys
from dlworkflow.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code, *[name for name in {WITHOUT} if name in sys.modules])
"""


def test_an_exported_run_is_predicted_without_torch(exported):
    command = [sys.executable, "-c", CODE, "predict", "pictures/0.png", "--run", "last"]

    found = subprocess.run(command, capture_output=True, text=True, check=True)

    assert found.stdout.splitlines()[-1] == "0"
    assert found.stderr == f"run runs/{RUN} (best weights, onnx)\n"


# As torch does, from the real exporter


@pytest.mark.slow
def test_texts_and_numbers_of_a_table_are_predicted_as_with_torch(dlw, in_tmp):
    rows = [f"{city},{age},{'yes' if age > 40 else 'no'}" for age in range(20, 60) for city in ("Zürich", "北京", "")]
    (in_tmp / "pays.csv").write_text("\n".join(["city,age,pays", *rows]), encoding="utf-8")
    dlw("train", "mlp", "--data", "pays.csv", "--epochs", 2, "--set", "data.missing=most_frequent")
    assert dlw("export", "last").code == 0

    torch, onnx = (dlw("predict", "pays.csv", "--format", "json", "--backend", name) for name in ("torch", "onnx"))

    found, expected = (([one["label"], one["probability"]] for one in json.loads(each.out)) for each in (onnx, torch))
    assert [pytest.approx(probability, abs=1e-5) for _, probability in expected] == [value for _, value in found]


def test_a_file_of_another_temperature_is_not_used(dlw, exported, runs):
    run = Run(runs / RUN)
    measured = {"nll": [1.0, 1.0, 1.0], "brier": [1.0, 1.0, 1.0], "error": [0.0, 0.0, 0.0], "error_by_chance": 0.0}
    found = {"run": RUN, "weights": "best", "epoch": run.summary().row("best")["epoch"], "split": "val", "steps": []}
    found |= {"samples": 9, "chosen_on_it": True, "interval": [2.0, 4.0], "before": measured, "after": measured}
    run.write_found(CalibrationSummary(**found, temperature=3.0))
    answer = dlw("predict", "pictures", "--format", "json")

    assert f"is uncalibrated, not calibrated with temperature 3; renew it: {RENEW}; torch is used" in answer.err
    assert labels(dlw("predict", "pictures", "--format", "json", "--uncalibrated")) == as_linear(3)


@pytest.mark.usefixtures("exported")
def test_an_exported_file_has_no_features_to_tell_unknown_inputs_by(dlw, runs):
    run = Run(runs / RUN)
    measured = {"nll": [1.0, 1.0, 1.0], "brier": [1.0, 1.0, 1.0], "error": [0.0, 0.0, 0.0], "error_by_chance": 0.0}
    found = {"run": RUN, "weights": "best", "epoch": run.summary().row("best")["epoch"], "split": "val", "steps": []}
    found |= {"samples": 20, "chosen_on_it": True, "interval": None, "before": measured, "after": measured}
    run.write_found(CalibrationSummary(**found, temperature=None, distances=[1.0] * 20))
    KnownSamples(np.ones((3, 2), np.float32), ["0", "1", "2"]).keep(run)

    answer = dlw("predict", "pictures", "--backend", "onnx", "--reject-unknown")

    assert "takes features, which an ONNX file does not give; use torch" in answer.complaints[-1]
