"""The output of each layer of a model, as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Watch = Callable[[str, nn.Module, Tensor, Tensor], None]
"""Called with a layer's name, the layer, its input and its output, each time it runs."""


@dataclass(frozen=True)
class LayerOutput:
    """A layer by its name in the model (`conv_block_1.0`), its kind (`Conv2d`), and what it gave for the input."""

    name: str
    kind: str
    output: Tensor


def layer_outputs(model: nn.Module, inputs: Tensor) -> list[LayerOutput]:
    """Send inputs (n, *in_shape) through a model; return what every innermost layer gives, in the order of the calls.

    Leaves the model as it was. Functions that are no modules (`F.relu`) do not show; a model without layers of its own
    is one itself, named `model`.
    """
    found: list[LayerOutput] = []

    def keep(name: str, layer: nn.Module, _: Tensor, output: Tensor) -> None:
        found.append(LayerOutput(name, type(layer).__name__, output.detach().clone()))  # the next may work in place

    with watched_layers(model, keep), torch.inference_mode():
        model(inputs)
    return found


@contextmanager
def watched_layers(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Put a model into evaluation mode and watch its innermost layers run; both end with the block.

    Layers whose input or output is not one tensor are left out.
    """

    def hook_of(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, given: tuple[object, ...], output: object) -> None:
            if given and isinstance(given[0], Tensor) and isinstance(output, Tensor):
                watch(name or "model", layer, given[0], output)

        return hook

    innermost = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(hook_of(name)) for name, module in innermost]
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was in training:
            module.training = was
        for handle in handles:
            handle.remove()
