"""Half precision, the other memory format, and compiled models: what changes in training, and what must not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dlworkflow import models
from dlworkflow.analysis.evaluation import evaluate_run
from dlworkflow.config import from_flags, from_overrides
from dlworkflow.engine import precision as p
from dlworkflow.errors import ConfigError
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

CPU = torch.device("cpu")


def trained(tmp_path, *pairs, model="tinyvgg"):
    layers = [from_flags({"model.name": ("MODEL", model)}), from_overrides(("recipe=notes", "epochs=1", *pairs))]
    return run_training(resolve_config(layers), runs_dir=tmp_path)


def weights(run):
    return torch.load(run.weights_path("last"), weights_only=True)


class Spy(nn.Module):
    """Notes the type that a layer computes in."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(2, 2), None

    def forward(self, x):
        out = self.layer(x)
        self.seen = out.dtype
        return out


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_only_the_forward_pass_in_training_is_in_half_precision(name, dtype):
    model = Spy()
    cast = p.Autocast(model, name, CPU)

    assert cast(torch.ones(1, 2)).dtype == torch.float32
    assert model.seen == dtype
    cast.eval()(torch.ones(1, 2))
    assert model.seen == torch.float32


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_weights_and_scores_of_a_run_in_half_precision_are_float32(tmp_path, name):
    run = trained(tmp_path, f"precision={name}")

    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32}
    assert evaluate_run(run, "test", weights="last").loss == pytest.approx(run.history()[-1]["test_loss"], rel=1e-5)


def test_half_precision_trains_almost_the_same(tmp_path):
    plain, half = trained(tmp_path), trained(tmp_path, "precision=bf16")

    assert half.history()[0]["train_loss"] != plain.history()[0]["train_loss"]
    assert half.history()[0]["train_loss"] == pytest.approx(plain.history()[0]["train_loss"], rel=0.02)


def test_a_precision_that_the_device_cannot_is_refused(monkeypatch):
    monkeypatch.setattr(p, "_can", lambda name, device: name != "fp16")

    with pytest.raises(ConfigError, match="precision: cpu cannot train in 'fp16'; possible: fp32, bf16"):
        p.check_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("name", "device", "instruction", "chosen"),
    [
        ("fashion_mnist_v2", "cpu", "_is_avx512_bf16_supported", "bf16"),
        ("fashion_mnist_v2", "cpu", "_is_amx_tile_supported", "bf16"),
        ("fashion_mnist_v2", "cpu", None, "fp32"),
        ("fashion_mnist_v2", "cuda", "_is_avx512_bf16_supported", "fp32"),
        ("fashion_mnist_v0", "cpu", "_is_avx512_bf16_supported", "fp32"),
    ],
)
def test_bf16_is_chosen_for_convolutions_on_a_cpu_with_instructions_for_it(
    monkeypatch, name, device, instruction, chosen
):
    for each in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, each, lambda there=each == instruction: there)
    model, shape = models.build(name, (1, 28, 28), 10), (1, 28, 28)

    assert p.choose_precision("auto", model, shape, torch.device(device)) == chosen
    assert p.choose_precision("fp16", model, shape, torch.device(device)) == "fp16"


@pytest.mark.parametrize("chosen", ["bf16", "fp32"])
def test_a_run_has_the_precision_that_the_rule_chose(monkeypatch, tmp_path, chosen):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: chosen == "bf16")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    larger = ("data.name=fashion_mnist", "data.limit=40")

    by_rule = trained(tmp_path, "precision=auto", *larger, model="fashion_mnist_v2")
    given = trained(tmp_path, f"precision={chosen}", *larger, model="fashion_mnist_v2")

    assert by_rule.summary().config["precision"] == chosen
    assert by_rule.history()[0]["train_loss"] == given.history()[0]["train_loss"]


def test_gradients_are_scaled_and_the_scale_is_kept_for_resuming(tmp_path):
    run = trained(tmp_path, "precision=fp16")

    scaler = torch.load(run.state_path, weights_only=True)["parts"]["scaler"]
    assert scaler["scale"] >= 1.0
    assert scaler["_growth_tracker"] == 45  # updates of one epoch


def test_the_other_memory_format_gives_the_same_numbers(tmp_path):
    plain, other = trained(tmp_path), trained(tmp_path, "channels_last=true")

    assert weights(other)["conv_block_1.2.weight"].is_contiguous(memory_format=torch.channels_last)
    assert not weights(plain)["conv_block_1.2.weight"].is_contiguous(memory_format=torch.channels_last)
    assert other.history()[0]["test_loss"] == pytest.approx(plain.history()[0]["test_loss"], rel=1e-3)


def test_the_memory_format_of_pictures_is_refused_for_numbers(tmp_path):
    with pytest.raises(ConfigError, match="channels_last: is a memory format of images; data 'circles' has numbers"):
        trained(tmp_path, "channels_last=true", model="circles_v2")


@pytest.mark.usefixtures("on_cpu")
def test_where_no_compiler_works_it_is_said_in_one_line(tmp_path, monkeypatch):
    def fail(_):
        raise RuntimeError("no g++ found\nand a long story")

    monkeypatch.setattr(torch, "compile", fail)

    with pytest.raises(
        ConfigError, match=r"^compile: torch\.compile does not work here on cpu: no g\+\+ found; on a CPU"
    ):
        trained(tmp_path, "compile=true", model="circles_v2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_compiled_model_trains_the_same_and_keeps_the_names_of_its_weights(tmp_path):
    plain, compiled = (trained(tmp_path, *more, model="circles_v2") for more in ((), ("compile=true",)))

    assert weights(compiled).keys() == weights(plain).keys()
    assert compiled.history()[-1]["test_loss"] == pytest.approx(plain.history()[-1]["test_loss"], rel=1e-5)
