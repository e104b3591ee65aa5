"""What the loop is given in place of loaders, a device or an optimizer of the model is named before it trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from dlworkflow.course.helpers import make_predictions
from dlworkflow.course.training import eval_model
from dlworkflow.engine.device import available_devices
from dlworkflow.engine.loop import evaluate, test_step, train, train_step
from dlworkflow.errors import ConfigError, DataError, DlwError, ModelError

X, Y = torch.zeros(6, 2), torch.zeros(6, 1)
BATCHES = [(X, Y)]
BCE = nn.BCEWithLogitsLoss()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def calls(batches, device=None):
    """Return a call of each function of the loop."""
    model = nn.Linear(2, 1)
    return {
        "train": lambda: train(model, batches, batches, sgd(model), BCE, 1, device),
        "train_step": lambda: train_step(model, batches, BCE, sgd(model), device),
        "test_step": lambda: test_step(model, batches, BCE, device),
        "data_loader": lambda: test_step(model, data_loader=batches, loss_fn=BCE, device=device),
        "evaluate": lambda: evaluate(model, batches, BCE, device),
        "eval_model": lambda: eval_model(model, batches, BCE, device=device),
    }


@pytest.mark.parametrize("name", calls([]))
@pytest.mark.parametrize(
    ("given", "named", "fix"),
    [
        (X, "a tensor of shape (6, 2)", "make_loader(TensorData(X, y), batch_size=32"),
        (X.numpy(), "an array of shape (6, 2)", "make_loader(TensorData(X, y), batch_size=32"),
        ((X, Y), "one pair of tensors", "make_loader(TensorData(X, y), batch_size=32"),
        (TensorDataset(X, Y), "a data set (TensorDataset)", "make_loader(dataset, batch_size=32"),
        (3, "int", "make_loader(TensorData(X, y), batch_size=32"),
    ],
    ids=["tensor", "array", "pair", "data set", "number"],
)
def test_what_gives_no_batches_is_named_with_the_call_that_makes_them(name, given, named, fix):
    with pytest.raises(DataError) as wrong:
        calls(given)[name]()

    assert f"must give batches of (inputs, labels), not {named}; pass {fix}" in str(wrong.value)


def test_the_parameter_of_the_loader_is_named():
    model = nn.Linear(2, 1)

    with pytest.raises(DataError, match=r"^test_dataloader: "):
        train(model, BATCHES, X, sgd(model), BCE)


def test_samples_with_labels_are_no_inputs_to_predict():
    with pytest.raises(DataError, match=r"pass \[image for image, label in dataset\]"):
        make_predictions(nn.Linear(2, 1), TensorDataset(X, Y))


ABSENT = "mps" if "mps" not in available_devices() else "cuda"


@pytest.mark.parametrize("device", [ABSENT, torch.device(ABSENT), "cuda:99", "gpu"], ids=str)
@pytest.mark.parametrize("name", calls([]))
def test_a_device_that_is_not_there_names_the_parameter_and_those_that_are(name, device):
    with pytest.raises(ConfigError, match=r"^device: '.+' is not on this machine; possible: auto, .*cpu$"):
        calls(BATCHES, device)[name]()


def test_predictions_on_a_device_that_is_not_there():
    with pytest.raises(ConfigError, match=r"^device: '.+' is not on this machine"):
        make_predictions(nn.Linear(2, 1), X, ABSENT)


@pytest.mark.parametrize("name", ["train", "train_step"])
def test_an_optimizer_of_another_model_is_an_error_that_shows_how_to_make_it(name):
    model, optimizer = nn.Linear(2, 1), sgd(nn.Linear(2, 1))
    call = {
        "train": lambda: train(model, BATCHES, BATCHES, optimizer, BCE),
        "train_step": lambda: train_step(model, BATCHES, BCE, optimizer),
    }

    with pytest.raises(
        ModelError, match=r"no parameter of this Linear.* torch\.optim\.SGD\(model\.parameters\(\), lr=0\.1"
    ):
        call[name]()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": nn.Linear}, "model: Linear is a class; pass a model made of it, Linear(...)"),
        (
            {"optimizer": torch.optim.SGD},
            "optimizer: SGD is a class; pass one made of it, SGD(model.parameters(), lr=0.1)",
        ),
        ({"loss_fn": nn.MSELoss}, "loss_fn: MSELoss is a class; pass one made of it, MSELoss()"),
        ({"loss_fn": None}, "loss_fn: must be a loss function, as torch.nn.CrossEntropyLoss(), not None"),
        ({"loss_fn": "mse"}, "loss_fn: must be a loss function, as torch.nn.CrossEntropyLoss(), not 'mse'"),
        ({"epochs": -1}, "epochs: must be a whole number of at least 0, not -1"),
        ({"epochs": 1.5}, "epochs: must be a whole number of at least 0, not 1.5"),
        (
            {"test_dataloader": iter(BATCHES)},
            "test_dataloader: a list_iterator gives its batches once, not in each of 2 epochs; pass list(batches)",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_pass(changed, words):
    model = nn.Linear(2, 1)
    right = {"model": model, "train_dataloader": BATCHES, "test_dataloader": BATCHES, "optimizer": sgd(model)}

    with pytest.raises(DlwError) as wrong:
        train(**{**right, "loss_fn": BCE, "epochs": 2, **changed})

    assert str(wrong.value) == words


def test_a_generator_of_batches_is_enough_for_one_epoch():
    model = nn.Linear(2, 1)

    assert len(train(model, iter(BATCHES), iter(BATCHES), sgd(model), BCE, epochs=1)["train_loss"]) == 1


def test_an_optimizer_of_a_part_of_the_model_is_taken():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    train_step(model, BATCHES, BCE, sgd(model[1]))


def test_an_optimizer_made_before_the_model_was_moved_is_taken():
    model = nn.Linear(2, 1)
    optimizer = sgd(model)

    train_step(model.to("cpu"), BATCHES, BCE, optimizer, "auto")
