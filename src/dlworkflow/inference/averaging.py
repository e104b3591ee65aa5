"""Several answers to one input averaged, of several models or of mirrored images; knows no run and no file.

Their mean is given as raw scores too, so that whatever reads those of one model reads these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlworkflow.engine.target_scale import TargetScale
from dlworkflow.engine.tasks import Task
from dlworkflow.inference.base import TTA, check_tta


class Ensemble(nn.Module):
    """The mean of what several models predict: of their probabilities, or of the values of a regression.

    Takes what each of them takes, returns raw scores (n, ...) as `mean_scores` does.
    """

    def __init__(self, members: Iterable[nn.Module], task: Task) -> None:
        super().__init__()
        self.members, self.task = nn.ModuleList(members), task

    def forward(self, x: Tensor) -> Tensor:
        return mean_scores(self.scores(x), self.task)

    def scores(self, x: Tensor) -> Tensor:
        """Return the raw scores of each model (models, n, ...)."""
        return torch.stack([member(x) for member in self.members])


class Flipped(nn.Module):
    """The mean of what a model predicts for an image and for its mirror image.

    Takes images (n, c, h, w), returns raw scores (n, ...) as `mean_scores` does.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, x: Tensor) -> Tensor:
        return mean_scores(torch.stack([self.model(x), self.model(x.flip(-1))]), self.task)


class Tempered(nn.Module):
    """A model whose raw scores are divided by a temperature, that its probabilities are calibrated."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)
        return scores / self.temperature


class InUnits(nn.Module):
    """A regression in the unit of its targets, whatever the scale that it was trained on."""

    def __init__(self, model: nn.Module, target: TargetScale) -> None:
        super().__init__()
        self.model, self.target = model, target

    def forward(self, x: Tensor) -> Tensor:
        return self.target.undone(self.model(x))


def tempered(model: nn.Module, temperature: float | None) -> nn.Module:
    """Return a model with a temperature, or as it is for None."""
    return model if temperature is None else Tempered(model, temperature)


def with_tta(model: nn.Module, tta: TTA | None, task: Task, *, kind: str, owner: str) -> nn.Module:
    """Return a model with test-time augmentation, an ensemble with that of each member, or as it is for None.

    Raises ConfigError for an unknown one, and where the inputs are no images; `owner` is how to call the model.
    """
    if tta is None:
        return model
    check_tta(tta, kind=kind, owner=owner)
    if isinstance(model, Ensemble):
        return Ensemble((Flipped(member, task) for member in model.members), task)
    return Flipped(model, task)


def mean_scores(scores: Tensor, task: Task) -> Tensor:
    """Return raw scores (n, ...) whose probabilities are the mean of those of `scores` (models, n, ...).

    Those of a regression are the mean values.
    """
    if not task.has_accuracy:
        return scores.mean(dim=0)
    if task.name == "multiclass":
        return scores.log_softmax(dim=-1).logsumexp(dim=0) - torch.tensor(float(len(scores))).log()
    yes, no = (F.logsigmoid(sign * scores).logsumexp(dim=0) for sign in (1, -1))
    return yes - no


def disagreement(scores: Tensor, task: Task, thresholds: Sequence[float] = ()) -> Tensor:
    """Return (n,) how far models disagree, given their raw scores (models, n, ...).

    That is the share of models whose label is not that of the mean, or the standard deviation of a regression's values.
    `thresholds` are the probabilities from which the labels of a multilabel task are predicted.
    """
    n = scores.shape[1]
    if not task.has_accuracy:
        return scores.reshape(len(scores), n, -1).std(dim=0).mean(dim=1)

    def labels(values: Tensor) -> Tensor:
        found = task.probabilities(values) >= torch.tensor(thresholds) if thresholds else task.labels(values)
        return found.reshape(n, -1)

    answer = labels(mean_scores(scores, task))
    return torch.stack([(labels(of_one) != answer).any(dim=1) for of_one in scores]).double().mean(dim=0)
