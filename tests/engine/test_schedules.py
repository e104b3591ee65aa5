"""Our curves against torch's schedulers: the same rates, without torch's compiler."""

from __future__ import annotations

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler as torchs

from dlworkflow.engine import schedules
from dlworkflow.engine.schedules import cosine, one_cycle, plateau

EPOCHS, UPDATES = 12, 5
"""Of a run, and in each epoch."""


def sgd(lr=0.4):
    return optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def rates(optimizer, after_update=lambda: None, end_epoch=lambda epoch: None, epochs=EPOCHS):
    """Return the rate of every update of a run."""
    found = []
    for epoch in range(epochs):
        for _ in range(UPDATES):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            after_update()
        end_epoch(epoch)
    return found


def ours(curve, loss=lambda epoch: 1.0, **options):
    optimizer = sgd()
    schedule = curve(optimizer) if not options else schedules.Schedule(optimizer, curve, **options)
    return rates(optimizer, schedule.after_update, lambda epoch: schedule.end_epoch(loss(epoch)))


def cosine_over(epochs, min_lr):
    return cosine(min_lr=min_lr, lr=1.0, epochs=epochs, updates=epochs, warmup=0)


def by_epoch(curve):
    return ours(lambda optimizer: schedules.Schedule(optimizer, curve))


def theirs(build):
    optimizer = sgd()
    schedule = build(optimizer)
    return rates(optimizer, end_epoch=lambda epoch: schedule.step())


def theirs_by_update(build):
    optimizer = sgd()
    schedule = build(optimizer)
    total, done = EPOCHS * UPDATES, [0]

    def step():
        done[0] += 1
        if done[0] < total:
            schedule.step()

    return rates(optimizer, after_update=step)


@pytest.mark.parametrize(
    ("curve", "torchs_own"),
    [
        (schedules.step(step_size=3, gamma=0.5), lambda o: torchs.StepLR(o, 3, 0.5)),
        (schedules.multi_step(milestones=[7, 2], gamma=0.1), lambda o: torchs.MultiStepLR(o, [2, 7], 0.1)),
        (schedules.exponential(gamma=0.9), lambda o: torchs.ExponentialLR(o, 0.9)),
        (cosine_over(EPOCHS, min_lr=0.01), lambda o: torchs.CosineAnnealingLR(o, EPOCHS, 0.01)),
    ],
    ids=["step", "multi_step", "exponential", "cosine"],
)
def test_a_curve_by_epochs_is_torchs(curve, torchs_own):
    assert by_epoch(curve) == pytest.approx(theirs(torchs_own))


def test_one_cycle_is_torchs_at_every_update():
    total = EPOCHS * UPDATES
    curve = one_cycle(updates=total, warmup=0, lr=0.4)

    assert ours(curve, warmup=0) == pytest.approx(
        theirs_by_update(lambda o: torchs.OneCycleLR(o, 0.4, total_steps=total, cycle_momentum=False))
    )


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch before 2.7 warns of its own call
def test_cosine_after_a_warm_up_is_torchs_two_in_a_row_at_every_update():
    total, warmup = EPOCHS * UPDATES, 8

    def torchs_own(optimizer):
        parts = [
            torchs.LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1),
            torchs.CosineAnnealingLR(optimizer, total - warmup),
        ]
        return torchs.SequentialLR(optimizer, parts, [warmup])

    assert ours(cosine(lr=0.4, epochs=EPOCHS, updates=total, warmup=warmup), warmup=warmup) == pytest.approx(
        theirs_by_update(torchs_own)
    )


def test_plateau_is_torchs():
    losses = [1.0, 0.9, 0.9, 0.9, 0.95, 0.5, 0.49999, 0.6, 0.6, 0.6, 0.6, 0.6]
    settings = {"factor": 0.3, "patience": 1, "threshold": 1e-3, "min_lr": 0.02}
    optimizer = sgd()
    torchs_own = torchs.ReduceLROnPlateau(optimizer, **settings)

    expected = rates(optimizer, end_epoch=lambda epoch: torchs_own.step(losses[epoch]))

    curve = plateau(**settings, lr=0.4)
    assert ours(lambda o: schedules.Schedule(o, curve), losses.__getitem__) == pytest.approx(expected)


def test_a_warm_up_rises_in_a_straight_line_to_the_rate():
    assert ours(schedules.constant(), warmup=4)[:6] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_every_group_keeps_its_part_of_the_rate():
    optimizer = optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.1)])
    schedule = schedules.Schedule(optimizer, schedules.step(step_size=1, gamma=0.5))

    schedule.end_epoch(0.0)

    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]


@pytest.mark.parametrize(
    "build",
    [
        lambda o: schedules.Schedule(o, plateau(factor=0.5, patience=0, lr=0.4), warmup=3),
        lambda o: schedules.Schedule(o, cosine(lr=0.4, epochs=5, updates=23, warmup=3), warmup=3),
    ],
    ids=["plateau", "cosine"],
)
def test_a_schedule_goes_on_from_its_state(build):
    first, second = sgd(), sgd()
    before, after = build(first), build(second)
    for _ in range(4):
        before.after_update()
    before.end_epoch(1.0)
    before.end_epoch(1.0)

    after.load_state_dict(before.state_dict())

    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] != 0.4


@pytest.mark.parametrize("total", range(1, 9))
@pytest.mark.parametrize("pct_start", [0.1, 0.125, 0.2, 0.25, 0.5, 0.75, 0.999999999])
def test_one_cycle_has_a_rate_for_every_update_however_few_there_are(total, pct_start):
    rate = one_cycle(pct_start=pct_start, updates=total, warmup=0, lr=0.0)  # without the check of its highest

    assert all(0 < rate(1.0, done) <= 1 for done in range(total + 2))


def test_a_phase_without_length_is_over_at_once():
    assert one_cycle(updates=2, pct_start=0.5, warmup=0, lr=1.0)(1.0, 0) == 1.0
    assert cosine_over(0, min_lr=0.1)(1.0, 0) == pytest.approx(0.1)
