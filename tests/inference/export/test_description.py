"""The description in an exported file: what was written is read back, and what cannot be right is reported."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from dlworkflow.errors import ModelError, RunError
from dlworkflow.inference.export.description import METADATA_KEY, Description, Parity, read_description

TABLE = {"target": "y", "inputs": [{"name": "sex", "categories": ["f", "m"]}, {"name": "age", "mean": 1, "scale": 2}]}
MULTILABEL = Description(
    **{"run": "m-d-001", "model": "m", "weights": "best", "digest": "0", "weights_size": 3, "weights_mtime_ns": 1},
    **{"task": "multilabel", "classes": ["a", "b"], "in_shape": [3, 8, 8]},
    transform=[{"resize": {"size": [8, 8]}}],
    thresholds=[0.5, 0.25],
    parity=Parity(20, "test split", 3e-8, 0),
)
ROWS = replace(MULTILABEL, task="binary", in_shape=[2], transform=None, thresholds=None)


def read(description):
    return read_description({METADATA_KEY: description.to_text()}, source="'model.onnx'")


def test_a_description_is_read_back_as_it_was():
    assert read(MULTILABEL) == MULTILABEL


@pytest.mark.parametrize(
    ("description", "inputs"),
    [(MULTILABEL, ["images"]), (ROWS, ["rows"]), (replace(ROWS, columns=TABLE), ["numbers", "categories"])],
)
def test_the_inputs_follow_from_what_the_model_takes(description, inputs):
    assert description.inputs == inputs


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"classes": ["a"]}, "1 classes are no binary task"),
        ({"in_shape": [3, 8, 8]}, r"in_shape is \[3, 8, 8\]"),
        ({"thresholds": [0.5]}, r"thresholds is \[0.5\]"),
        ({"columns": {"inputs": [{}]}}, "columns is"),
        ({"weights": "worst"}, "weights is 'worst'"),
        ({"format": 2}, "written by a newer dlworkflow"),
    ],
)
def test_a_description_that_contradicts_itself_names_the_key(changes, fault):
    with pytest.raises(RunError, match=fault):
        read(replace(ROWS, **changes))


def test_a_file_of_another_program_is_named():
    with pytest.raises(ModelError, match=r"'other\.onnx' does not describe"):
        read_description({}, source="'other.onnx'")


def test_a_file_of_weights_is_known_by_its_content_after_a_copy(tmp_path):
    weights = tmp_path / "best.pth"
    weights.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert replace(MULTILABEL, digest=digest).is_of(weights)


def test_other_weights_of_the_same_size_are_told_apart(tmp_path):
    weights = tmp_path / "best.pth"
    weights.write_bytes(b"abd")
    os.utime(weights, ns=(2, 2))

    assert not MULTILABEL.is_of(weights)


@pytest.mark.parametrize(("written", "trusted"), [(5_000_000_001, True), (5_000_000_000, False)])
def test_a_time_of_whole_seconds_is_no_sign_of_the_same_weights(written, trusted, tmp_path):
    weights = tmp_path / "best.pth"
    weights.write_bytes(b"abd")
    os.utime(weights, ns=(written, written))

    assert replace(MULTILABEL, weights_mtime_ns=written).is_of(weights) is trusted
