"""Pretrained weights: found, fetched or refused; taken where they fit, and named where they do not."""

from __future__ import annotations

import functools
import hashlib
import logging
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision

from dlworkflow import models
from dlworkflow.errors import DataError, MissingDataError, ModelError
from dlworkflow.models.libraries import published
from dlworkflow.models.weights.pretrained import find_or_fetch, take_pretrained

SMALL = "shufflenet_v2_x0_5"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch's, and no word about being offline."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("DLW_OFFLINE", raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def site(tmp_path):
    """A web site that publishes a file: `site(content)` is its published weights."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def publish(content, name=None):
        name = name or f"small-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        (folder / name).write_bytes(content)
        return replace(published(SMALL), url=f"http://127.0.0.1:{server.server_port}/{name}", file=name)

    yield publish
    server.shutdown()
    server.server_close()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.build(SMALL, (3, 32, 32), 3)


def full(name=SMALL):
    torch.manual_seed(1)
    return torchvision.models.get_model(name, weights=None).state_dict()


def test_weights_are_fetched_into_torchs_cache_and_it_is_said_from_where(cache, site, caplog):
    caplog.set_level(logging.INFO, "dlworkflow")
    weights = site(b"some weights")

    path = find_or_fetch(weights)

    assert path == cache / weights.file
    assert path.read_bytes() == b"some weights"
    assert caplog.messages == [f"fetching {weights.file} (5.3 MB) from {weights.url} into {cache}"]


def test_weights_in_torchs_cache_are_not_fetched(cache):
    weights = published(SMALL)
    cache.mkdir(parents=True)
    (cache / weights.file).touch()

    assert find_or_fetch(weights, offline=True) == cache / weights.file


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_the_error_names_the_file_and_the_folder(cache, monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("DLW_OFFLINE", "1")
    weights = published(SMALL)

    with pytest.raises(MissingDataError) as refused:
        find_or_fetch(weights, offline=way == "argument")

    assert all(part in str(refused.value) for part in (weights.file, repr(str(cache)), weights.url, "weights=FILE"))
    assert not cache.exists()


def test_a_server_that_has_none_is_told_with_the_way_out(cache, site):
    weights = replace(site(b"x"), url=site(b"x").url.replace("small", "other"), file="other.pth")

    with pytest.raises(MissingDataError, match=r"cannot fetch other.* \(File not found\); put http.*"):
        find_or_fetch(weights)


def test_a_file_of_another_digest_is_not_kept(cache, site):
    with pytest.raises(DataError, match="not kept"):
        find_or_fetch(site(b"something else", name="small-0123abcd.pth"))

    assert list(cache.iterdir()) == []


def test_all_but_the_last_layer_is_taken(model):
    weights = full()

    taken, new = take_pretrained(model, weights, source="weights")

    assert new == ["fc.weight", "fc.bias"]
    assert len(taken) == len(weights) - 2
    assert torch.equal(model.conv5[0].weight, weights["conv5.0.weight"])


def test_weights_of_a_backbone_alone_are_enough(model):
    backbone = {name: tensor for name, tensor in full().items() if not name.startswith("fc.")}

    assert take_pretrained(model, backbone, source="weights")[1] == ["fc.weight", "fc.bias"]


def test_files_older_than_the_counter_of_batch_norms_are_taken(model):
    old = {name: tensor for name, tensor in full().items() if not name.endswith("num_batches_tracked")}

    take_pretrained(model, old, source="weights")

    assert torch.equal(model.conv5[1].running_mean, old["conv5.1.running_mean"])


def test_weights_of_another_architecture_are_listed_and_change_nothing(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = full()
    weights["extra.weight"] = weights.pop("conv1.0.weight")
    weights["conv5.1.bias"] = torch.zeros(7)

    with pytest.raises(ModelError) as refused:
        take_pretrained(model, weights, source="weights 'x.pth'")

    told = "missing conv1.0.weight; unexpected extra.weight; conv5.1.bias is (7,), not (1024,)"
    assert str(refused.value) == f"weights 'x.pth' are not of this ShuffleNetV2: {told}"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small", "mnasnet0_5", "googlenet", "densenet121"])
def test_families_take_weights_as_torchvision_publishes_them(name):
    more = {"init_weights": False} if name == "googlenet" else {}
    weights = torchvision.models.get_model(name, weights=None, **more).state_dict()
    if name == "densenet121":  # its files have names of an older PyTorch
        weights = {key.replace("norm1.", "norm.1."): tensor for key, tensor in weights.items()}
    model = models.build(name, (3, 64, 64), 3)

    _, new = take_pretrained(model, weights, source="weights")

    assert len(new) == 2


def test_a_classifier_without_numbers_is_drawn_anew():
    weights = full("squeezenet1_1") | {"classifier.1.bias": torch.full((1000,), torch.nan)}
    model = models.build("squeezenet1_1", (3, 64, 64), 3)

    take_pretrained(model, weights, source="weights")

    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
