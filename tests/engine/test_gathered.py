"""What is kept of every batch is joined as if it were joined at the end."""

import pytest
import torch

from dlworkflow.engine import gathered
from dlworkflow.engine.gathered import Gathered


@pytest.fixture(params=[1, 100, 2**18], ids="{} bytes apart".format)
def at_once(request, monkeypatch):
    monkeypatch.setattr(gathered, "KEPT_APART", request.param)


def test_what_was_added_is_there_in_its_order(at_once):
    X, y = torch.randn(50, 3, 2), torch.arange(50)
    kept = Gathered()
    for part in zip(X.split(7), y.split(7), strict=True):
        kept.add(*part)

    joined = kept.joined()
    assert torch.equal(joined[0], X)
    assert torch.equal(joined[1], y)
    assert [each.untyped_storage().nbytes() for each in joined] == [X.nbytes, y.nbytes]


def test_what_was_made_in_inference_mode_can_be_changed_afterwards(at_once):
    kept = Gathered()
    for _ in range(3):
        with torch.inference_mode():
            kept.add(torch.ones(40, 2))

    [joined] = kept.joined()
    assert joined.add_(1).sum() == 480


def test_nothing_is_joined_of_no_batch():
    assert Gathered().joined() == []
