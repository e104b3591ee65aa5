"""What a cell of a notebook shows: every result has a repr of a few lines without tensors, and a table."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

import dlworkflow as dlw
from dlworkflow.analysis.evaluation import report_data
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.check.report import Finding
from dlworkflow.training.lr_finder import search_lr
from dlworkflow.training.run import run_training
from dlworkflow.training.sweep.folder import Plan, Point, Sweep
from dlworkflow.training.sweep.table import sweep_rows

WRONG = Finding("unreadable", paths=("pizza/1.jpg",))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [run_training(model=name, epochs=3, runs_dir=folder) for name in ("blobs", "line_v2")]


def shown(runs, tmp_path):
    """Return every result by name."""
    blobs, line = runs
    report = dlw.report_run(blobs)
    points = [Point(number, {"optimizer.lr": 0.1}, seed=number) for number in (1, 2)]
    plan = Plan({}, {}, ["optimizer.lr"], points)
    sweep = Sweep.create(tmp_path, "blobs", plan)
    return {
        "Run": blobs,
        "Run that is missing": dlw.Run(Path("nowhere")),
        "Splits": dlw.data.load("blobs"),
        "Splits of a regression": dlw.data.load("line"),
        "Evaluation": dlw.evaluate_run(blobs),
        "EvaluationReport": report,
        "EvaluationReport of a regression": dlw.report_run(line),
        "EvaluationSummary": report_data(blobs, load_part(blobs), report),
        "RunDiagnosis": dlw.diagnose_run(blobs),
        "Diagnosis": dlw.diagnose(blobs.history()),
        "compare_runs": dlw.compare_runs(runs),
        "compare_seeds": dlw.compare_seeds(runs),
        "FolderReport": dlw.FolderReport.of(
            "food", "classes", {"all": {"pizza": 2}}, [], n_files=2, n_read=2, findings=(WRONG,)
        ),
        "LrSearch": search_lr(dlw.resolve_config(model="blobs"), steps=10),
        "Sweep": sweep,
        "sweep_rows": sweep_rows(sweep, plan)[0],
    }


@pytest.fixture(scope="module")
def results(runs, tmp_path_factory):
    return shown(runs, tmp_path_factory.mktemp("sweeps"))


REPRS = {
    "Run": "finished; best epoch 3 with test_loss 0.",
    "Run that is missing": "Run('nowhere': no run, or damaged)",
    "Splits": "Splits('blobs': multiclass; 800 train, 200 test; inputs (2,), classes '0', '1', '2', '3')",
    "Splits of a regression": "Splits('line': regression; 40 train, 10 test; inputs (1,))",
    "Evaluation": "Evaluation(samples 200, loss 0.",
    "EvaluationReport": "EvaluationReport(multiclass: samples 200, loss 0.",
    "EvaluationReport of a regression": "EvaluationReport(regression: samples 10, loss 0.",
    "EvaluationSummary": "EvaluationSummary('blobs-blobs-001', best weights, test: samples 200, loss 0.",
    "RunDiagnosis": "too short: ",
    "Diagnosis": "too short: ",
    "compare_runs": "run blobs-blobs-001, best_epoch 3, ",
    "compare_seeds": "model blobs, data blobs, seeds 1, ",
    "FolderReport": "FolderReport('food': 2 images; errors: 1, warnings: 0)",
    "LrSearch": "of 10 learning rates: ",
    "Sweep": "2 waiting)",
    "sweep_rows": "optimizer.lr 0.10000",
}


@pytest.mark.parametrize("name", REPRS)
def test_the_repr_has_what_one_looks_for(results, name):
    assert REPRS[name] in repr(results[name])


@pytest.mark.parametrize("name", REPRS)
def test_the_repr_is_short(results, name):
    lines = repr(results[name]).splitlines()

    assert len(lines) <= 12
    assert "tensor(" not in "".join(lines)


@pytest.mark.parametrize("name", [name for name in REPRS if name != "Run that is missing"])
def test_a_notebook_shows_a_table_with_rows(results, name):
    table = ElementTree.fromstring(results[name]._repr_html_())

    assert len(list(table.iter("tr"))) > 1


def test_every_result_is_looked_at(results):
    assert results.keys() == REPRS.keys()


def test_a_predictor_shows_neither_layers_nor_settings(runs):
    shown = "Predictor(BlobModel of blobs-blobs-001: inputs (2,), classes '0', '1', '2', '3', on cpu)"

    assert repr(dlw.Predictor.from_run(runs[0], device="cpu")) == shown
