"""What a model is asked: which loss, how scores become probabilities and labels, what counts as right.

A task is a regression, binary, multiclass (one class of several) or multilabel (any number of several classes).
Imports torch only for loss functions and models, so that a prediction without torch has a task too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

from dlworkflow.errors import ConfigError, ModelError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

LossFn = Callable[["Tensor", "Tensor"], "Tensor"]

Outputs = Literal["logits", "probabilities", "log_probabilities"]
"""What the numbers are that a model gives: raw scores, probabilities (after a sigmoid or a softmax), or their logs."""


@dataclass(frozen=True)
class Task:
    """What a model is asked.

    `outputs` is what the model gives; None where the loss does not say, and the model is asked (`outputs_of`). Where
    it is not raw scores, "raw scores" below means what it is.
    """

    name: str
    has_accuracy: bool = True
    outputs: Outputs | None = "logits"

    def align(self, logits: Tensor, y: Tensor) -> Tensor:
        """Give raw scores the shape of the labels, so that no loss broadcasts (n, 1) against (n,).

        Raises ModelError when they cannot be brought together.
        """
        if self.name == "multiclass" or logits.shape == y.shape:
            return logits
        if logits.numel() == y.numel():
            return logits.reshape(y.shape)
        raise ModelError(
            f"{self.name}: the model gives {tuple(logits.shape)} for labels of shape {tuple(y.shape)}; "
            "one output a label is needed"
        )

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn raw scores (n, classes) into probabilities (n, classes); of one score, (n, 2) or the value itself.

        Those of a multilabel task are of each class by itself and do not add up to 1.
        """
        if self.name == "multiclass":
            return _as_probabilities(logits, self.outputs, lambda scores: scores.softmax(dim=1))
        if self.name == "multilabel":
            return _as_probabilities(logits, self.outputs, _sigmoid)
        if self.name == "binary":
            import torch

            p = _as_probabilities(logits.reshape(-1), self.outputs, _sigmoid)
            return torch.stack([1 - p, p], dim=1)
        return logits

    def labels(self, logits: Tensor) -> Tensor:
        """Turn raw scores into predicted labels: (n,) classes, 0 or 1 for each class, or a regression's value."""
        if self.name == "multiclass":
            return logits.argmax(dim=1)
        if self.name in ("binary", "multilabel"):
            return _as_probabilities(logits, self.outputs, _sigmoid).round()
        return logits

    def is_correct(self, logits: Tensor, y: Tensor, ignored: int | None = None) -> Tensor:
        """Tell which samples are answered rightly, (n,) bool on the device, without waiting for it.

        Where a sample has many labels, all must be right, but those that are `ignored` may be answered anyhow.
        """
        if self.name == "multiclass" and y.shape == logits.shape:  # probabilities of the classes
            y = y.argmax(dim=1)
        right = self.labels(logits) == y
        if ignored is not None and right.ndim > 1:
            right = right | (y == ignored)
        return right if right.ndim == 1 else right.flatten(start_dim=1).all(dim=1)


def _sigmoid(scores: Tensor) -> Tensor:
    return scores.sigmoid()


def _as_probabilities(values: Tensor, outputs: Outputs | None, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what a model gave as probabilities; one that gives them already is not put through a sigmoid again."""
    if outputs == "probabilities":
        return values
    return values.exp() if outputs == "log_probabilities" else activation(values)


REGRESSION = Task("regression", has_accuracy=False)
BINARY = Task("binary")
MULTICLASS = Task("multiclass")
MULTILABEL = Task("multilabel")
TASKS = {task.name: task for task in (REGRESSION, BINARY, MULTICLASS, MULTILABEL)}


@cache
def _tasks_of_losses() -> dict[object, Task]:
    """Return the task that each loss of torch is made for."""
    from torch import nn
    from torch.nn import functional as F

    return {
        nn.L1Loss: REGRESSION,
        nn.MSELoss: REGRESSION,
        nn.SmoothL1Loss: REGRESSION,
        nn.HuberLoss: REGRESSION,
        nn.BCEWithLogitsLoss: BINARY,
        nn.BCELoss: replace(BINARY, outputs="probabilities"),
        nn.CrossEntropyLoss: MULTICLASS,
        nn.MultiMarginLoss: MULTICLASS,
        nn.NLLLoss: replace(MULTICLASS, outputs="log_probabilities"),
        F.l1_loss: REGRESSION,
        F.mse_loss: REGRESSION,
        F.smooth_l1_loss: REGRESSION,
        F.huber_loss: REGRESSION,
        F.binary_cross_entropy_with_logits: BINARY,
        F.binary_cross_entropy: replace(BINARY, outputs="probabilities"),
        F.cross_entropy: MULTICLASS,
        F.multi_margin_loss: MULTICLASS,
        F.nll_loss: replace(MULTICLASS, outputs="log_probabilities"),
    }


def get_task(task: Task | str | None, loss_fn: LossFn | None = None) -> Task:
    """Return the task by name, or the one that a loss function implies, with the outputs that the loss is made for.

    A loss that is not known here leaves the outputs open (None). Raises ConfigError for an unknown name, and for a loss
    function that implies no task where none is given.
    """
    if isinstance(loss_fn, type):
        raise ConfigError(f"loss_fn: {loss_fn.__name__} is a class; pass one made of it, {loss_fn.__name__}()")
    implied = _task_of_loss(loss_fn) if loss_fn is not None else None
    if task is None:
        if not callable(loss_fn):
            raise ConfigError(f"loss_fn: must be a loss function, as torch.nn.CrossEntropyLoss(), not {loss_fn!r}")
        if implied is None:
            name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
            known = ", ".join(TASKS)
            raise ConfigError(f"loss function {name!r} does not say which task it is for; pass task= {known}")
        return implied
    if isinstance(task, str) and task not in TASKS:
        raise ConfigError(unknown("task", task, TASKS))
    chosen = TASKS[task] if isinstance(task, str) else task
    if loss_fn is None or chosen.outputs != "logits":
        return chosen
    of_loss = BINARY.name if chosen.name == MULTILABEL.name else chosen.name  # each label is a binary task
    outputs = implied.outputs if implied is not None and implied.name == of_loss else None
    return chosen if outputs == chosen.outputs else replace(chosen, outputs=outputs)


def _task_of_loss(loss_fn: LossFn) -> Task | None:
    known = _tasks_of_losses()
    return next((known[kind] for kind in kinds(loss_fn) if kind in known), None)


def kinds(loss_fn: LossFn) -> list[Any]:
    """Return what a loss function may be known by: the function, what `partial` was made of, or its class and bases."""
    inner = layers(loss_fn)[-1]
    made_of = inner.func if isinstance(inner, partial) else inner
    return [made_of, *type(made_of).__mro__]


def layers(loss_fn: LossFn) -> list[LossFn]:
    """Return a loss and what it is wrapped round, from outside in: by functools.wraps, or by torch.compile."""
    found = [loss_fn]
    for name in ("__wrapped__", "_orig_mod"):
        if (inner := getattr(loss_fn, name, None)) is not None:
            return found + layers(inner)
    return found


def outputs_of(model: nn.Module, X: Tensor) -> tuple[Outputs, Tensor]:
    """Return what the numbers are that a model gives, and those for samples X (n, *in_shape), (n, ...).

    It follows from the operation that makes them, within a layer or as a function: a sigmoid or a softmax gives
    probabilities, a log_softmax or logsigmoid their logs; all else are raw scores. The model is called once, in
    evaluation mode, and left as it was.
    """
    import torch

    training = [(part, part.training) for part in model.modules()]
    with torch.inference_mode(False), torch.enable_grad():
        inputs = X.detach().clone()
        if inputs.is_floating_point():
            inputs.requires_grad_()  # frozen weights leave no trace of what was done to them
        try:
            given: Tensor = model.eval()(inputs)
        finally:
            for part, was in training:
                part.training = was
    node = given.grad_fn
    while node is not None and node.name().startswith(_SAME_NUMBERS):
        node = node.next_functions[0][0]
    made_by = node.name().rstrip("0123456789") if node is not None else ""
    return _OUTPUTS_OF.get(made_by, "logits"), given.detach()


_OUTPUTS_OF: dict[str, Outputs] = {  # torch's name of an operation -> what it gives
    "SigmoidBackward": "probabilities",
    "SoftmaxBackward": "probabilities",
    "LogSoftmaxBackward": "log_probabilities",
    "LogSigmoidBackward": "log_probabilities",
}
_SAME_NUMBERS = (  # operations that give the same numbers in another shape, order or type
    *("SqueezeBackward", "UnsqueezeBackward", "ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward"),
    *("SelectBackward", "SliceBackward", "PermuteBackward", "TransposeBackward", "TBackward", "CloneBackward"),
    *("ToCopyBackward", "AliasBackward"),
)
