"""Weights on disk: whole or not there, read without running anything, refused by name when they do not belong."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from dlworkflow.checkpoint import apply_weights, load_model, load_weights, save_model, save_weights
from dlworkflow.errors import ModelError, RunError


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
