"""How what counts in an input is found, a function each, and their table; knows no file, no run and no figure.

A method takes `model`, which returns a score for each class (n, classes); one input (1, *in_shape) float32 as it goes
into the model; a `baseline` of the same shape, an input in which there is nothing; and the `targets`, k numbers of
classes. It returns (k, *in_shape), or (k, 1, h, w) of an image: above 0 what speaks for the class, below 0 what speaks
against it. captum computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.engine.tasks import Task
from dlworkflow.errors import ConfigError, ModelError, not_installed
from dlworkflow.inference.averaging import Ensemble
from dlworkflow.registry import Registry, pyplot_left_alone

Attribute = Callable[[nn.Module, Tensor, Tensor, Sequence[int]], Tensor]

_WINDOW = 8  # of these fit beside each other: the squares that occlusion hides
_PATH = 32  # points between the baseline and the input


class ClassScores(nn.Module):
    """A model with a raw score for each class: those of two classes with one output are its logit and minus that.

    Takes what the model takes, returns (n, classes); of a regression its value, (n, 1).
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x).reshape(len(x), -1)
        if self.task.name != "binary":
            return scores
        return torch.cat([1 - scores if self.task.outputs == "probabilities" else -scores, scores], dim=1)


def gradcam(model: nn.Module, x: Tensor, baseline: Tensor, targets: Sequence[int]) -> Tensor:  # noqa: ARG001
    """Weigh the last feature maps of a convolutional network by how much they raise a class.

    Grad-CAM of Selvaraju et al. 2017: quick and coarse, and blind to what speaks against a class. Raises ModelError
    for a model without convolutions.
    """
    with pyplot_left_alone():
        from captum.attr import LayerGradCam

    _, layer = last_feature_maps(model, x)
    inputs = _repeated(x, len(targets))
    maps = LayerGradCam(model, layer).attribute(inputs, target=[*targets], relu_attributions=True)
    return F.interpolate(cast(Tensor, maps).detach(), size=x.shape[2:], mode="bilinear", align_corners=False)


def occlusion(model: nn.Module, x: Tensor, baseline: Tensor, targets: Sequence[int]) -> Tensor:
    """Hide one square after the other, and see how much that lowers a class.

    Zeiler and Fergus 2014: takes any model of images, and hundreds of predictions. Raises ModelError for rows.
    """
    if x.dim() != 4:
        raise ModelError(f"occlusion hides squares of images, and the model takes numbers; {_OF_ROWS}")
    with pyplot_left_alone():
        from captum.attr import Occlusion

    sides = [max(1, side // _WINDOW) for side in x.shape[2:]]
    channels = x.shape[1]
    found = Occlusion(lambda inputs: model(inputs)[:, [*targets]]).attribute(
        x,
        sliding_window_shapes=(channels, *sides),
        strides=(channels, *(max(1, side // 2) for side in sides)),
        baselines=baseline,
        perturbations_per_eval=32,
    )
    return found.reshape(len(targets), *x.shape[1:])


def integrated_gradients(model: nn.Module, x: Tensor, baseline: Tensor, targets: Sequence[int]) -> Tensor:
    """Add up the gradients of a class on the way from the baseline to the input.

    Sundararajan et al. 2017: takes any model with gradients; the parts add up to the difference of the two scores.
    """
    with pyplot_left_alone():
        from captum.attr import IntegratedGradients

    method = IntegratedGradients(model)
    options: dict[str, Any] = {"baselines": baseline, "n_steps": _PATH, "internal_batch_size": _PATH}
    return torch.cat([method.attribute(_repeated(x, 1), target=target, **options) for target in targets]).detach()


METHODS: Registry[Attribute] = Registry(
    "method",
    {"gradcam": gradcam, "occlusion": occlusion, "integrated_gradients": integrated_gradients},
    "methods",
    section="",
    supplied=("model", "x", "baseline", "targets"),
)
"""The methods by name; `METHODS.register(name, function)` adds yours, as does the entry-point group
`dlworkflow.methods` of another package.
"""


def usual_method(model: nn.Module, x: Tensor) -> str:
    """Return the method that is used where none is named, for an input (1, ...): the quickest that is to be relied on.

    Grad-CAM takes a feature map as worth the same everywhere, which holds where the network averages it over all
    places, and fails where its classifier has a weight for each.
    """
    if x.dim() != 4:
        return "integrated_gradients"
    try:
        _, layer = last_feature_maps(model, x)
    except ModelError:
        return "occlusion"
    return "gradcam" if _is_averaged(model, layer, x) else "occlusion"


def _is_averaged(model: nn.Module, layer: nn.Module, x: Tensor) -> bool:
    """Return whether the first score grows the same with each place of a feature map."""
    found: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _layer, _inputs, output: found.append(output))
    try:
        score = model(_repeated(x, 1))[0, 0]
    finally:
        handle.remove()
    [gradient] = torch.autograd.grad(score, found, allow_unused=True)
    return gradient is not None and bool(torch.allclose(gradient, gradient.mean(dim=(2, 3), keepdim=True), rtol=1e-3))


def check_method(name: str) -> None:
    """Raise ConfigError, with the nearest name, for an unknown method, and where captum is not installed."""
    try:
        METHODS.check_name(name)
    except ConfigError as error:
        raise ConfigError(f"--method: {error}") from None
    check_captum()


def attributions(name: str, model: nn.Module, x: Tensor, baseline: Tensor, targets: Sequence[int]) -> Tensor:
    """Return what a method finds, float32 on the CPU.

    Raises as `check_method` does, and ModelError for a model that the method cannot explain.
    """
    check_method(name)
    return METHODS[name](model, x, baseline, targets).detach().float().cpu()


def check_captum() -> None:
    """Raise ConfigError where captum is not installed."""
    if find_spec("captum") is None:
        raise ConfigError(not_installed("an explanation", "captum", "explain"))


def last_feature_maps(model: nn.Module, x: Tensor) -> tuple[str, nn.Module]:
    """Return the layer, and its name, that gives the last feature maps (n, channels, h, w) for an input (1, c, h, w).

    That is the last layer with rows and columns and with the channels of the last convolution: after its activation
    and pooling, and after the sum of a residual block. Raises ModelError where there is none, or no single one.
    """
    if x.dim() != 4:
        raise ModelError(f"gradcam marks places in images, and the model takes numbers; {_OF_ROWS}")
    if any(isinstance(part, Ensemble) for part in model.modules()):
        raise ModelError(f"gradcam: an ensemble has no one layer to look at; {_OTHERS}")
    called: list[tuple[str, nn.Module, Tensor]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda layer, _, output: called.append((name, layer, output))

    handles = [layer.register_forward_hook(note(name)) for name, layer in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    maps = [each for each in called if isinstance(each[2], Tensor) and each[2].dim() == 4 and _has_places(each[2])]
    channels = [output.shape[1] for _, layer, output in maps if isinstance(layer, nn.Conv2d)][-1:]
    found = [(name, layer) for name, layer, output in maps if [output.shape[1]] == channels]
    if not found:
        kind = type(model.model if isinstance(model, ClassScores) else model).__name__
        raise ModelError(f"gradcam needs convolutions that leave rows and columns, and {kind} has none; {_OTHERS}")
    name, layer = found[-1]
    if sum(other is layer for _, other, _ in called) > 1:
        raise ModelError(f"gradcam: the layer {name!r} is called more than once for an input; {_OTHERS}")
    return name.removeprefix("model."), layer


_OTHERS = "use --method occlusion, or integrated_gradients"
_OF_ROWS = "use --method integrated_gradients"


def _has_places(maps: Tensor) -> bool:
    return maps.shape[2] * maps.shape[3] > 1


def _repeated(x: Tensor, n: int) -> Tensor:
    """Return n copies of an input as one batch, with a gradient."""
    return x.repeat(n, *[1] * (x.dim() - 1)).requires_grad_()
