"""Our optimizers against torch's own: the same steps and states, without torch's compiler."""

import copy
import inspect

import pytest
import torch
from torch import nn, optim

from dlworkflow.engine.bare_optimizers import optimizer_class
from dlworkflow.engine.optimizers import OPTIMIZERS, build_optimizer
from dlworkflow.errors import ConfigError

TORCHS = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
SETTINGS = [
    ("sgd", {"lr": 0.1}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}),
    ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.01}),
    ("adam", {"lr": 0.01, "weight_decay": 0.01}),
    ("adamw", {"lr": 0.01, "eps": 1e-6}),
    ("rmsprop", {"lr": 0.01, "momentum": 0.5, "alpha": 0.9}),
]


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def steps(model, optimizer, numbers=range(10)):
    """Train on batches that their numbers decide; return the parameters."""
    for number in numbers:
        draws = torch.Generator().manual_seed(number)
        X, y = torch.randn(6, 5, generator=draws), torch.randint(3, (6,), generator=draws)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), y).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_steps_are_torchs_to_the_bit(name, settings):
    mine, theirs = small_model(), small_model()
    ours = steps(mine, build_optimizer(name, mine.parameters(), **settings))
    torchs = steps(theirs, TORCHS[name](theirs.parameters(), **settings))

    assert all(map(torch.equal, ours, torchs))


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_a_state_goes_into_torchs_own_optimizer_and_back(name, settings):
    whole, halves = small_model(), small_model()
    at_once = steps(whole, build_optimizer(name, whole.parameters(), **settings), range(20))
    first = build_optimizer(name, halves.parameters(), **settings)
    steps(halves, first, range(10))
    between = TORCHS[name](halves.parameters(), lr=99.0)
    between.load_state_dict(copy.deepcopy(first.state_dict()))
    second = build_optimizer(name, halves.parameters(), lr=99.0)
    second.load_state_dict(between.state_dict())

    assert all(map(torch.equal, at_once, steps(halves, second, range(10, 20))))


def test_a_parameter_without_a_gradient_is_left_alone():
    model = small_model()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    steps(model, build_optimizer("sgd", model.parameters(), lr=0.1))

    assert torch.equal(model[0].weight, before)


def test_gradients_can_be_set_to_zero():
    model = small_model()
    optimizer = build_optimizer("sgd", model.parameters(), lr=0.1)
    steps(model, optimizer, [0])
    optimizer.zero_grad(set_to_none=False)

    assert all(int(parameter.grad.count_nonzero()) == 0 for parameter in model.parameters())


def test_a_schedule_of_torchs_works_on_them():
    model = small_model()
    optimizer = build_optimizer("sgd", model.parameters(), lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    steps(model, optimizer, [0])
    schedule.step()

    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_an_unknown_optimizer_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'adam'"):
        build_optimizer("adan", small_model().parameters(), lr=0.1)


OTHERS = [name for name in OPTIMIZERS.others.names("") if name != "muon"]


@pytest.mark.parametrize("name", OTHERS)
def test_another_optimizer_of_torch_is_built_with_its_own_settings_and_steps_as_torchs(name):
    settings = OPTIMIZERS.settings(name)
    mine, theirs = small_model(), small_model()
    kind = next(kind for called, kind in vars(optim).items() if called.lower() == name)

    ours = steps(mine, build_optimizer(name, mine.parameters(), **settings))

    assert all(map(torch.equal, ours, steps(theirs, kind(theirs.parameters()))))
    assert {"foreach", "maximize", "fused"} & settings.keys() == set()


@pytest.mark.parametrize("name", ["LBFGS", "sparseadam"])
def test_an_optimizer_that_cannot_train_here_is_refused_with_the_reason(name):
    with pytest.raises(ConfigError, match=rf"optimizer\.name: {name} (evaluates the loss several|is for sparse)"):
        build_optimizer(name, small_model().parameters(), lr=0.1)


def test_an_optimizer_for_matrices_reports_that_it_cannot_take_all_weights():
    if "muon" not in OPTIMIZERS.others.names(""):
        pytest.skip("this torch has no Muon")
    with pytest.raises(ConfigError, match=r"optimizer\.name: 'muon' cannot be used: .*2D"):
        build_optimizer("muon", small_model().parameters(), lr=0.1)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_where_torchs_private_names_are_gone_its_own_classes_are_used(name, monkeypatch):
    assert optimizer_class(name) is not getattr(optim, name)
    kind = next(kind for kind in getattr(optim, name).__mro__ if "step" in vars(kind))
    bare = inspect.unwrap(kind.step)

    def step(self):
        with torch.no_grad():
            bare(self)

    monkeypatch.setattr(kind, "step", step)

    assert optimizer_class(name) is getattr(optim, name)
    model = small_model()
    before = model[0].weight.clone()
    steps(model, build_optimizer(name.lower(), model.parameters(), lr=0.1), [0])
    assert not torch.equal(model[0].weight, before)
