"""The output of each layer of a model for one input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerOutput:
    """A layer by its name in the model (`conv_block_1.0`), its kind (`Conv2d`), and what it gave for the input."""

    name: str
    kind: str
    output: Tensor


def layer_outputs(model: nn.Module, inputs: Tensor) -> list[LayerOutput]:
    """Send inputs (n, *in_shape) through a model; return what every innermost layer gives, in the order of the calls.

    Leaves the model as it was. Functions that are no modules (`F.relu`) do not show.
    """
    found: list[LayerOutput] = []
    handles = []
    for name, module in model.named_modules():
        if not list(module.children()) and module is not model:

            def keep(layer: nn.Module, _: object, output: Tensor, name: str = name) -> None:
                found.append(LayerOutput(name, type(layer).__name__, output.detach()))

            handles.append(module.register_forward_hook(keep))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            model(inputs)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return found
