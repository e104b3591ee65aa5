"""What several processes make of a batch together equals what one makes of it; here they are threads."""

from __future__ import annotations

import copy
import math
import signal
import threading
from contextlib import nullcontext, suppress

import pytest
import torch
from torch import nn

from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.slices import Slice
from dlworkflow.engine.data_parallel import (
    OwnDraws,
    OwnEpoch,
    SharedLoss,
    check_size,
    sample_before,
    share_batch_norms,
)
from dlworkflow.engine.loss_means import BinaryCrossEntropy
from dlworkflow.engine.mixup import MixedLoss, Mixing
from dlworkflow.engine.scores import Total
from dlworkflow.engine.signals import Stoppable, Stopped, StopRequest
from dlworkflow.engine.tasks import MULTICLASS, REGRESSION
from dlworkflow.engine.update import Update
from dlworkflow.errors import ConfigError


class Threads:
    """A group whose processes are threads of this one."""

    backend, launch = "threads", "here"

    def __init__(self, rank, size, said, barrier):
        self.rank = self.local_rank = rank
        self.size, self._said, self._barrier = size, said, barrier

    def _all(self, value):
        self._said[self.rank] = value
        self._barrier.wait(30)
        found = [self._said[rank] for rank in range(self.size)]
        self._barrier.wait(30)
        return found

    def sum(self, values):
        return torch.stack(self._all(values.detach().clone())).sum(dim=0)

    def highest(self, number):
        return max(self._all(number))

    def share(self, model):
        return model

    def in_turn(self):
        return nullcontext()


def together(size, work):
    """Return what `work(group)` gives on each of `size` processes."""
    said, barrier, found = {}, threading.Barrier(size), [None] * size

    def run(rank):
        found[rank] = work(Threads(rank, size, said, barrier))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def alone(rank=0, size=2):
    return Threads(rank, size, {}, threading.Barrier(1))


def batch(n=5, classes=3):
    draws = torch.Generator().manual_seed(0)
    X = torch.randn(n, 2, 4, 4, generator=draws, dtype=torch.float64)
    return X, torch.randint(0, classes, (n,), generator=draws)


def network(*middle):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3), *middle, nn.Flatten(), nn.Linear(16, 3)).double().train()


def mean_gradients(model, X, y, loss_fn, size):
    """Return loss and gradients that `size` processes have after DistributedDataParallel took their mean."""

    def work(group):
        own = copy.deepcopy(model)
        share_batch_norms(own, group)
        part = torch.arange(len(X)).tensor_split(size)[group.rank]
        loss = SharedLoss(loss_fn, group)(own(X[part]), y[part])
        loss.backward()
        return loss.item(), [parameter.grad for parameter in own.parameters()], dict(own.named_buffers())

    losses, gradients, buffers = zip(*together(size, work), strict=True)
    assert len(set(losses)) == 1
    return losses[0], [sum(parts) / size for parts in zip(*gradients, strict=True)], buffers


WEIGHTS = torch.tensor([1.0, 5.0, 0.5]).double()
LOSSES = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(WEIGHTS),
    nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.2),
    nn.CrossEntropyLoss(WEIGHTS, ignore_index=2, label_smoothing=0.2),
    nn.CrossEntropyLoss(ignore_index=2),
    nn.CrossEntropyLoss(WEIGHTS, reduction="sum"),
]


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("loss_fn", LOSSES, ids=repr)
def test_loss_and_gradients_are_those_of_the_whole_batch_also_where_a_process_has_no_sample(n, size, loss_fn):
    (X, y), model = batch(n), network()
    whole = copy.deepcopy(model)
    expected = loss_fn(whole(X), y)
    expected.backward()

    loss, gradients, _ = mean_gradients(model, X, y, loss_fn, size)

    assert loss == pytest.approx(expected.item(), abs=1e-12)
    for parameter, gradient in zip(whole.parameters(), gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighed_losses_of_two_classes_are_those_of_the_whole_batch(smoothing):
    draws = torch.Generator().manual_seed(0)
    logits, y = torch.randn(5, generator=draws).double(), torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0]).double()
    loss_fn = BinaryCrossEntropy(torch.tensor([1.0, 5.0]).double(), label_smoothing=smoothing)

    def work(group):
        return SharedLoss(loss_fn, group)(*(values.tensor_split(2)[group.rank] for values in (logits, y))).item()

    assert together(2, work) == pytest.approx([loss_fn(logits, y).item()] * 2, abs=1e-12)


def test_ignored_labels_alone_leave_a_process_without_a_part_in_the_batch():
    logits, y = torch.zeros(4, 3, requires_grad=True), torch.tensor([0, 1, -100, -100])

    def work(group):
        own = logits.detach().clone().requires_grad_()
        part = torch.arange(4).tensor_split(2)[group.rank]
        loss = SharedLoss(nn.CrossEntropyLoss(label_smoothing=0.1), group)(own[part], y[part])
        loss.backward()
        return loss.item(), own.grad.isfinite().all().item()

    assert together(2, work) == [(pytest.approx(math.log(3)), True)] * 2


def weights_after(model, batches, loss_fn):
    """Return the weights after three batches an update, the last of them alone."""
    update = Update(torch.optim.SGD(model.parameters(), lr=0.5), accumulate=3, clip_norm=1.0)
    for X, y in batches:
        update(loss_fn(model(X), y), y, loss_fn)
    update.finish()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("loss_fn", LOSSES, ids=repr)
def test_accumulated_batches_weigh_the_samples_of_all_processes(size, loss_fn):
    X, y = batch(13)
    batches, model = list(zip(X.split([4, 5, 3, 1]), y.split([4, 5, 3, 1]), strict=True)), network()

    def work(group):
        def take_mean(parameter):  # of what has gathered, as DistributedDataParallel does
            parameter.grad = group.sum(parameter.grad) / size

        own = copy.deepcopy(model)
        for parameter in own.parameters():
            parameter.register_post_accumulate_grad_hook(take_mean)
        parts = [
            (inputs.tensor_split(size)[group.rank], labels.tensor_split(size)[group.rank]) for inputs, labels in batches
        ]
        return weights_after(own, parts, SharedLoss(loss_fn, group))

    found = together(size, work)

    for expected, *processes in zip(weights_after(copy.deepcopy(model), batches, loss_fn), *found, strict=True):
        assert all(torch.allclose(expected, own, atol=1e-12) for own in processes)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("size", [2, 3])
def test_the_sample_before_is_that_of_the_whole_batch(n, size):
    X, _ = batch(n)

    own = together(size, lambda group: sample_before(group)(X.tensor_split(size)[group.rank]))

    assert torch.equal(torch.cat(own), X.roll(1, 0))


def test_the_loss_of_blends_weighs_classes_over_the_whole_batch():
    (_, y), loss_fn = batch(5), nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 0.5]).double())
    logits = torch.randn(5, 3, dtype=torch.float64)

    def work(group):
        mixing = Mixing(mixup=1.0, share=0.3, before=sample_before(group))
        own = (values.tensor_split(2)[group.rank] for values in (logits, y))
        return MixedLoss(SharedLoss(loss_fn, group), mixing)(*own).item()

    assert together(2, work) == pytest.approx([MixedLoss(loss_fn, Mixing(mixup=1.0, share=0.3))(logits, y).item()] * 2)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("settings", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_batch_norms_take_mean_and_variance_of_the_whole_batch(n, settings):
    (X, y), model = batch(n), network(nn.BatchNorm2d(4, **settings))
    whole = copy.deepcopy(model)
    nn.CrossEntropyLoss()(whole(X), y).backward()

    _, gradients, buffers = mean_gradients(model, X, y, nn.CrossEntropyLoss(), 2)

    for parameter, gradient in zip(whole.parameters(), gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-10)
    for name, buffer in whole.named_buffers():
        assert all(torch.allclose(buffer, own[name], atol=1e-12) for own in buffers)


def test_a_shared_batch_norm_keeps_the_names_and_the_very_weights():
    model = network(nn.BatchNorm2d(4))
    before = model.state_dict(keep_vars=True)

    share_batch_norms(model, alone())

    after = model.state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)


@pytest.mark.parametrize("averaging", ["sample", "batch"])
@pytest.mark.parametrize("loss_fn", LOSSES, ids=repr)
def test_scores_count_every_sample_once(averaging, loss_fn):
    draws = torch.Generator().manual_seed(0)
    batches = [(torch.randn(n, 3, generator=draws), torch.randint(0, 3, (n,), generator=draws)) for n in (5, 4, 1)]
    losses = [0.5, 0.25, 2.0]
    whole = Total(MULTICLASS, averaging, loss_fn)
    for loss, (logits, y) in zip(losses, batches, strict=True):
        whole.add(loss, logits, y)

    def work(group):
        total = Total(MULTICLASS, averaging, loss_fn, group=group)
        for loss, (logits, y) in zip(losses, batches, strict=True):
            own = torch.arange(len(y)).tensor_split(group.size)[group.rank]
            total.add(loss, logits[own], y[own])
        return total.scores()

    assert together(3, work) == [whole.scores()] * 3


def test_a_regression_has_no_accuracy_on_several_processes_either():
    def work(group):
        total = Total(REGRESSION, "sample", nn.L1Loss(), group=group)
        total.add(0.5, torch.zeros(2, 1), torch.zeros(2, 1))
        return total.scores()

    first, second = together(2, work)

    assert first.loss == second.loss == 0.5
    assert first.acc != first.acc


class Plain(torch.utils.data.Dataset):
    """A data set of a user's own: samples, and nothing that answers for many."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index


OWN, LIBRARYS = Plain(), TensorData(torch.arange(10.0)[:, None], torch.arange(10))


@pytest.mark.parametrize(
    ("dataset", "size", "batch_size", "workers"),
    [(LIBRARYS, 1, 4, 0), (LIBRARYS, 2, 9, 0), (LIBRARYS, 3, 3, 2), (LIBRARYS, 3, "full", 0), (OWN, 3, 9, 0)],
)
def test_slices_of_all_processes_are_the_batches_of_one(dataset, size, batch_size, workers):
    def batches(part):
        torch.manual_seed(0)
        return list(make_loader(part, batch_size, shuffle=batch_size != "full", num_workers=workers))

    slices = [batches(Slice(dataset, alone(rank, size))) for rank in range(size)]

    assert slices[0]
    for (X, y), *own in zip(batches(dataset), *slices, strict=True):
        assert torch.equal(torch.cat([inputs for inputs, _ in own]), X)
        assert torch.equal(torch.cat([labels for _, labels in own]), y)


def noise_of_an_epoch(rank, done=0):
    """Return the order of an epoch's samples, what a model would draw in it, and the next shared number."""
    torch.manual_seed(0)
    draws = OwnDraws(42, rank)
    part = Slice(TensorData(torch.arange(6.0)[:, None], torch.arange(6)), alone(0, 1), draws)
    order, noise = [], []
    for _, y in OwnEpoch(make_loader(part, 2, shuffle=True), draws, done):
        order += y.tolist()
        noise.append(torch.rand(()).item())
    return order, noise, torch.rand(()).item()


def test_processes_draw_dropout_and_augmentation_apart_and_the_order_alike():
    (order, noise, after), (order2, noise2, after2) = noise_of_an_epoch(0), noise_of_an_epoch(1)

    assert (order, after) == (order2, after2)
    assert not set(noise) & set(noise2)


def test_what_is_drawn_together_is_what_one_process_draws_after_the_order():
    def drawn(batches, drawing):
        found = []
        for _, y in batches:
            torch.rand(3)  # a process's own, where there are several
            with drawing():
                found.append((y.tolist(), torch.rand(()).item()))
        return found, torch.rand(()).item()

    def loader(part):
        torch.manual_seed(0)
        return make_loader(part, 2, shuffle=True)

    samples = TensorData(torch.arange(6.0)[:, None], torch.arange(6))
    draws = OwnDraws(42, 1)
    shared = drawn(OwnEpoch(loader(Slice(samples, alone(0, 1), draws)), draws, 0), draws.together)

    torch.manual_seed(0)
    order = [y.tolist() for _, y in loader(samples)]
    assert shared == (list(zip(order, (torch.rand(()).item() for _ in order), strict=True)), torch.rand(()).item())


def test_each_epoch_draws_anew_and_the_same_again_after_a_resume():
    assert noise_of_an_epoch(1) == noise_of_an_epoch(1)
    assert not set(noise_of_an_epoch(1)[1]) & set(noise_of_an_epoch(1, done=1)[1])


def test_a_signal_on_one_process_stops_all_after_the_same_batch():
    def work(group):
        request, seen = StopRequest(group.highest), []
        with suppress(Stopped):
            for number in Stoppable(range(10), request):
                seen.append(number)
                if (group.rank, number) == (1, 3):
                    request.note(signal.SIGTERM, None)
        with pytest.raises(SystemExit) as end:
            request.raise_as_asked()
        return seen, end.value.code

    assert together(2, work) == [([0, 1, 2, 3], 143)] * 2


def test_a_batch_of_fewer_samples_than_processes_is_refused():
    with pytest.raises(ConfigError, match=r"data.batch_size: 1 samples in a batch are fewer than 2 processes"):
        check_size(alone(), 1, 100)
