"""What training asks of an accelerator: one copy of each batch, and no number back before an epoch ends.

The device `meta` stands for the accelerator. Its tensors hold no numbers, so that torch refuses most of what would wait
for a GPU; the rest is noted here, and answered with ones.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dlworkflow.config import from_overrides
from dlworkflow.data import loaders
from dlworkflow.engine.loop import evaluate, train_epochs
from dlworkflow.engine.signals import StopRequest
from dlworkflow.errors import DivergedError
from dlworkflow.training.assembly import assemble, new_state
from dlworkflow.training.job import prepare
from dlworkflow.training.settings import resolve_config

pytestmark = pytest.mark.slow  # for tensors without numbers torch loads its compiler: 4 s
META = torch.device("meta")
ANSWERS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")
FEW = ("data.limit=200", "data.batch_size=50", "data.val_fraction=0.25", "epochs=2")


class Accelerator(TorchFunctionMode):
    """Counts copies to the device as `copies`, by whether they wait; `waits` are its answers while batches come."""

    def __init__(self, answer=1.0):
        super().__init__()
        self.copies, self.waits, self.within, self._answer = Counter(), [], False, answer

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        is_there = bool(args) and isinstance(args[0], Tensor) and args[0].device.type == "meta"
        if is_there and name in ANSWERS:
            if self.within:
                self.waits.append(name)
            return func(torch.full(args[0].shape, self._answer).to(args[0].dtype), *args[1:], **kwargs)
        result = func(*args, **kwargs)
        if name in ("to", "as_tensor") and not is_there and isinstance(result, Tensor) and result.device.type == "meta":
            self.copies["does not wait" if kwargs.get("non_blocking") else "waits"] += 1
        return result

    def watch(self, batches):
        """Return the batches as a loader; `within` is true from the first to the end of the work on the last."""
        return _Watched(self, batches)


class _Watched:
    def __init__(self, device, batches):
        self.device, self.batches = device, batches

    def __iter__(self):
        self.device.within = True
        yield from self.batches
        self.device.within = False


def train(device, *pairs):
    """Train two epochs on the stand-in for an accelerator; return how many batches there were."""
    job = prepare(resolve_config([from_overrides([*FEW, *pairs])]))
    job = replace(job, device=META)
    state = new_state(job)
    parts = assemble(job, state, StopRequest(), 0)
    batches = {split: device.watch(each) for split, each in parts.batches.items()}
    with device:
        for _ in train_epochs(range(1, 3), parts.trained, parts.tested, batches, state.update, parts.metrics.of):
            parts.metrics.take()
    return 2 * sum(len(list(each)) for each in parts.batches.values())


WAYS = {
    "plain": ["model=blobs"],
    "images": ["model=tinyvgg", "data=digits"],
    "regression": ["model=line"],
    "accumulated and clipped": ["model=blobs", "accumulate=2", "clip_norm=1", "clip_value=1"],
    "averaged": ["model=blobs", "ema=0.9"],
    "mixed": ["model=tinyvgg", "data=digits", "mixup=0.2", "cutmix=0.2"],
    "weighted": ["model=blobs", "loss_weights=balanced", "label_smoothing=0.1"],
    "metrics": ["model=blobs", "metrics=[f1_macro]"],
    "schedule by update": ["model=blobs", "schedule=one_cycle"],
    "means over batches": ["model=blobs", "averaging=batch"],
    "adamw": ["model=blobs", "optimizer=adamw"],
}


@pytest.mark.parametrize("pairs", WAYS.values(), ids=WAYS)
def test_nothing_waits_for_the_device_within_an_epoch_and_each_batch_is_copied_once(pairs):
    device = Accelerator()
    n_batches = train(device, *pairs)

    assert device.waits == []
    assert device.copies == {"does not wait": 2 * n_batches}  # inputs and labels


def test_data_that_is_kept_on_the_device_is_not_copied_again(monkeypatch):
    monkeypatch.setattr(loaders, "free_memory", lambda device: 10**9)
    device = Accelerator()
    train(device, "model=blobs", "data.shuffle=true")

    assert device.waits == []
    assert device.copies == {"does not wait": 2 * 3}  # the order of each split in each epoch


def test_a_loss_that_is_no_number_is_seen_at_the_end_of_the_epoch():
    device = Accelerator(answer=math.nan)
    with pytest.raises(DivergedError, match="epoch 1"):
        train(device, "model=blobs")

    assert device.waits == []


def test_scores_of_an_evaluation_are_fetched_at_its_end():
    device = Accelerator()
    batches = [(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64))] * 4
    with device:
        found = evaluate(nn.Linear(2, 2, device="meta"), device.watch(batches), nn.CrossEntropyLoss())

    assert device.waits == []
    assert (found.logits.device.type, found.y.shape) == ("cpu", (12,))
