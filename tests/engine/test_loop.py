"""The loop: its numbers are means over samples, it takes the notes' arguments, it touches only what it should."""

from __future__ import annotations

import math
import weakref
from functools import partial

import pytest
import torch
from torch import nn

from dlworkflow.engine.batch_check import check_batch
from dlworkflow.engine.gathered import KEPT_APART
from dlworkflow.engine.loop import Epoch, evaluate, test_step, train, train_step
from dlworkflow.engine.scores import Scores
from dlworkflow.errors import BatchError, ConfigError, DataError, DivergedError, ModelError
from dlworkflow.metrics.functions import accuracy_fn

CROSS_ENTROPY = nn.CrossEntropyLoss()


class AlwaysFirst(nn.Module):
    """Says class 0 of 2, whatever comes, with a logit that can be trained."""

    def __init__(self):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return torch.stack([self.logit.expand(len(x)), torch.zeros(len(x))], dim=1)


def batch(n, label):
    return torch.zeros(n, 1), torch.full((n,), label)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


def blobs(n=64):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    return torch.randn(n, 2, generator=generator) + 3 * y[:, None], y


def test_accuracy_weighs_samples_not_batches():
    batches = [batch(4, 0), batch(1, 1)]

    assert test_step(AlwaysFirst(), batches, CROSS_ENTROPY, "cpu").acc == pytest.approx(4 / 5)


def test_averaging_by_batch_overweights_the_short_batch_as_the_notes_do():
    batches = [batch(4, 0), batch(1, 1)]

    assert test_step(AlwaysFirst(), batches, CROSS_ENTROPY, averaging="batch").acc == pytest.approx(1 / 2)


def test_loss_of_unequal_batches_is_that_of_all_samples_at_once():
    X, y = blobs(33)
    model = nn.Linear(2, 2)
    split = [(X[:32], y[:32]), (X[32:], y[32:])]

    assert test_step(model, split, CROSS_ENTROPY).loss == pytest.approx(CROSS_ENTROPY(model(X), y).item(), abs=1e-6)


WEIGHTS = torch.tensor([1.0, 5.0])


@pytest.mark.parametrize(
    "loss_fn",
    [
        nn.CrossEntropyLoss(WEIGHTS),
        nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.2),
        nn.CrossEntropyLoss(ignore_index=0),
        nn.MultiMarginLoss(weight=WEIGHTS),
        partial(nn.functional.cross_entropy, weight=WEIGHTS),
        torch.compiler.disable(nn.CrossEntropyLoss(WEIGHTS)),
    ],
    ids=lambda loss_fn: type(loss_fn).__name__,
)
def test_loss_over_batches_is_that_of_all_samples_at_once_whatever_it_divides_by(loss_fn):
    X, y = blobs(33)
    y = y.sort().values  # batches of one class, and of the other
    model = nn.Linear(2, 2)
    batches = [*zip(X.split(8), y.split(8), strict=True)]

    found = test_step(model, batches, loss_fn, task="multiclass").loss

    assert found == pytest.approx(loss_fn(model(X), y).item(), abs=1e-6)


def test_a_loss_of_ones_own_says_what_its_mean_divides_by():
    class Weighed(nn.Module):
        def forward(self, logits, y):
            return (nn.functional.cross_entropy(logits, y, reduction="none") * y).sum() / y.sum()

        def sample_shares(self, y):
            return y

    (X, y), model = blobs(33), nn.Linear(2, 2)
    batches = [*zip(X.split(7), y.split(7), strict=True)]

    found = test_step(model, batches, Weighed(), task="multiclass").loss

    assert found == pytest.approx(Weighed()(model(X), y).item(), abs=1e-6)


def test_a_loss_that_is_a_sum_is_told_as_the_mean_over_samples():
    (X, y), model = blobs(33), nn.Linear(2, 2)
    batches = [*zip(X.split(32), y.split(32), strict=True)]

    found = test_step(model, batches, nn.CrossEntropyLoss(reduction="sum")).loss

    assert found == pytest.approx(CROSS_ENTROPY(model(X), y).item(), abs=1e-6)


def test_samples_whose_label_the_loss_ignores_are_neither_right_nor_wrong():
    batches = [batch(4, 0), batch(3, 1), batch(5, -100), (torch.zeros(2, 1), torch.tensor([0, -100]))]

    assert test_step(AlwaysFirst(), batches, CROSS_ENTROPY).acc == 5 / 8


def test_labels_may_be_probabilities_of_the_classes():
    X, y = blobs(8)

    found = test_step(model := nn.Linear(2, 2), [(X, nn.functional.one_hot(y).float())], CROSS_ENTROPY)

    assert found == pytest.approx(test_step(model, [(X, y)], CROSS_ENTROPY), abs=1e-6)


class Certain(nn.Module):
    """Gives the probability 0.9 to what is right, for inputs that are the labels."""

    def __init__(self, last=None):
        super().__init__()
        self.certainty = nn.Parameter(torch.tensor(0.9))
        self.last = last

    def forward(self, x):
        p = torch.where(x > 0, self.certainty, 1 - self.certainty)
        return p if self.last is None else self.last(p)


BINARY_LABELS = torch.tensor([0.0, 1.0, 1.0, 0.0])
BINARY_BATCH = [(BINARY_LABELS[:, None], BINARY_LABELS)]


def through_a_sigmoid(p):
    return torch.sigmoid(torch.logit(p)).squeeze(1)


@pytest.mark.parametrize("task", [None, "binary"])
@pytest.mark.parametrize("loss_fn", [nn.BCELoss(), nn.functional.binary_cross_entropy])
def test_a_loss_over_probabilities_takes_them_as_they_are(loss_fn, task):
    model = Certain()

    found = test_step(model, BINARY_BATCH, loss_fn, task=task)
    learnt = train_step(model, BINARY_BATCH, loss_fn, sgd(model), task=task)

    assert found == learnt == (pytest.approx(-math.log(0.9)), 1.0)


def test_an_unknown_loss_asks_the_model_whether_it_gives_probabilities():
    def loss_fn(p, y):
        return nn.functional.binary_cross_entropy(p, y)

    scores = [test_step(Certain(last), BINARY_BATCH, loss_fn, task="binary") for last in (through_a_sigmoid,)]
    learnt = train_step(model := Certain(through_a_sigmoid), BINARY_BATCH, loss_fn, sgd(model), task="binary")

    assert [score.acc for score in (*scores, learnt)] == [1.0, 1.0]


def test_a_loss_over_logs_of_probabilities_takes_them_as_they_are():
    X, y = blobs(33)
    logits = nn.Linear(2, 2)
    model = nn.Sequential(logits, nn.LogSoftmax(dim=1))

    found = test_step(model, [(X, y)], nn.NLLLoss())

    assert found == pytest.approx(test_step(logits, [(X, y)], CROSS_ENTROPY), abs=1e-6)
    assert evaluate(model, [(X, y)], nn.NLLLoss()).acc == found.acc


def test_train_step_scores_each_batch_before_its_update():
    model = AlwaysFirst()
    before = CROSS_ENTROPY(model(torch.zeros(4, 1)), torch.ones(4, dtype=torch.long)).item()

    assert train_step(model, [batch(4, 1)], CROSS_ENTROPY, sgd(model)).loss == pytest.approx(before)


def test_train_step_makes_the_same_steps_as_the_plain_loop():
    X, y = blobs()
    ours, plain = nn.Linear(2, 2), nn.Linear(2, 2)
    plain.load_state_dict(ours.state_dict())
    batches = list(zip(X.split(10), y.split(10), strict=True))
    optimizer = sgd(plain)

    train_step(ours, batches, CROSS_ENTROPY, sgd(ours))
    for inputs, labels in batches:
        optimizer.zero_grad()
        CROSS_ENTROPY(plain(inputs), labels).backward()
        optimizer.step()

    assert torch.equal(ours.weight, plain.weight)


def test_test_step_leaves_weights_and_gradients_alone():
    model = nn.Linear(2, 2)
    before = model.weight.clone()

    test_step(model, [blobs()], CROSS_ENTROPY)

    assert torch.equal(model.weight, before)
    assert model.weight.grad is None


def test_test_step_leaves_the_model_in_evaluation_mode_and_train_step_in_training_mode():
    model = AlwaysFirst()

    test_step(model, [batch(2, 0)], CROSS_ENTROPY)
    evaluating = model.training
    train_step(model, [batch(2, 0)], CROSS_ENTROPY, sgd(model))

    assert (evaluating, model.training) == (False, True)


def test_scores_unpack_like_the_notes_pair():
    loss, acc = test_step(AlwaysFirst(), [batch(2, 0)], CROSS_ENTROPY)

    assert (loss, acc) == (pytest.approx(math.log(1 + math.exp(-1))), 1.0)


def test_the_notes_keyword_data_loader_is_taken():
    scores = test_step(data_loader=[batch(2, 0)], model=AlwaysFirst(), loss_fn=CROSS_ENTROPY, device="cpu")

    assert isinstance(scores, Scores)


@pytest.mark.parametrize("loaders", [{}, {"dataloader": [batch(1, 0)], "data_loader": [batch(1, 0)]}])
def test_both_loader_keywords_or_neither_is_a_type_error(loaders):
    with pytest.raises(TypeError, match="one of the two"):
        test_step(AlwaysFirst(), loss_fn=CROSS_ENTROPY, **loaders)


def test_a_given_accuracy_fn_is_averaged_on_its_own_scale():
    scores = test_step(AlwaysFirst(), [batch(4, 0), batch(1, 1)], CROSS_ENTROPY, accuracy_fn=accuracy_fn)

    assert scores.acc == pytest.approx(80.0)


@pytest.mark.parametrize("batches", [[], iter([])], ids=["empty list", "empty iterator"])
def test_no_batch_is_an_error_and_not_a_division_by_zero(batches):
    with pytest.raises(DataError, match="empty"):
        test_step(AlwaysFirst(), batches, CROSS_ENTROPY)


def test_binary_labels_of_shape_n_meet_logits_of_shape_n_1_without_broadcasting():
    model = nn.Linear(2, 1)
    X, y = blobs(8)
    loss = nn.BCEWithLogitsLoss()

    scores = test_step(model, [(X, y.float())], loss)

    assert scores.loss == pytest.approx(loss(model(X).squeeze(1), y.float()).item())


def test_binary_accuracy_rounds_the_sigmoid():
    model = nn.Linear(1, 1)
    nn.init.ones_(model.weight)
    nn.init.zeros_(model.bias)
    X = torch.tensor([[-2.0], [-0.1], [0.1], [2.0]])

    assert test_step(model, [(X, torch.tensor([0.0, 1.0, 1.0, 0.0]))], nn.BCEWithLogitsLoss()).acc == 0.5


def test_regression_has_a_loss_and_no_accuracy():
    scores = test_step(nn.Linear(1, 1), [(torch.ones(3, 1), torch.ones(3, 1))], nn.L1Loss())

    assert math.isfinite(scores.loss)
    assert math.isnan(scores.acc)


def test_regression_labels_of_shape_n_do_not_broadcast_against_n_1():
    model = nn.Linear(1, 1)
    X, y = torch.arange(4.0)[:, None], torch.arange(4.0)

    assert test_step(model, [(X, y)], nn.MSELoss()).loss == pytest.approx(((model(X)[:, 0] - y) ** 2).mean().item())


def test_outputs_that_cannot_be_matched_to_labels_are_named():
    with pytest.raises(ModelError, match=r"\(4,\), got \(4, 3\)"):
        test_step(nn.Linear(1, 3), [(torch.ones(4, 1), torch.ones(4))], nn.L1Loss())


def test_a_loss_that_implies_no_task_asks_for_one():
    with pytest.raises(ConfigError, match="pass task="):
        test_step(AlwaysFirst(), [batch(2, 0)], lambda logits, y: logits.sum())


def test_a_given_task_serves_any_loss():
    scores = test_step(AlwaysFirst(), [batch(2, 0)], lambda logits, y: logits.mean(), task="multiclass")

    assert scores.acc == 1.0


def test_train_returns_the_notes_dictionary_of_lists():
    model = nn.Linear(2, 2)

    results = train(model, [blobs()], [blobs()], sgd(model), CROSS_ENTROPY, epochs=3)

    assert {key: len(values) for key, values in results.items()} == dict.fromkeys(
        ("train_loss", "train_acc", "test_loss", "test_acc"), 3
    )


def test_training_learns():
    model = nn.Linear(2, 2)

    results = train(model, [blobs()], [blobs()], sgd(model, 0.5), epochs=50)

    assert results["test_acc"][-1] > 0.95


def test_every_epoch_is_reported_with_its_learning_rate_and_the_scheduler_steps_after_it():
    model = nn.Linear(2, 2)
    optimizer = sgd(model, 1.0)
    seen: list[Epoch] = []

    train(
        model,
        [blobs()],
        [blobs()],
        optimizer,
        epochs=3,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
        on_epoch=seen.append,
    )

    assert [(epoch.number, epoch.lr) for epoch in seen] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_validation_scores_stand_in_the_results_when_there_is_a_loader():
    model = nn.Linear(2, 2)

    results = train(model, [blobs()], [blobs()], sgd(model), epochs=1, val_dataloader=[blobs(10)])

    assert results["val_loss"] != results["test_loss"]


def test_a_pass_on_the_cpu_fetches_each_loss_and_little_else(monkeypatch):
    fetches = []
    for name in ("item", "tolist", "__float__", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _o=original, _n=name: (fetches.append(_n), _o(self, *a))[1]
        )
    model = nn.Linear(2, 2)
    X, y = blobs()

    batches = list(zip(X.split(4), y.split(4), strict=True))

    test_step(model, batches, CROSS_ENTROPY)
    evaluating = len(fetches)
    train_step(model, batches, CROSS_ENTROPY, sgd(model))

    assert evaluating <= len(batches) + 3
    assert len(fetches) - evaluating <= len(batches) + 3


@pytest.mark.parametrize("measure", [test_step, evaluate])
def test_outputs_and_losses_of_former_batches_do_not_pile_up(measure):
    outputs, losses, most = [], [], []

    def seen(tensor, found):
        most.append(sum(each() is not None for each in found))
        found.append(weakref.ref(tensor))
        return tensor

    class Wide(nn.Linear):
        def forward(self, x):
            return seen(super().forward(x), outputs)

    batches = [(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))] * 50
    model = Wide(2, KEPT_APART // 16 // 5)  # four samples, four bytes each: five batches are as much as is kept apart
    measure(model, batches, lambda x, y: seen(CROSS_ENTROPY(x, y), losses), task="multiclass")

    assert max(most) <= 6


def test_evaluate_keeps_every_score_in_the_loaders_order():
    model = nn.Linear(2, 2)
    X, y = blobs(10)

    result = evaluate(model, [(X[:7], y[:7]), (X[7:], y[7:])], CROSS_ENTROPY)

    assert torch.allclose(result.logits, model(X))
    assert torch.equal(result.y, y)


def test_evaluate_agrees_with_test_step():
    model = nn.Linear(2, 2)
    batches = [blobs(10), blobs(3)]

    result = evaluate(model, batches, CROSS_ENTROPY)

    assert (result.loss, result.acc) == tuple(test_step(model, batches, CROSS_ENTROPY))


STEPS = {
    "train_step": lambda model, batch, loss_fn: train_step(model, [batch], loss_fn, sgd(model)),
    "test_step": lambda model, batch, loss_fn: test_step(model, [batch], loss_fn),
    "evaluate": lambda model, batch, loss_fn: evaluate(model, [batch], loss_fn),
}
X, Y = torch.ones(4, 2), torch.arange(4) % 3
WRONG = {  # a batch, its loss, and the error in three words: kind, what came, what mends it
    "float64": ((X.double(), Y), CROSS_ENTROPY, ("wrong dtype", "float64", "X.to(torch.float32)")),
    "uint8 images": (
        (torch.ones(4, 1, 1, 2, dtype=torch.uint8), Y),
        CROSS_ENTROPY,
        ("wrong dtype", "uint8", "images.float() / 255"),
    ),
    "features": ((torch.ones(4, 5), Y), CROSS_ENTROPY, ("wrong shape", "(4, 5)", "nn.Linear(5, 3)")),
    "label range": ((X, Y + 1), CROSS_ENTROPY, ("wrong labels", "3 (1 of 4 lie outside)", "y - 1")),
    "float labels": ((X, Y.float()), CROSS_ENTROPY, ("wrong dtype", "float32", "y.long()")),
    "column of labels": ((X, Y[:, None]), CROSS_ENTROPY, ("wrong shape", "(4, 1)", "y.squeeze(1)")),
    "fewer labels": ((X, Y[:3]), CROSS_ENTROPY, ("wrong shape", "3", "from the same rows")),
    "outputs": ((X, Y.float()), nn.BCEWithLogitsLoss(), ("wrong shape", "(4, 3)", "nn.Linear(2, 1)")),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize(("batch", "loss_fn", "words"), WRONG.values(), ids=WRONG)
def test_a_batch_that_torch_refuses_is_explained(step, batch, loss_fn, words):
    with pytest.raises(BatchError) as caught:
        step(nn.Linear(2, 3), batch, loss_fn)

    error = caught.value
    assert (error.kind, error.got) == words[:2]
    assert words[2] in error.fix


@pytest.mark.parametrize(("batch", "loss_fn", "words"), WRONG.values(), ids=WRONG)
def test_check_batch_says_the_same_as_the_engine(batch, loss_fn, words):
    model = nn.Linear(2, 3)
    with pytest.raises(BatchError) as of_engine:
        test_step(model, [batch], loss_fn)

    with pytest.raises(BatchError) as of_check:
        check_batch(model, *batch, loss_fn)
    assert str(of_check.value) == str(of_engine.value)


def test_whole_numbers_for_a_binary_loss_are_explained():
    with pytest.raises(BatchError, match=r"wrong dtype: .*float32.*got int64; fix: y\.float\(\)"):
        test_step(nn.Linear(2, 1), [(X, Y % 2)], nn.BCEWithLogitsLoss())


def test_a_part_of_the_model_on_another_device_is_explained():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3, device="meta"))

    with pytest.raises(BatchError, match=r'wrong device: .*parts on cpu and meta; fix: model\.to\("cpu"\)'):
        test_step(model, [(X, Y)], CROSS_ENTROPY)


def test_an_explained_error_keeps_torchs_own_as_its_cause():
    with pytest.raises(BatchError) as caught:
        test_step(nn.Linear(2, 3), [(torch.ones(4, 5), Y)], CROSS_ENTROPY)

    assert "mat1 and mat2" in str(caught.value.__cause__)


def test_a_label_out_of_range_in_a_later_batch_is_found():
    with pytest.raises(BatchError, match="wrong labels"):
        test_step(nn.Linear(2, 3), [(X, Y), (X, Y), (X, Y + 1)], CROSS_ENTROPY)


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("of its own")


def test_an_error_that_the_batch_does_not_explain_goes_on_unchanged():
    with pytest.raises(RuntimeError, match=r"^of its own$"):
        test_step(Failing(), [(X, Y)], CROSS_ENTROPY)


def test_good_batches_call_the_model_once_each_and_watch_no_layer(monkeypatch):
    model, calls = nn.Linear(2, 3), []
    model.register_forward_pre_hook(lambda *_: calls.append(len(model._forward_hooks)))
    monkeypatch.setattr(
        "dlworkflow.engine.batch_check.call_watched", lambda *_: pytest.fail("a good batch was examined")
    )

    train_step(model, [(X, Y)] * 3, CROSS_ENTROPY, sgd(model))

    assert calls == [0, 0, 0]


def test_a_device_assert_at_the_end_of_an_epoch_is_explained(monkeypatch):
    def asserted(self):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("dlworkflow.engine.loop.Total.scores", asserted)

    with pytest.raises(BatchError, match="wrong labels"):
        test_step(nn.Linear(2, 3), [(X, Y)], CROSS_ENTROPY)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_label_out_of_range_on_an_accelerator_is_explained():
    import subprocess
    import sys

    code = (
        "import torch, dlworkflow as dlw; from torch import nn;"
        "dlw.test_step(nn.Linear(2, 3), [(torch.ones(4, 2), torch.full((4,), 9))], nn.CrossEntropyLoss(), 'cuda')"
    )

    assert "wrong labels" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_a_model_moves_to_the_device_that_is_given():
    model = nn.Linear(2, 2)

    train_step(model, [blobs()], CROSS_ENTROPY, sgd(model), "cuda")

    assert model.weight.device.type == "cuda"


def test_a_loader_that_does_not_know_its_length_is_taken():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from [(torch.zeros(1), 0)] * 5

    loader = torch.utils.data.DataLoader(Stream(), batch_size=2)

    assert test_step(AlwaysFirst(), loader, CROSS_ENTROPY).acc == 1.0


@pytest.mark.parametrize("name", ["X", "y"])
def test_numbers_of_a_batch_that_are_not_finite_are_named_as_the_cause(name):
    X, y = torch.zeros(3, 1), torch.zeros(3, 1)
    {"X": X, "y": y}[name][1] = math.nan
    model = nn.Linear(1, 1)

    with pytest.raises(BatchError, match=rf"wrong values: .* 1 nan or infinite of 3, the first in {name}\[1, 0\], nan"):
        train_step(model, [(X, y)], nn.L1Loss(), sgd(model))


def test_a_loss_of_the_test_split_that_is_no_number_ends_training():
    model = nn.Linear(1, 1)
    data = [(torch.ones(4, 1), torch.zeros(4, 1))]

    with pytest.raises(DivergedError, match=r"the test loss became (nan|inf) in epoch 1 at learning rate 1e\+30"):
        train(model, data, data, sgd(model, 1e30), nn.MSELoss(), epochs=3)
