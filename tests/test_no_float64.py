"""No float64 on a device: Apple's has none. Here a device is tensors that say they are there, and refuse it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from dlworkflow.config import from_overrides
from dlworkflow.engine.ema import WeightAverage
from dlworkflow.engine.loop import Pass, evaluate, test_step, train, train_epochs
from dlworkflow.engine.losses import build_training_loss
from dlworkflow.engine.mixup import Mixed, MixedLoss, Mixing
from dlworkflow.engine.optimizers import build_optimizer
from dlworkflow.engine.schedules import Schedule, cosine
from dlworkflow.engine.scores import Total
from dlworkflow.engine.tasks import BINARY, MULTICLASS
from dlworkflow.engine.update import Update
from dlworkflow.metrics.functions import (
    accuracy_fn,
    calibration_bins,
    regression_metrics,
    top_k_accuracy,
)
from dlworkflow.metrics.per_class import classification_report
from dlworkflow.training.job import prepare
from dlworkflow.training.settings import resolve_config
from dlworkflow.training.sweep import vectorized

WHERE = torch.device("meta")  # a device that is in every build; the numbers are kept beside it


class OnDevice(Tensor):
    """A tensor on the stub device; `inner` holds its numbers on the CPU."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        if inner.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"this device has no {inner.dtype}")
        made = Tensor._make_wrapper_subclass(cls, inner.shape, inner.stride(), dtype=inner.dtype, device=WHERE)
        made.inner = inner
        return made

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return call(func, args, kwargs or {})


def call(func, args, kwargs):
    """Do on the CPU what is asked of the device, and put what comes out where it belongs."""
    wanted, given = kwargs.get("device"), []
    args, kwargs = tree_map_only(OnDevice, lambda tensor: given.append(tensor) or tensor.inner, (args, kwargs))
    if wanted is not None:
        kwargs["device"] = torch.device("cpu")
    found = func(*args, **kwargs)
    stays = bool(given) if wanted is None else torch.device(wanted) == WHERE
    if not stays:
        return found
    owners = {id(tensor.inner): tensor for tensor in given}  # what is changed in place stays itself
    return tree_map_only(Tensor, lambda tensor: owners[id(tensor)] if id(tensor) in owners else OnDevice(tensor), found)


class StubDevice(TorchDispatchMode):
    """Within the block, tensors can be put on the stub device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return call(func, args, kwargs or {})


@pytest.fixture(autouse=True)
def stub_device():
    with StubDevice():
        yield


def batches(task):
    X = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    y = {"multiclass": X[:, 0].gt(0).long(), "binary": X[:, 0].gt(0).float(), "regression": X[:, :1]}[task]
    return [*zip(X.split(5), y.split(5), strict=True)]


TASKS = {"multiclass": (nn.CrossEntropyLoss, 2), "binary": (nn.BCEWithLogitsLoss, 1), "regression": (nn.MSELoss, 1)}


def test_the_stub_device_refuses_float64():
    with pytest.raises(TypeError, match=r"no torch\.float64"):
        torch.ones(2).to(WHERE).double()

    assert torch.ones(2).to(WHERE).cpu().double().sum().item() == 2


@pytest.mark.parametrize("averaging", ["sample", "batch"])
@pytest.mark.parametrize("task", TASKS)
def test_training_and_scoring(task, averaging):
    loss, outputs = TASKS[task]
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, outputs)).to(WHERE)
    optimizer = build_optimizer("adam", model.parameters(), lr=0.01)

    found = train(model, batches(task), batches(task), optimizer, loss(), 2, WHERE, averaging=averaging)

    assert all(torch.tensor(found["test_loss"]).isfinite())
    assert test_step(model, batches(task), loss(), WHERE).loss == pytest.approx(
        evaluate(model, batches(task), loss(), WHERE).loss
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_all_that_learns_besides_the_model(name):
    model = nn.Linear(2, 2).to(WHERE)
    optimizer = build_optimizer(name, model.parameters(), lr=0.01)
    average, schedule = WeightAverage(model, 0.9), Schedule(optimizer, cosine(lr=0.01, epochs=3, updates=6, warmup=2))
    step = Update(
        optimizer, accumulate=2, clip_norm=1.0, clip_value=1.0, after=[schedule.after_update, average.after_update]
    )
    mixing = Mixing(mixup=0.4)
    weighed = build_training_loss(MULTICLASS, weights=torch.tensor([1.0, 5.0]), label_smoothing=0.1).to(WHERE)

    trained = Pass(Mixed(model, mixing), MixedLoss(weighed, mixing), MULTICLASS, WHERE)
    tested = Pass(average.averaged, nn.CrossEntropyLoss(), MULTICLASS, WHERE)

    found = list(train_epochs((1, 2), trained, tested, dict.fromkeys(("train", "test"), batches("multiclass")), step))

    assert len(found) == 2
    assert average.updates == 4


def test_weighed_losses_of_two_classes():
    loss_fn = build_training_loss(BINARY, weights=torch.tensor([1.0, 5.0]), label_smoothing=0.1).to(WHERE)
    total = Total(BINARY, "sample", loss_fn)
    for X, y in batches("binary"):
        logits, labels = X[:, 0].to(WHERE), y.to(WHERE)
        total.add(loss_fn(logits, labels), logits, labels)

    assert total.scores().acc == 1


def test_metrics_take_what_is_on_the_device():
    y, right = torch.tensor([0, 1, 1]).to(WHERE), torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]).to(WHERE)

    assert accuracy_fn(y, right.argmax(dim=1)) == pytest.approx(200 / 3)
    assert sum(calibration_bins(y, right)["count"]) == 3
    assert top_k_accuracy(y, right, 1) == pytest.approx(2 / 3)
    assert regression_metrics(y.float(), y.float())["mae"] == 0
    assert classification_report(y.cpu(), right.argmax(dim=1).cpu()).accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("model", "settings"), [("circles_v0", ["optimizer.name=adam"]), ("line", ["averaging=batch"])]
)
def test_models_that_train_together(monkeypatch, model, settings):
    config = resolve_config([from_overrides([f"model={model}", "epochs=2", *settings])])
    jobs = [replace(prepare(config), device=WHERE) for _ in range(2)]
    monkeypatch.setattr(vectorized, "Stacked", OneByOne)  # torch.vmap takes no tensors of a kind of their own

    for trained, diverged in vectorized.train_stacked(jobs):
        assert (len(trained.rows), diverged) == (2, None)


class OneByOne:
    """What `Stacked` gives, a model after the other."""

    def __init__(self, model, params, X):
        self._model = model

    def __call__(self, params, X, *, training):
        one = [{name: weights[i] for name, weights in params.items()} for i in range(len(next(iter(params.values()))))]
        return torch.stack([functional_call(self._model, weights, (X,)) for weights in one])
