"""Weights on disk: whole or not there, read without running anything, refused by name when they do not belong."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from dlworkflow.errors import ModelError, RunError
from dlworkflow.models.blobs import BlobModel
from dlworkflow.models.circles import CircleModelV0, CircleModelV2
from dlworkflow.models.linear import LinearRegressionModelV2
from dlworkflow.models.tiny_vgg import TinyVGG
from dlworkflow.models.weights.checkpoint import apply_weights, load_matching, load_weights, save_model, save_weights
from dlworkflow.models.weights.from_weights import find_fit, load_model
from dlworkflow.models.weights.pretrained import take_pretrained


def test_a_saved_model_comes_back_to_the_bit(tmp_path):
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)

    load_model(second, save_model(first, tmp_path / "new folder", "m.pth"))

    assert torch.equal(first.weight, second.weight)


def test_saved_weights_load_without_this_library(tmp_path):
    model = nn.Linear(3, 2)
    path = save_model(model, tmp_path, "m.pth")

    assert torch.equal(torch.load(path, weights_only=True)["weight"], model.weight)


def test_weights_saved_by_plain_torch_load_here(tmp_path):
    model = nn.Linear(3, 2)
    torch.save(model.state_dict(), tmp_path / "m.pth")

    assert torch.equal(load_weights(tmp_path / "m.pth")["weight"], model.weight)


def test_a_name_without_the_usual_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.pth or \.pt"):
        save_model(nn.Linear(1, 1), tmp_path, "model")


def test_a_write_that_fails_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch):
    path = save_weights({"a": torch.ones(2)}, tmp_path / "w.pth")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(RunError, match=r"w\.pth.*No space left"):
        save_weights({"a": torch.zeros(2)}, path)
    assert torch.equal(load_weights(path)["a"], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


class Runs:
    """A pickle that would run code when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("code in a checkpoint was run",))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path):
    for name, write in (("zip.pth", torch.save), ("raw.pth", lambda obj, path: path.write_bytes(pickle.dumps(obj)))):
        write({"a": Runs()}, tmp_path / name)

        with pytest.raises(ModelError, match=name):
            load_weights(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_weights_is_named(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)

    with pytest.raises(ModelError, match=r"w\.pth"):
        load_weights(tmp_path / "w.pth")


def test_a_truncated_file_is_named(tmp_path):
    path = save_weights({"a": torch.ones(1000)}, tmp_path / "w.pth")
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(ModelError, match=r"w\.pth"):
        load_weights(path)


def test_a_list_of_tensors_is_no_state_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "w.pth")

    with pytest.raises(ModelError, match="no state_dict"):
        load_weights(tmp_path / "w.pth")


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "w.pth")

    with pytest.raises(ModelError, match=r"w\.pth' holds no plain numbers for a"):
        load_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("tensor", [torch.zeros(3, device="meta"), torch.eye(3).to_sparse()], ids=["meta", "sparse"])
def test_a_tensor_that_is_no_plain_numbers_is_refused(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "w.pth")

    with pytest.raises(ModelError, match="no plain numbers for a"):
        load_weights(tmp_path / "w.pth")


def test_weights_of_another_model_are_refused_naming_what_does_not_match():
    model = nn.Linear(3, 2)
    before = model.weight.clone()

    with pytest.raises(ModelError) as caught:
        apply_weights(model, {"weight": torch.zeros(9, 9), "extra": torch.zeros(1)})

    assert str(caught.value).endswith("missing bias, unexpected extra, weight is (9, 9), not (2, 3)")
    assert torch.equal(model.weight, before)


def _prefixed(weights, *prefixes):
    return {f"{''.join(prefixes)}{name}": tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda w: _prefixed(w, "module."), "names are read without 'module.'"),
        (lambda w: _prefixed(w, "_orig_mod.", "module."), "names are read without 'module.' and '_orig_mod.'"),
        (lambda w: {"n_averaged": torch.tensor(3), **_prefixed(w, "module.")}, "names are read without 'module.'"),
        (lambda w: {"0._orig_mod.weight": w["0.weight"], "0.bias": w["0.bias"]}, "read without '_orig_mod.'"),
        (lambda w: {"epoch": 3, "model_state_dict": w, "optimizer": {"state": {}}}, "entry 'model_state_dict'"),
        (lambda w: {"state_dict": _prefixed(w, "module."), "ema": w}, "entry 'state_dict'"),
        (lambda w: {"model": w}, "entry 'model'"),
        (lambda w: {"net": w, "acc": 0.5}, "entry 'net'"),
        (lambda w: {"mine": w, "epoch": 1}, "entry 'mine'"),
    ],
)
def test_weights_of_a_wrapped_model_or_within_a_checkpoint_are_taken_and_it_is_said(tmp_path, caplog, wrap, words):
    first, second = nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2))
    torch.save(wrap(dict(first.state_dict())), tmp_path / "w.pth")

    load_model(second, tmp_path / "w.pth")

    assert torch.equal(first[0].weight, second[0].weight)
    assert words in caplog.text


def test_names_that_the_model_itself_has_are_left_as_they_are(tmp_path, caplog):
    model = nn.Sequential()
    model.add_module("module", nn.Linear(3, 2))

    load_model(model, save_weights(model.state_dict(), tmp_path / "w.pth"))

    assert not caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "optimizer": {"state": {}}}, "but 'epoch', 'optimizer'"),
        ({"first": {"a": torch.ones(1)}, "second": {"a": torch.ones(1)}}, "but 'first', 'second'"),
        ({f"k{i}": i for i in range(99)}, "'k5' and 93 more"),
        (3, "but int"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content, words):
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(ModelError, match="holds no state_dict") as caught:
        load_weights(tmp_path / "w.pth")
    assert words in str(caught.value)


def test_a_whole_model_is_refused_with_how_to_write_its_weights(tmp_path):
    torch.save(TinyVGG(3), tmp_path / "w.pth")

    with pytest.raises(ModelError, match=r"\(dlworkflow\.models\.tiny_vgg\.TinyVGG\).*torch\.save\(model\.state_dict"):
        load_weights(tmp_path / "w.pth")


class Vit(nn.Module):
    """Where torchvision's ViT has its head."""

    classifier_layer = "heads.head"

    def __init__(self, classes):
        super().__init__()
        self.body = nn.Linear(2, 4)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(4, classes))


def _of_the_course(classes):
    model = Vit(classes)
    model.heads = nn.Linear(4, classes)
    return dict(model.state_dict())


def test_a_head_that_the_course_put_elsewhere_loads_by_shape_and_it_is_said(tmp_path, caplog):
    weights, model = _of_the_course(3), Vit(3)

    load_model(model, save_weights(weights, tmp_path / "vit.pth"))

    assert torch.equal(model.heads.head.weight, weights["heads.weight"])
    assert "layer 'heads' is taken for 'heads.head'" in caplog.text


def test_a_head_for_other_classes_is_no_obstacle_to_the_rest(caplog):
    assert load_matching(Vit(5), _of_the_course(3))[0] == ["body.weight", "body.bias"]
    assert take_pretrained(Vit(5), _of_the_course(3), source="w")[1] == ["heads.head.weight", "heads.head.bias"]


def test_the_courses_tinyvgg_is_told_from_ours_by_its_padding(tmp_path):
    path = save_weights(TinyVGG(3, 10, 3, padding=0).state_dict(), tmp_path / "course.pth")

    with pytest.raises(ModelError, match=r"they fit TinyVGG\(\.\.\., padding=0\) for inputs of 3x64x64 and 3 output"):
        load_model(TinyVGG(3, 10, 3), path)


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(100_000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))

    with pytest.raises(ModelError, match=r"w\.pth' is compressed: 400,\d+ bytes in"):
        load_weights(tmp_path / "w.pth")


def test_a_pipe_is_no_file_of_weights(tmp_path):
    os.mkfifo(tmp_path / "w.pth")

    with pytest.raises(ModelError, match="not a regular file"):
        load_weights(tmp_path / "w.pth")


# Weights of an nn.Sequential


def circles():
    """The notes' model of circles as a Sequential."""
    return nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 1))


def sequential_vgg():
    """A TinyVGG of nested Sequentials."""
    vgg = TinyVGG(3, 4, 3)
    return nn.Sequential(*vgg.children())


@pytest.mark.parametrize(
    ("saved", "model"),
    [
        (circles(), CircleModelV0()),
        (nn.Sequential(nn.Linear(1, 1)), LinearRegressionModelV2()),
        (nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1)), CircleModelV2()),
        (sequential_vgg(), TinyVGG(3, 4, 3)),
        (CircleModelV0(), circles()),
    ],
    ids=["circles", "line", "with ReLUs between", "nested", "into a Sequential"],
)
def test_weights_of_a_sequential_are_taken_in_their_order(tmp_path, saved, model):
    load_model(model, save_model(saved, tmp_path, "m.pth"))

    assert all(map(torch.equal, saved.state_dict().values(), model.state_dict().values()))


def test_what_was_taken_for_what_is_reported(tmp_path, caplog):
    load_model(CircleModelV0(), save_model(circles(), tmp_path, "m.pth"))

    assert "layers '0', '1' are taken for 'layer_1', 'layer_2', by their order and shapes" in caplog.text


@pytest.mark.parametrize(
    "saved",
    [
        nn.Sequential(nn.Linear(2, 6), nn.Linear(6, 1)),
        nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 5), nn.Linear(5, 1)),
        nn.Sequential(nn.Linear(5, 1), nn.Linear(2, 5)),
        nn.Sequential(nn.Linear(2, 5, bias=False), nn.Linear(5, 1)),
    ],
    ids=["other shapes", "more layers", "another order", "fewer tensors"],
)
def test_weights_of_a_sequential_that_is_not_alike_are_refused_by_name(tmp_path, saved):
    with pytest.raises(ModelError, match=r"missing layer_1\.weight.* unexpected 0\.weight"):
        load_model(CircleModelV0(), save_model(saved, tmp_path, "m.pth"))


def blobs(*, relu):
    between = [nn.ReLU()] if relu else []
    return nn.Sequential(nn.Linear(2, 8), *between, nn.Linear(8, 8), *between, nn.Linear(8, 4))


@pytest.mark.parametrize("relu", [True, False])
def test_the_numbers_of_a_sequential_show_whether_relus_are_between(relu):
    weights = blobs(relu=relu).state_dict()

    assert find_fit("blobs", weights, n_outputs=[4]).settings["relu"] is relu


def test_weights_with_relus_between_do_not_go_into_a_sequential_without():
    with pytest.raises(ModelError, match=r"missing linear_layer_stack\.0\.weight"):
        apply_weights(BlobModel(2, 4, 8), blobs(relu=True).state_dict())


def test_names_of_another_model_are_not_taken_in_their_order(tmp_path):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 5), nn.Linear(5, 1)

    with pytest.raises(ModelError, match="unexpected first"):
        load_model(CircleModelV0(), save_model(Other(), tmp_path, "m.pth"))


def test_weights_of_a_wrapped_sequential_are_taken():
    model, saved = CircleModelV0(), circles()
    apply_weights(model, {f"module.{name}": tensor for name, tensor in saved.state_dict().items()})

    assert torch.equal(model.layer_2.weight, saved[1].weight)
