"""`dlw export`: a file predicts what its run predicts, or is not written."""

from __future__ import annotations

import json
import random

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import dlworkflow as dlw_
from dlworkflow import models
from dlworkflow.inference.export import parity
from dlworkflow.inference.export.description import read_description
from dlworkflow.inference.export.formats import FORMATS
from dlworkflow.inference.export.safetensors_file import SafetensorsFile
from dlworkflow.runs import Run

TINYVGG, CIRCLES = "tinyvgg-digits-001", "circles_v2-circles-001"


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def tinyvgg(trained, tmp_path_factory):
    """The path of the ONNX file of the run tinyvgg-digits-001; read it, change nothing."""
    return dlw_.export_run(trained / TINYVGG, out=tmp_path_factory.mktemp("onnx") / "model.onnx").path


def test_an_onnx_file_takes_raw_pixels_and_returns_the_probabilities_of_its_run(tinyvgg, trained):
    images = dlw_.data.load("digits").test.images[:5]
    expected = dlw_.Predictor.from_run(trained / TINYVGG).predict(images, top_k=1)

    [found] = session_of(tinyvgg).run(None, {"images": images.numpy()})

    assert found.max(axis=1) == pytest.approx([each.probability for each in expected], abs=1e-6)


def test_an_onnx_file_describes_itself_and_its_parity(tinyvgg, trained):
    found = read_description(session_of(tinyvgg).get_modelmeta().custom_metadata_map, source="it")

    assert found.is_of(Run(trained / TINYVGG).weights_path())
    assert found.classes == [*map(str, range(10))]
    assert found.parity.samples == 256
    assert (found.parity.source, found.parity.changed) == ("test split", 0)


def test_an_onnx_file_holds_no_path(tinyvgg, trained):
    content = tinyvgg.read_bytes()

    assert not [word for word in (str(trained), "site-packages", "dlworkflow/", ".py") if word.encode() in content]


@pytest.fixture
def table(in_tmp):
    """A file of a text with gaps, numbers and a class that follows from both."""
    draw = random.Random(0)
    lines = ["city,age,pays"]
    for number in range(60):
        city, age = draw.choice(["Zürich", "北京"]), draw.randint(20, 60)
        lines.append(f"{city if number % 9 else ''},{age},{'yes' if (age > 40) == (city == '北京') else 'no'}")
    (in_tmp / "pays.csv").write_text("\n".join(lines), encoding="utf-8")
    return in_tmp / "pays.csv"


def test_an_onnx_file_of_a_table_takes_its_numbers_and_texts(table, dlw):
    dlw("train", "mlp", "--data", table, "--epochs", 2, "--set", "data.missing=most_frequent")
    assert dlw("export").code == 0
    rows = [("北京", 30), ("", 50), ("Zürich", 45)]
    expected = dlw_.Predictor.from_run("last").predict([{"city": city, "age": age} for city, age in rows])
    given = {
        "numbers": np.array([[age] for _, age in rows], dtype=np.float64),
        "categories": np.array([[city] for city, _ in rows], dtype=object),
    }

    [found] = session_of("runs/mlp-pays-001/model.onnx").run(None, given)

    assert found.max(axis=1) == pytest.approx([each.probability for each in expected], abs=1e-6)


def test_a_file_of_torch_export_runs_without_the_class_of_its_model(runs, dlw):
    assert dlw("export", "circles", "--format", "torch").code == 0
    points = torch.tensor([[0.3, 0.9], [0.1, 0.2]])
    expected = dlw_.Predictor.from_run(CIRCLES).predict(points)

    found = torch.export.load(runs / CIRCLES / "model.pt2").module()(points)

    assert found.amax(dim=1).tolist() == pytest.approx([each.probability for each in expected])


def test_safetensors_hold_the_weights_by_name_and_labels_beside_them(runs, dlw):
    answer = dlw("export", "tinyvgg", "--format", "safetensors", "--weights", "last", "--out", "net.safetensors")

    assert answer.out == "net.safetensors\n"
    weights = models.weights.checkpoint.load_weights("net.safetensors")
    expected = torch.load(runs / TINYVGG / "last.pth", weights_only=True)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    labels = json.loads((runs.parent / "labels.json").read_text())
    assert (labels["weights"], labels["classes"][3]) == ("last", "3")


def test_the_comparison_is_printed_with_its_samples(runs, dlw):
    answer = dlw("export", "line", "--format", "torch")

    assert answer.err.splitlines()[1].startswith("compared 10 samples of the test split: largest difference of a value")


def test_data_that_is_gone_is_replaced_by_random_inputs_with_a_note(runs, dlw):
    path = runs / CIRCLES / "summary.json"
    path.write_text(path.read_text().replace('"name": "circles"', '"name": "gone"'))

    answer = dlw("export", "circles", "--format", "torch")

    note, compared = answer.err.splitlines()[1:]
    assert note.startswith("note: compared over random inputs: ")
    assert compared.startswith("compared 256 random inputs: ")


def test_a_file_that_predicts_something_else_is_not_written(runs, dlw, monkeypatch):
    (runs / CIRCLES / "model.pt2").write_text("before")
    right = parity.answers_of_file
    monkeypatch.setattr("dlworkflow.analysis.export.answers_of_file", lambda *given: right(*given) + 0.01)

    answer = dlw("export", "circles", "--format", "torch", "--overwrite")

    assert (answer.code, (runs / CIRCLES / "model.pt2").read_text()) == (1, "before")
    assert "largest difference of a probability 1.0e-02, changed labels 0; at most 0.0001 is allowed" in answer.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--format", "onx"], "--format: unknown export format 'onx'; did you mean 'onnx'?"),
        (["--out", "runs"], "--out: 'runs' is a folder; name a file in it"),
        (["--format", "safetensors", "--out", "labels.json"], "'labels.json' is written beside the file"),
        (["--out", "no/model.onnx"], "cannot write 'no/model.onnx': No such file or directory"),
        (
            ["--out", f"runs/{CIRCLES}/best.pth", "--overwrite"],
            "is an input of this command, which is never overwritten",
        ),
        (["--weights", "last"], "circles_v2-circles-001 has no weights 'last.pth' (status: finished)"),
    ],
)
def test_what_cannot_be_exported_is_one_line(runs, dlw, arguments, complaint):
    (runs / CIRCLES / "last.pth").unlink()

    answer = dlw("export", "circles", *arguments)

    assert answer.code
    assert complaint in answer.complaints[0]
    assert len(answer.complaints) == 1


def test_an_existing_file_stays_without_overwrite(runs, dlw):
    (runs / CIRCLES / "model.onnx").write_text("mine")

    answer = dlw("export", "circles")

    assert (answer.code, (runs / CIRCLES / "model.onnx").read_text()) == (2, "mine")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_comes_with_its_pip_line(runs, dlw, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)

    answer = dlw("export", "circles")

    assert answer.complaints == [
        f"dlw: --format onnx needs {package}, which is not installed; get it with: pip install 'dlworkflow[export]'"
    ]


def test_a_sweep_is_several_models(in_tmp, dlw):
    dlw("sweep", "line", "--seeds", 2, "--epochs", 1)

    answer = dlw("export", "line-sweep-001")

    assert answer.complaints == [
        "dlw: line-sweep-001 is 2 runs, and a file holds one model: name one, as line-sweep-001-001"
    ]


class Decomposed(nn.Module):
    """Takes points (n, 2), returns logits (n, 1), by an operation that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 4)

    def forward(self, x):
        return torch.linalg.eigvalsh(self.fc(x).reshape(-1, 2, 2)).sum(dim=1, keepdim=True)


class Branching(nn.Module):
    """Takes points (n, 2), returns logits (n, 1), by steps that depend on the points."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x):
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (Decomposed, "ONNX cannot hold the model: it has no operator for aten._linalg_eigh; --format torch may"),
        (Branching, "torch.export cannot follow Branching: its steps depend on the values of its inputs"),
    ],
)
def test_a_model_that_onnx_cannot_hold_names_what_it_lacks(in_tmp, dlw, model, complaint):
    models.register("mine", model)
    run = dlw_.run_training(model="mine", data="circles", epochs=1, verbose=False)

    answer = dlw("export", run.name)

    assert (answer.code, len(answer.complaints)) == (1, 1)
    assert complaint in answer.complaints[0]


@pytest.mark.usefixtures("forget")
def test_a_registered_format_is_one_of_the_command(runs, dlw):
    class Mine(SafetensorsFile):
        """Weights under an ending of my own."""

        suffix = "mine"

    FORMATS.register("mine", Mine)

    assert dlw("export", "circles", "--format", "mine").out == f"runs/{CIRCLES}/model.mine\n"
    assert "Weights under an ending of my own" in dlw("list", "formats").out


def test_a_model_beyond_the_size_of_an_onnx_file_is_one_line(runs, dlw, monkeypatch):
    monkeypatch.setattr("dlworkflow.inference.export.onnx_file._MOST_BYTES", 100)

    answer = dlw("export", "circles")

    assert answer.complaints == [
        "dlw: ONNX cannot hold the model in one file: it has 2 GiB or more; use --format torch"
    ]


def test_a_full_disk_leaves_no_file(runs, dlw):
    answer = dlw("export", "circles", "--format", "safetensors", "--out", "/dev/full")

    assert (answer.code, "No space left on device" in answer.err) == (1, True)


@pytest.mark.parametrize("others", [["--format", "torch"], ["--out", "m.onnx"]], ids=" ".join)
def test_a_package_has_no_other_format_and_no_file_beside_it(others, dlw, trained, in_tmp):
    ended = dlw("export", trained / CIRCLES, "--package", "p", *others)

    assert (ended.code, [*in_tmp.iterdir()]) == (2, [])
    assert "--package: it is a folder with an ONNX file, model.onnx; leave out --format and --out" in ended.err
