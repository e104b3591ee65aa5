"""`fit`: a model and loaders that are there already, trained as a run. Prints nothing."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import update_wrapper
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torch.utils.data._utils.collate import default_collate

from dlworkflow import data as data_sets
from dlworkflow import models
from dlworkflow.data.given import as_splits
from dlworkflow.data.splits import Splits
from dlworkflow.engine.losses import LOSSES
from dlworkflow.engine.tasks import LossFn, get_task
from dlworkflow.errors import ConfigError
from dlworkflow.registry import Registry
from dlworkflow.runs import Run
from dlworkflow.training.run import run_training

GIVEN = "given"
"""The name of data that was given as objects."""


def fit(
    model: str | nn.Module,
    train: Any = None,
    test: Any = None,
    *,
    val: Any = None,
    data: str | os.PathLike[str] | Splits | None = None,
    loss_fn: LossFn | str | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Train a model and return its run folder: history, summary, best and last weights, the state of training.

    `model` is a name of `dlw models` or a module, which is trained in place and then has the last epoch's weights.
    `data` is a name, a path or `Splits`; or `train`, `test` and perhaps `val` are loaders or data sets of (inputs,
    label). Batch size, shuffling and workers are those of the `train` loader, classes those of its data set (`classes`,
    else the labels), and the task follows from `loss_fn`, else from the labels (`data.given.as_splits`). `settings` are
    those of `run_training`, such as epochs, lr, optimizer, runs_dir, name, on_epoch.

        run = dlw.fit("resnet18", data="my_photos", epochs=3)
        run = dlw.fit(model, train_loader, test_loader, epochs=5, lr=0.01)

    The run keeps the class of a module, its file and that file's digest: predict with `Predictor.from_run(run,
    model=model)`, or `dlw predict --code FILE.py` where the class needs nothing but what the data gives. Objects are
    known in this call alone: such a run cannot be resumed, and `dlw evaluate` needs `--data`. Raises ConfigError for a
    loader whose sampler or collate_fn would not be used.
    """
    with ExitStack() as stack:
        chosen: dict[str, Any] = {"model": model}
        if isinstance(model, nn.Module):
            chosen["model"] = stack.enter_context(_known(models.REGISTRY, type(model).__name__, _as_it_is(model)))
        if callable(loss_fn):
            chosen["loss"] = _named(loss_fn) or stack.enter_context(_known(LOSSES, _called(loss_fn), _loss(loss_fn)))
        elif loss_fn is not None:
            chosen["loss"] = loss_fn
        splits = data if isinstance(data, Splits) else None
        if train is not None or test is not None:
            if data is not None:
                raise ConfigError("data: contradicts train and test; give either")
            chosen |= _served(train)
            splits = _splits_of(model, {"train": train, "val": val, "test": test}, loss_fn)
        if splits is not None:
            chosen["data"] = stack.enter_context(_known(data_sets.REGISTRY, GIVEN, _always(splits)))
        elif data is not None:
            chosen["data"] = data
        return run_training(chosen, **settings)


@contextmanager
def _known(registry: Registry[Any], name: str, thing: Callable[..., Any]) -> Iterator[str]:
    """Let a registry have a thing within the block, under this name or, where the library has that, one like it."""
    name = f"{name}_given" if name in registry.table else name
    before = dict(registry.registered)
    registry.registered[name] = thing
    try:
        yield name
    finally:
        registry.registered.clear()
        registry.registered.update(before)


def _as_it_is(model: nn.Module) -> Callable[[], nn.Module]:
    """Return a constructor without settings of a model that is there; what is kept of it is its class."""

    def given() -> nn.Module:
        return model.cpu()  # where every model is built; training moves it to its device

    update_wrapper(given, type(model), updated=())
    given.__signature__ = inspect.Signature()  # type: ignore[attr-defined] # not that of the class
    if hasattr(model, "classifier_layer"):
        given.classifier_layer = model.classifier_layer  # type: ignore[attr-defined] # a name for `freeze`
    return given


def _always(splits: Splits) -> Callable[[], Splits]:
    return lambda: splits


def _splits_of(model: str | nn.Module, parts: Mapping[str, Any], loss_fn: Any) -> Splits:
    """Return the splits of loaders or data sets; a module's outputs are the least number of classes."""
    missing = [name for name in ("train", "test") if parts[name] is None]
    if missing:
        raise ConfigError(f"{missing[0]}: is missing; fit takes a loader or data set for training and one for testing")
    task = None
    if callable(loss_fn):
        task = _task_of(loss_fn)
    splits = as_splits(GIVEN, parts, task=task)
    if splits.task == "multiclass" and isinstance(model, nn.Module):
        return as_splits(GIVEN, parts, task=splits.task, n_outputs=_n_outputs(model, splits))
    return splits


def _task_of(loss_fn: LossFn) -> str | None:
    """Return the task that a loss implies, None where it is not known."""
    try:
        task = get_task(None, loss_fn)
    except ConfigError:
        return None
    if task.outputs != "logits":
        raise ConfigError(
            f"loss_fn: {_called(loss_fn)} takes {str(task.outputs).replace('_', ' ')}; a run's model gives raw scores: "
            "leave out its last activation and use BCEWithLogitsLoss or CrossEntropyLoss"
        )
    return task.name


def _n_outputs(model: nn.Module, splits: Splits) -> int | None:
    """Return how many scores a module gives a sample; None where it cannot be called, which is reported later."""
    first = next(model.parameters(), torch.empty(0))
    was_training = model.training
    try:
        with torch.no_grad():
            return int(model.eval()(torch.zeros(1, *splits.in_shape, device=first.device)).shape[-1])
    except Exception:  # noqa: BLE001 - whatever it is, building the model meets it again
        return None
    finally:
        model.train(was_training)


def _served(train: Any) -> dict[str, Any]:
    """Return the settings of a loader. Raises ConfigError for one that serves samples in a way of its own."""
    if not isinstance(train, DataLoader):
        return {}
    own = []
    if train.batch_size is None or not isinstance(train.sampler, RandomSampler | SequentialSampler):
        own.append("sampler")
    if train.collate_fn is not default_collate:
        own.append("collate_fn")
    if own:
        raise ConfigError(f"train: its {own[0]} would not be used; give the data set, with settings such as batch_size")
    shuffle = isinstance(train.sampler, RandomSampler)
    return {"data.batch_size": train.batch_size, "data.shuffle": shuffle, "data.num_workers": train.num_workers}


def _called(loss_fn: Any) -> str:
    return str(getattr(loss_fn, "__name__", type(loss_fn).__name__))


def _named(loss_fn: Any) -> str | dict[str, Any] | None:
    """Return the name of the library's loss that is the same as this one, with its settings; None for any other."""
    for name in LOSSES.table:
        settings = {key: getattr(loss_fn, key) for key in LOSSES.settings(name) if hasattr(loss_fn, key)}
        usual = LOSSES.build(name, {}, reduction="mean")
        if type(usual) is not type(loss_fn) or loss_fn.state_dict():
            continue
        if _plain(LOSSES.build(name, settings, reduction="mean")) == _plain(loss_fn):
            return {"name": name, **settings} if settings else name
    return None


def _plain(loss_fn: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(loss_fn).items() if not key.startswith("_") and key != "training"}


def _loss(loss_fn: Any) -> Callable[[], Any]:
    """Return a constructor without settings of a loss that is there."""
    made = LOSSES.adopt(loss_fn)
    if isinstance(loss_fn, nn.Module):
        return made

    def given() -> Any:
        return made()

    update_wrapper(given, loss_fn)
    given.__signature__ = inspect.Signature()  # type: ignore[attr-defined] # the user has set it already
    return given
