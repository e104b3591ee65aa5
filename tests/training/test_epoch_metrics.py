"""The metrics of an epoch: they are those of an evaluation, and what cannot be counted is refused."""

from __future__ import annotations

import pytest
import torch

from dlworkflow.analysis.evaluation import evaluate_run, report_run
from dlworkflow.config import from_overrides
from dlworkflow.engine.tasks import MULTICLASS
from dlworkflow.errors import ConfigError
from dlworkflow.metrics.functions import METRICS
from dlworkflow.runs.comparison import compare_runs
from dlworkflow.training.epoch_metrics import EpochMetrics
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config


def train(folder, *pairs):
    return run_training(resolve_config([from_overrides(pairs)]), runs_dir=folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pairs = ("model=blobs", "epochs=3", "data.val_fraction=0.3", "metrics=[f1_macro, accuracy]")
    return train(tmp_path_factory.mktemp("runs"), *pairs)


def test_the_last_epoch_has_the_metrics_of_an_evaluation(run):
    [*_, last] = run.history()
    for split in ("test", "val"):
        metrics = report_run(run, split, weights="last").metrics

        assert last[f"{split}_f1_macro"] == pytest.approx(metrics["f1_macro"])
        assert last[f"{split}_accuracy"] == pytest.approx(last[f"{split}_acc"])
    assert evaluate_run(run, "test", weights="last").acc == pytest.approx(last["test_acc"])


def test_a_resumed_run_has_them_in_every_epoch(tmp_path):
    run = train(tmp_path, "model=circles_v2", "epochs=2", "metrics=[recall_macro]")
    whole = train(tmp_path, "model=circles_v2", "epochs=4", "metrics=[recall_macro]")

    resume_training(run, epochs=4)

    assert [row["test_recall_macro"] for row in run.history()] == [row["test_recall_macro"] for row in whole.history()]


def test_runs_are_compared_by_them(run):
    [row] = compare_runs([run], by="test_f1_macro")

    assert row["test_f1_macro"] == max(epoch["test_f1_macro"] for epoch in run.history())


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["model=blobs", "metrics=[roc_auc]"], "metrics: roc_auc takes more than counts: `dlw evaluate` computes it"),
        (["model=blobs", "metrics=[f1]"], "metrics: unknown metric 'f1'"),
        (["model=line", "metrics=[accuracy]"], "metrics: is for classes"),
    ],
)
def test_what_an_epoch_cannot_count_is_refused_by_name(pairs, words):
    with pytest.raises(ConfigError, match=words.replace("`", ".")):
        resolve_config([from_overrides(pairs)])


def test_a_registered_metric_of_counts_is_counted(monkeypatch):
    monkeypatch.setitem(METRICS.registered, "rights", lambda confusion: float(confusion.diagonal().sum()))
    metrics = EpochMetrics(["rights"], MULTICLASS, 3)

    metrics.of("test")((torch.eye(3), torch.tensor([0, 1, 1])))
    metrics.of("test")((torch.eye(3), torch.tensor([0, -100, 2])))

    assert metrics.take() == {"test_rights": 4.0}
    assert metrics.take() == {}
