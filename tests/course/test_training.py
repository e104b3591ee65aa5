"""The notes' training functions: each call of theirs works, prints their line, and has the engine's numbers."""

from __future__ import annotations

import re

import pytest
import torch
import torchmetrics
from torch import nn

import dlworkflow as dlw
from dlworkflow import engine
from dlworkflow.config import from_overrides

LOSS = nn.CrossEntropyLoss()
EPOCH = (
    r"Epoch: {} \| train_loss: \d\.\d{{4}} \| train_acc: \d\.\d{{4}} \| test_loss: \d\.\d{{4}} \| test_acc: \d\.\d{{4}}"
)


def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 4, generator=generator), torch.arange(n) % 3) for n in (8, 8, 3)]


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def metric():
    return torchmetrics.Accuracy(task="multiclass", num_classes=3)


TRAIN_STEPS = {  # the notes' calls, each with the model and its optimizer
    "1-5 by position": lambda m, o: dlw.train_step(m, batches(), LOSS, o, dlw.accuracy_fn, "cpu"),
    "1-5 without a device": lambda m, o: dlw.train_step(m, batches(), LOSS, o, dlw.accuracy_fn),
    "1-5 by name": lambda m, o: dlw.train_step(
        data_loader=batches(), model=m, loss_fn=LOSS, optimizer=o, accuracy_fn=dlw.accuracy_fn, device="cpu"
    ),
    "1-6 by position": lambda m, o: dlw.train_step(m, batches(), LOSS, o, torch.device("cpu")),
    "1-6 by name": lambda m, o: dlw.train_step(model=m, dataloader=batches(), loss_fn=LOSS, optimizer=o, device="cpu"),
    "1-6 of the notes": lambda m, o: dlw.train_step(m, batches(), LOSS, o),
}
TEST_STEPS = {
    "1-5 by position": lambda m: dlw.test_step(batches(), m, LOSS, dlw.accuracy_fn, "cpu"),
    "1-5 half by name": lambda m: dlw.test_step(batches(), model=m, loss_fn=LOSS, accuracy_fn=dlw.accuracy_fn),
    "1-5 by name": lambda m: dlw.test_step(
        data_loader=batches(), model=m, loss_fn=LOSS, accuracy_fn=dlw.accuracy_fn, device=torch.device("cpu")
    ),
    "1-6 by position": lambda m: dlw.test_step(m, batches(), LOSS, "cpu"),
    "1-6 half by name": lambda m: dlw.test_step(m, dataloader=batches(), loss_fn=LOSS),
    "1-6 by name": lambda m: dlw.test_step(model=m, dataloader=batches(), loss_fn=LOSS, device="cpu"),
}


@pytest.mark.parametrize("form", TRAIN_STEPS)
def test_each_train_step_has_the_numbers_of_the_engine(form):
    model, other = linear(), linear()
    accuracy_fn = dlw.accuracy_fn if "1-5" in form else None
    expected = engine.train_step(other, batches(), LOSS, sgd(other), accuracy_fn=accuracy_fn)

    assert TRAIN_STEPS[form](model, sgd(model)) == expected
    assert torch.equal(model.weight, other.weight)


@pytest.mark.parametrize("form", TEST_STEPS)
def test_each_test_step_has_the_numbers_of_the_engine(form):
    accuracy_fn = dlw.accuracy_fn if "1-5" in form else None

    assert TEST_STEPS[form](linear()) == engine.test_step(linear(), batches(), LOSS, accuracy_fn=accuracy_fn)


@pytest.mark.parametrize("form", TRAIN_STEPS)
def test_train_step_prints_the_line_of_the_form_that_was_called(form, capsys):
    model = linear()
    loss, acc = TRAIN_STEPS[form](model, sgd(model))

    line = f"Train loss: {loss:.5f} | Train accuracy: {acc:.2f}%\n"
    assert capsys.readouterr() == (line if "1-5" in form else "", "")


@pytest.mark.parametrize("form", TEST_STEPS)
def test_test_step_prints_the_line_of_the_form_that_was_called(form, capsys):
    loss, acc = TEST_STEPS[form](linear())

    line = f"Test loss: {loss:.5f} | Test accuracy: {acc:.2f}%\n\n"
    assert capsys.readouterr() == (line if "1-5" in form else "", "")


def test_a_metric_of_torchmetrics_is_printed_on_its_own_scale(capsys):
    loss, acc = dlw.test_step(batches(), linear(), LOSS, metric())

    assert capsys.readouterr().out == f"Test loss: {loss:.5f} | Test accuracy: {acc:.4f}\n\n"
    assert acc == pytest.approx(engine.test_step(linear(), batches(), LOSS).acc)


def test_means_over_batches_are_printed_where_they_are_asked_for(capsys):
    loss, acc = engine.test_step(linear(), batches(), LOSS, accuracy_fn=dlw.accuracy_fn, averaging="batch")
    dlw.test_step(batches(), linear(), LOSS, dlw.accuracy_fn, averaging="batch")

    assert capsys.readouterr().out == f"Test loss: {loss:.5f} | Test accuracy: {acc:.2f}%\n\n"


def test_the_steps_print_nothing_when_they_are_not_verbose(capsys):
    model = linear()
    dlw.train_step(model, batches(), LOSS, sgd(model), dlw.accuracy_fn, verbose=False)
    dlw.test_step(batches(), model, LOSS, dlw.accuracy_fn, verbose=False)

    assert capsys.readouterr() == ("", "")


def test_a_device_in_two_places_is_named():
    with pytest.raises(TypeError, match="accuracy_fn is a function or a metric, not 'cuda'; device was given too"):
        dlw.test_step(batches(), linear(), LOSS, "cuda", "cpu")


@pytest.mark.parametrize("given", [(), (batches(),), (batches(), batches()), (linear(), linear())])
def test_a_test_step_without_one_model_and_one_loader_is_a_type_error(given):
    with pytest.raises(TypeError, match="one "):
        dlw.test_step(*given, loss_fn=LOSS)


def train(function=dlw.train, model=None, **settings):
    model = model if model is not None else linear()
    return function(model, batches(), batches(), sgd(model), LOSS, 2, "cpu", **settings)


def test_train_returns_the_lists_of_the_engine():
    assert train() == train(engine.train)


def test_train_prints_the_notes_line_an_epoch(capsys):
    results = train()

    assert capsys.readouterr().out == "".join(
        f"Epoch: {number} | train_loss: {a:.4f} | train_acc: {b:.4f} | test_loss: {c:.4f} | test_acc: {d:.4f}\n"
        for number, (a, b, c, d) in enumerate(zip(*results.values(), strict=True), start=1)
    )


def test_train_shows_a_bar_beside_its_lines(capsys):
    train()

    assert "2/2" in capsys.readouterr().err


def test_the_bar_makes_room_for_a_line_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train()

    cleared = r"\r *\r"
    assert re.search(rf"0/2 .*{cleared}", capsys.readouterr().err)


def test_train_shows_nothing_when_it_is_not_verbose(capsys):
    train(verbose=False)

    assert capsys.readouterr() == ("", "")


def test_train_leaves_no_bar_open_after_an_error(capsys):
    from tqdm.auto import tqdm

    with pytest.raises(ZeroDivisionError):
        train(on_epoch=lambda _: 1 / 0)

    assert not tqdm._instances


def test_a_regression_is_printed_without_an_accuracy(capsys):
    model, data = nn.Linear(1, 1), [(torch.ones(2, 1), torch.ones(2, 1))]
    dlw.train(model, data, data, sgd(model), nn.L1Loss(), 1)

    assert re.fullmatch(r"Epoch: 1 \| train_loss: \d\.\d{4} \| test_loss: \d\.\d{4}\n", capsys.readouterr().out)


def test_a_validation_split_is_printed_too(capsys):
    train(val_dataloader=batches())

    assert " | val_loss: " in capsys.readouterr().out


class Writer:
    """Keeps what a SummaryWriter would write."""

    def __init__(self):
        self.written, self.closed = [], False

    def add_scalars(self, main_tag, tag_scalar_dict, global_step):
        self.written.append((main_tag, tag_scalar_dict, global_step))

    def flush(self):
        pass

    def close(self):
        self.closed = True


def test_train_writes_the_curves_of_the_course():
    results = train(writer=(writer := Writer()))

    assert writer.written == [
        (chart, {f"{split}_{name}": results[f"{split}_{name}"][step] for split in ("train", "test")}, step)
        for step in (0, 1)
        for chart, name in (("Loss", "loss"), ("Accuracy", "acc"))
    ]


def test_train_leaves_the_writer_to_its_owner():
    train(writer=(writer := Writer()))

    assert not writer.closed


def test_the_writer_may_come_eighth():
    model, writer = linear(), Writer()
    dlw.train(model, batches(), batches(), sgd(model), LOSS, 1, "cpu", writer)

    assert len(writer.written) == 2


def test_a_regression_has_no_curve_of_accuracy():
    model, data, writer = nn.Linear(1, 1), [(torch.ones(2, 1), torch.ones(2, 1))], Writer()
    dlw.train(model, data, data, sgd(model), nn.L1Loss(), 1, writer=writer)

    assert [chart for chart, _, _ in writer.written] == ["Loss"]


def test_eval_model_takes_the_notes_call_by_position():
    found = dlw.eval_model(linear(), batches(), LOSS, dlw.accuracy_fn, "cpu")

    assert found == dlw.eval_model(model=linear(), data_loader=batches(), loss_fn=LOSS, accuracy_fn=dlw.accuracy_fn)


def test_eval_model_takes_a_metric_of_torchmetrics_on_its_own_scale():
    percent = dlw.eval_model(linear(), batches(), LOSS)["model_acc"]

    assert dlw.eval_model(linear(), batches(), LOSS, metric())["model_acc"] == pytest.approx(percent / 100)


def test_eval_model_answers_with_the_notes_keys_in_percent_by_batch():
    class Always(nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    uneven = [
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(1, 1), torch.ones(1, dtype=torch.long)),
    ]

    found = dlw.eval_model(model=Always(), data_loader=uneven, loss_fn=LOSS)

    assert list(found) == ["model_name", "model_loss", "model_acc"]
    assert (found["model_name"], found["model_acc"]) == ("Always", 50.0)


@pytest.mark.parametrize("loss_fn", [nn.BCELoss(), nn.NLLLoss()])
def test_eval_model_takes_losses_over_probabilities(loss_fn):
    X = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    if isinstance(loss_fn, nn.NLLLoss):
        model, y = nn.Sequential(nn.Linear(2, 2), nn.LogSoftmax(dim=1)), torch.tensor([0, 1])
        model[0].load_state_dict({"weight": torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), "bias": torch.zeros(2)})
    else:
        model, y = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid(), nn.Flatten(0)), torch.tensor([0.0, 1.0])
        model[0].load_state_dict({"weight": torch.tensor([[1.0, 0.0]]), "bias": torch.zeros(1)})

    assert dlw.eval_model(model, [(X, y)], loss_fn)["model_acc"] == 100.0


def settings(epochs=2):
    return dlw.resolve_config([from_overrides(["model=blobs", f"epochs={epochs}"])])


def test_run_training_prints_a_line_an_epoch_and_where_the_run_is(in_tmp, capsys):
    run = dlw.run_training(settings())

    expected = rf"{EPOCH.format(1)}\n{EPOCH.format(2)}\n\[INFO\] Run stored in: {run.path}\n"
    assert re.fullmatch(expected, capsys.readouterr().out)


def test_resume_training_prints_the_epochs_that_it_trains(in_tmp, capsys):
    run = dlw.run_training(settings(), verbose=False)
    dlw.resume_training(run, epochs=3)

    assert re.fullmatch(rf"{EPOCH.format(3)}\n\[INFO\] Run stored in: {run.path}\n", capsys.readouterr().out)


def test_runs_show_nothing_when_they_are_not_verbose(in_tmp, capsys):
    dlw.resume_training(dlw.run_training(settings(), verbose=False), epochs=3, verbose=False)

    assert capsys.readouterr() == ("", "")


def test_a_run_that_is_interrupted_prints_where_it_is_stored(in_tmp, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dlw.run_training(settings(), on_epoch=interrupt)

    assert capsys.readouterr().out.endswith("[INFO] Run stored in: runs/blobs-blobs-001\n")


def test_handlers_of_the_caller_are_called_too(in_tmp):
    seen = []
    dlw.run_training(
        settings(), on_start=lambda job, run: seen.append(run.name), on_epoch=lambda e: seen.append(e.number)
    )

    assert seen == ["blobs-blobs-001", 1, 2]


def test_what_the_rooms_have_prints_nothing(in_tmp, capsys):
    model = linear()
    train(dlw.engine.train)
    dlw.engine.train_step(model, batches(), LOSS, sgd(model), accuracy_fn=dlw.accuracy_fn)
    dlw.engine.test_step(model, batches(), LOSS, accuracy_fn=dlw.accuracy_fn)
    dlw.training.run_training(settings())

    assert capsys.readouterr() == ("", "")
