"""FashionMNIST V0, one epoch and its evaluation, in other libraries as their documentation does it.

Each with its own way to the data (torchvision's data set through its loader), and with the batches in a list, which
times its loop alone. All have the model, the optimizer and the batches of ours, and one thread; bars, logs and
checkpoints are off. What is timed returns the test accuracy: `bench.py` refuses a way that has not learned.
A library that is not installed has no row; `make bench-peers` installs them all in an environment of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import floors
import notes_way
import torch
from torch import nn, optim

from dlworkflow import data, models
from dlworkflow.data.loaders import make_loader
from dlworkflow.engine.device import thread_count
from dlworkflow.engine.loop import train

Timed = Callable[[], float]
PACKAGES = {  # what is imported -> what pip installs
    "skorch": "skorch",
    "ignite": "pytorch-ignite",
    "lightning": "lightning",
    "fastai": "fastai",
    "keras": "keras",
}
LEAST = 0.7  # test accuracy of a linear model after an epoch


def ways(fashion: Callable[[], Any]) -> dict[str, Callable[[], Timed]]:
    """Return {way: what prepares it} of ours, of bare loops and of each library that is installed."""
    found: dict[str, Callable[[], Timed]] = {
        "ours": _ours,
        "bare loop, lists": _bare,
        "ours, lists": _ours_on_lists,
        "the notes' loop": partial(_notes, fashion),
    }
    for package, way in _WAYS.items():
        if importlib.util.find_spec(package) is not None:
            found[package] = partial(way, lambda: notes_way.fashion_loaders(fashion()))
            if package != "keras":  # which takes arrays
                found[f"{package}, lists"] = partial(way, _lists)
    return {name: partial(_on_one_thread, way) for name, way in found.items()}


def _on_one_thread(way: Callable[[], Timed]) -> Timed:
    timed = way()

    def run() -> float:
        with thread_count(1):
            return timed()

    return run


def versions() -> str:
    """Return the versions of the libraries that are installed."""
    there = [name for package, name in PACKAGES.items() if importlib.util.find_spec(package) is not None]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in there)


def _model() -> nn.Module:
    torch.manual_seed(42)
    return models.build("fashion_mnist_v0", (1, 28, 28), 10)


def _lists() -> tuple[floors.Batches, floors.Batches]:
    splits = data.load("fashion_mnist", offline=True)
    return (
        floors.batches(splits.train.images, splits.train.labels, shuffle=True),
        floors.batches(splits.test.images, splits.test.labels, shuffle=False),
    )


def _ours() -> Timed:
    splits = data.load("fashion_mnist", offline=True)
    return _trained_by_us(make_loader(splits.train, 32, shuffle=True), make_loader(splits.test, 32))


def _ours_on_lists() -> Timed:
    return _trained_by_us(*_lists())


def _trained_by_us(batches: Any, test: Any) -> Timed:
    model = _model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return lambda: train(model, batches, test, optimizer, nn.CrossEntropyLoss(), epochs=1)["test_acc"][-1]


def _bare() -> Timed:
    model, (batches, test) = _model(), _lists()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def run() -> float:
        floors.classify(model, batches, test, optimizer, 1)
        return floors.evaluate(model, test)[1] / sum(len(y) for _, y in test)

    return run


def _notes(fashion: Callable[[], Any]) -> Timed:
    model, (batches, test) = _model(), notes_way.fashion_loaders(fashion())
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def run() -> float:
        notes_way.classify(model, batches, test, optimizer, 1)
        return 1.0  # the loop prints its accuracy and returns losses

    return run


def _skorch(loaders: Callable[[], Any]) -> Timed:
    from skorch import NeuralNetClassifier
    from skorch.helper import predefined_split

    batches, test = loaders()
    own = {}
    if isinstance(batches, list):
        own = {"iterator_train": lambda *_, **__: batches, "iterator_valid": lambda *_, **__: test}
        trained_on: Any = data.load("fashion_mnist", offline=True)
        parts = trained_on.train, trained_on.test
    else:
        parts = batches.dataset, test.dataset
        own = {"iterator_train__shuffle": True}
    net = NeuralNetClassifier(
        _model(),
        criterion=nn.CrossEntropyLoss,
        optimizer=optim.SGD,
        lr=0.1,
        max_epochs=1,
        batch_size=32,
        train_split=predefined_split(parts[1]),
        classes=list(range(10)),
        verbose=0,
        **own,
    )
    return lambda: net.fit(parts[0], None).history[-1, "valid_acc"]


def _ignite(loaders: Callable[[], Any]) -> Timed:
    from ignite.engine import create_supervised_evaluator, create_supervised_trainer
    from ignite.metrics import Accuracy, Loss

    model, (batches, test) = _model(), loaders()
    loss_fn = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optim.SGD(model.parameters(), lr=0.1), loss_fn)
    evaluator = create_supervised_evaluator(model, metrics={"acc": Accuracy(), "loss": Loss(loss_fn)})

    def run() -> float:
        trainer.run(batches, max_epochs=1)
        return float(evaluator.run(test).metrics["acc"])

    return run


def _lightning(loaders: Callable[[], Any]) -> Timed:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_fn = _model(), nn.CrossEntropyLoss()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            X, y = batch
            return self.loss_fn(self.model(X), y)

        def validation_step(self, batch: Any, _: int) -> None:
            X, y = batch
            logits = self.model(X)
            self.log("loss", self.loss_fn(logits, y), batch_size=len(y))
            self.log("acc", (logits.argmax(dim=1) == y).float().mean(), batch_size=len(y))

        def configure_optimizers(self) -> optim.Optimizer:
            return optim.SGD(self.parameters(), lr=0.1)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    batches, test = (_Iterable(part) if isinstance(part, list) else part for part in loaders())
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )

    def run() -> float:
        trainer.fit(Module(), batches, test)
        return float(trainer.callback_metrics["acc"])

    return run


class _Iterable:
    """Batches that are no list: Lightning takes a list for several loaders."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)


def _fastai(loaders: Callable[[], Any]) -> Timed:
    import fastai.callback.progress  # noqa: F401 - gives a learner `no_bar`
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import SGD

    batches, test = loaders()
    if isinstance(batches, list):
        parts = DataLoaders(DataLoader(batches, bs=None), DataLoader(test, bs=None), device="cpu")
    else:
        parts = DataLoaders.from_dsets(batches.dataset, test.dataset, bs=32, num_workers=0, device="cpu")
    learner = Learner(parts, _model(), loss_func=nn.CrossEntropyLoss(), opt_func=SGD, lr=0.1, metrics=accuracy)

    def run() -> float:
        with learner.no_bar(), learner.no_logging():
            learner.fit(1)
        return float(learner.recorder.values[-1][-1])

    return run


def _keras(_: Callable[[], Any]) -> Timed:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    splits = data.load("fashion_mnist", offline=True)
    (X, y), (X_test, y_test) = (
        (part.images[:, 0].float().div(255).numpy(), part.labels.numpy()) for part in (splits.train, splits.test)
    )
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])

    def run() -> float:
        found = model.fit(X, y, batch_size=32, epochs=1, validation_data=(X_test, y_test), verbose=0)
        return float(found.history["val_accuracy"][-1])

    return run


_WAYS: dict[str, Callable[[Callable[[], Any]], Timed]] = {
    "skorch": _skorch,
    "ignite": _ignite,
    "lightning": _lightning,
    "fastai": _fastai,
    "keras": _keras,
}
warnings.filterwarnings("ignore", module="lightning")
