"""A model in two parts: the backbone, which sees, and the classifier, which names what was seen.

A model says where it is cut by its attribute `classifier_layer`, the name of the layer that is the classifier
("fc", "head.out"); all else is the backbone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from dlworkflow.errors import ModelError, unknown

_GIVES_SCORES = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def classifier_name(model: nn.Module) -> str:
    """Return the name of a model's classifier.

    Raises ModelError when the model has none, or `classifier_layer` names no layer with weights.
    """
    kind, name = type(model).__name__, getattr(model, "classifier_layer", None)
    layers = {layer: part for layer, part in model.named_modules() if layer}
    if not isinstance(name, str):
        raise ModelError(
            f"{kind} does not say what its backbone is; name its classifier in an attribute classifier_layer"
        )
    if name not in layers:
        raise ModelError(f"{kind}.classifier_layer: {unknown('layer', name, layers)}")
    if not list(layers[name].parameters()):
        raise ModelError(f"{kind}.classifier_layer: {name!r} has no weights to train")
    return name


def last_layer(model: nn.Module) -> str:
    """Return the name of the layer that gives the scores: the last with weights of its own in the classifier."""
    prefix = classifier_name(model)
    parts = model.get_submodule(prefix).named_modules(prefix=prefix)
    return [name for name, part in parts if list(part.parameters(recurse=False))][-1]


def classifier_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the classifier."""
    return list(model.get_submodule(classifier_name(model)).parameters())


def backbone_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of all but the classifier."""
    own = set(map(id, classifier_parameters(model)))
    return [parameter for parameter in model.parameters() if id(parameter) not in own]


class Staged(nn.Module):
    """A model whose backbone is frozen for a while: no gradient, no dropout, and batch norms that count no batch.

    `train()` leaves a frozen backbone in evaluation mode. Takes and returns what `model` does, and holds the same
    weights.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.frozen = False
        self._classifier = classifier_name(model)

    def freeze(self, frozen: bool = True) -> None:
        """Freeze the backbone, or let it be trained again."""
        self.frozen = frozen
        for parameter in backbone_parameters(self.model):
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Staged:
        """Set training or evaluation mode; of a frozen backbone, evaluation mode alone."""
        super().train(mode)
        if self.frozen:
            for part in self._backbone():
                part.training = False
        return self

    def forward(self, x: Tensor) -> Any:
        return self.model(x)

    def _backbone(self) -> Iterator[nn.Module]:
        name = self._classifier
        return (part for own, part in self.model.named_modules() if own != name and not own.startswith(f"{name}."))


class Classifier(nn.Module):
    """The classifier of a model alone, on features that its backbone gave: the same weights, the same scores.

    Takes features (n, ...) as they reached the classifier in the model, returns logits (n, n_outputs).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layer = model.get_submodule(classifier_name(model))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layer(features)
        return logits.flatten(1)


def logits_and_features(model: nn.Module, X: Tensor) -> tuple[Tensor, Tensor]:
    """Run a model on inputs (n, *in_shape); return its logits and what reached its classifier, (n, ...)."""
    with _inputs_of([model.get_submodule(classifier_name(model))]) as seen:
        logits: Tensor = model(X)
    return logits, seen[-1]


def logits_and_last_features(model: nn.Module, X: Tensor) -> tuple[Tensor, Tensor]:
    """Run a model on inputs (n, *in_shape); return its logits (n, n_outputs) and its last features (n, d).

    The last features are the input of the layer that gives the scores: the last linear layer or convolution that runs,
    in the classifier where the model names one. Of feature maps they are the means over positions. Raises ModelError
    where there is no such layer.
    """
    named = isinstance(getattr(model, "classifier_layer", None), str)
    part = model.get_submodule(classifier_name(model)) if named else model
    layers = [layer for layer in part.modules() if isinstance(layer, _GIVES_SCORES) or (named and layer is part)]
    with _inputs_of(layers) as seen:
        logits: Tensor = model(X)
    if not seen:
        raise ModelError(
            f"{type(model).__name__} has no linear layer or convolution, whose input would be its features"
        )
    last = seen[-1].flatten(2).mean(dim=2) if seen[-1].ndim == 4 else seen[-1]
    return logits.reshape(len(X), -1), last.flatten(1)


@contextmanager
def _inputs_of(layers: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what reaches these layers within the block, in order; not what other threads give the same model."""
    seen: list[Tensor] = []
    own = get_ident()

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        if get_ident() == own:
            seen.append(given[0])

    handles = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def parameter_groups(model: nn.Module, lr: float, backbone_scale: float) -> list[dict[str, Any]]:
    """Return the weights as an optimizer's groups: the classifier at rate `lr`, the backbone at a part of it."""
    return [
        {"params": classifier_parameters(model)},
        {"params": backbone_parameters(model), "lr": lr * backbone_scale},
    ]
