"""All that changes while a run trains is one object: what it returns is what it continues from."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from dlworkflow.config import from_overrides
from dlworkflow.engine.loop import Epoch, Pass, train, train_epochs
from dlworkflow.engine.scores import Scores
from dlworkflow.engine.tasks import BINARY
from dlworkflow.errors import RunError
from dlworkflow.runs import list_runs
from dlworkflow.training import run as running
from dlworkflow.training.optimization import build_state
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

EVERYTHING = (
    *("model=circles_v2", "epochs=9", "data.batch_size=50", "data.shuffle=true", "schedule=one_cycle", "ema=0.9"),
    *("optimizer.name=adam", "optimizer.lr=0.01", "early_stopping.patience=3", "precision=fp16", "accumulate=2"),
)


def state_of(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    return build_state(resolve_config([from_overrides(EVERYTHING)]), model, n_batches=4)


def train_on(state, numbers):
    loss_fn = nn.BCEWithLogitsLoss()
    trained = Pass(state.model, loss_fn, BINARY, torch.device("cpu"))
    tested = Pass(state.saved, loss_fn, BINARY, torch.device("cpu"))
    batches = [(torch.randn(8, 2), torch.randint(2, (8,)).float()) for _ in range(4)]
    losses = []
    for epoch in train_epochs(numbers, trained, tested, {"train": batches, "test": batches}, state.update):
        state.end_epoch(epoch)
        losses.append((epoch.lr, epoch.train.loss, epoch.test.loss))
    return losses


def test_a_state_continues_from_what_another_returned_to_the_same_bits():
    first, second = state_of(0), state_of(1)
    train_on(first, range(1, 4))
    taken = first.state_dict()
    expected = train_on(first, range(4, 7))

    assert second.fault({**taken, "best": taken["last"]}) == ""
    second.load_state_dict(taken)

    assert train_on(second, range(4, 7)) == expected
    assert taken["parts"].keys() == {"schedule", "stopper", "average", "scaler"}


def test_what_a_state_returned_does_not_change_as_training_continues():
    state = state_of(0)
    train_on(state, [1])
    taken = state.state_dict()
    before = {name: tensor.clone() for name, tensor in taken["last"].items()}

    train_on(state, [2])

    assert all(torch.equal(before[name], tensor) for name, tensor in taken["last"].items())


@pytest.mark.parametrize("part", ["schedule", "stopper", "average", "scaler"])
def test_a_state_that_lacks_a_part_is_named(part):
    state = state_of(0)
    train_on(state, [1])
    taken = state.state_dict()
    del taken["parts"][part]

    assert state.fault({**taken, "best": taken["last"]}) == f"state.parts lacks {part}"


def test_the_next_epoch_begins_when_it_is_asked_for():
    state = state_of(0)
    numbers = iter([1, 2])
    batches = {"train": [(torch.randn(8, 2), torch.ones(8))], "test": [(torch.randn(8, 2), torch.ones(8))]}
    one = Pass(state.model, nn.BCEWithLogitsLoss(), BINARY, torch.device("cpu"))

    epochs = train_epochs(numbers, one, one, batches, state.update)

    assert (next(epochs).number, next(numbers)) == (1, 2)


def test_an_epoch_that_a_handler_before_the_recorder_refuses_is_not_kept(tmp_path, monkeypatch):
    def refuse(epoch):
        if epoch.number == 3:
            raise RunError("changed")

    monkeypatch.setattr(running, "read_through", lambda *_, **__: [refuse])

    with pytest.raises(RunError, match="changed"):
        run_training(resolve_config([from_overrides(["model=line", "epochs=5"])]), runs_dir=tmp_path)

    [run] = list_runs(tmp_path)
    assert (len(run.history()), run.summary().status) == (2, "failed")


def test_the_loss_that_is_monitored_is_that_of_the_validation_split_where_there_is_one():
    scores = [Scores(loss, 0.5) for loss in (1.0, 2.0, 3.0)]

    assert Epoch(1, 0.1, 0.0, *scores[:2]).monitored_loss == 2.0
    assert Epoch(1, 0.1, 0.0, *scores).monitored_loss == 3.0


def test_the_notes_train_has_the_notes_parameters_and_no_hook_of_a_feature():
    assert [*inspect.signature(train).parameters] == [
        *("model", "train_dataloader", "test_dataloader", "optimizer", "loss_fn", "epochs", "device"),
        *("task", "averaging", "scheduler", "on_epoch", "val_dataloader"),
    ]
