"""Trains many tiny models of one architecture at once, of different seeds and learning rates, in stacked tensors.

The results are those of training one by one up to the order in which floats are summed: there is one batch, the whole
data set, and no random number is drawn within the loop. Writes no run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from timeit import default_timer
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from dlworkflow.config import TrainConfig
from dlworkflow.data.loaders import make_loader
from dlworkflow.engine.loop import Epoch, Scores
from dlworkflow.engine.losses import build_loss
from dlworkflow.errors import DivergedError, DlwError, first_line
from dlworkflow.training.job import Job
from dlworkflow.training.recorder import history_row
from dlworkflow.training.sweep.stacked import Stacked, Weights
from dlworkflow.training.sweep.stacked_steps import STEPS, where

MOST_PARAMETERS = 10_000
"""Larger models keep a core busy alone and gain nothing."""

AT_ONCE = 25
"""The most models in a stack: more share the overhead of an epoch, fewer stay in the processor's cache."""


@dataclass(frozen=True)
class Trained:
    """The result of training one model of a stack: a history row per epoch, and the state as in `resume.pth`.

    Of the optimizer it has the entry `state`, {index of a parameter: {name: tensor}}.
    """

    rows: list[dict[str, Any]]
    state: dict[str, Any]


Left = tuple[Trained, DivergedError | None]


def group_of(config: TrainConfig) -> str:
    """Return what must be equal in models that train together: everything but the seed and the learning rate."""
    tree = config.to_tree()
    tree["optimizer"].pop("lr")
    tree.pop("seed")
    return json.dumps(tree, sort_keys=True)


_KNOWN = {
    "model",
    "data",
    "optimizer",
    "loss",
    "epochs",
    "seed",
    "device",
    "threads",
    "channels_last",
    "averaging",
    "init_from",
    "track",
}
_LEFT_ALONE = [name for name in TrainConfig.model_fields if name not in {"recipe", *_KNOWN}]
"""Settings that must have their defaults, as their effect is not implemented here; future ones are among them."""


def obstacle_in_settings(config: TrainConfig) -> str | None:
    """Return which setting keeps runs from training together, before any data is loaded; None without one."""
    if config.data.batch_size != "full" or config.data.shuffle:
        return "its batches are not the whole data in order (data.batch_size=full, data.shuffle=false)"
    if config.optimizer.name not in STEPS:
        return f"optimizer {config.optimizer.name!r} is not one of {', '.join(STEPS)}"
    if changed := [name for name in _LEFT_ALONE if getattr(config, name) != TrainConfig.default_of(name)]:
        return f"{changed[0]} changes what an epoch does"
    if config.channels_last is True:
        return "channels_last changes what an epoch does"
    if not config.epochs:
        return "0 epochs train nothing"
    if config.data.sampler is not None or not config.optimizer.decay_bias_and_norm:
        return "its samples or its weight decay are not those of a plain run"
    return None


def obstacle(job: Job) -> str | None:
    """Return why a job cannot train together with others of its group; None where it can."""
    config, model = job.config, job.model
    parameters = list(model.parameters())
    if (found := obstacle_in_settings(config)) is not None:
        return found
    if any(not isinstance(_loader(part), list) for part in job.splits.parts().values()):
        return f"data {job.splits.name!r} is not one batch that stays as it is"
    if sum(parameter.numel() for parameter in parameters) > MOST_PARAMETERS:
        return f"model {config.model.name!r} has more than {MOST_PARAMETERS:,} parameters"
    if any(model.buffers()) or any(isinstance(part, nn.modules.dropout._DropoutNd) for part in model.modules()):
        return f"model {config.model.name!r} has dropout or running statistics"
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        return f"model {config.model.name!r} has parameters that are not trained"
    try:
        _Stack([job, job]).measure("test")
    except (RuntimeError, ValueError, DlwError) as error:  # what vmap says of randomness or branches within a model
        return f"model {config.model.name!r} does not go through torch.vmap: {first_line(error)}"
    return None


def train_stacked(
    jobs: Sequence[Job],
    *,
    stop: Callable[[], bool] = lambda: False,
    keep: Callable[[Callable[[], Iterator[Left]]], object] = lambda _: None,
) -> list[Left]:
    """Train jobs of one group side by side; return the result of each, and how it diverged where it did.

    Ends early, after a whole epoch, when `stop()` is true. `keep` is called before each further epoch with a function
    that returns the results so far.
    """
    stack = _Stack(jobs)
    for number in range(1, jobs[0].config.epochs + 1):
        stack.train_epoch(number)
        if stop() or not stack.alive.any():
            break
        keep(stack.results)
    return list(stack.results())


def _loader(part: Any) -> Any:
    return make_loader(part, "full")


def _as_often(k: int, part: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the inputs of a split (n, *in_shape) and its labels k times over (k * n, ...)."""
    X, y = _loader(part)[0]
    return X.to(device), y.to(device).expand(k, *y.shape).flatten(0, 1)


class _Stack:
    """k models, their optimizer's moments and their best weights, as tensors (k, ...)."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        first = jobs[0]
        self._jobs, self._task = jobs, first.task
        self._loss_fn = build_loss(first.task, first.config.loss, reduction="none")
        self._batches = {
            split: _as_often(len(jobs), part, first.device) for split, part in first.splits.parts().items()
        }
        self._chosen_on = "val" if "val" in self._batches else "test"
        stacked, _ = stack_module_state([job.model.to(first.device) for job in jobs])
        self._params: Weights = {name: tensor.detach().requires_grad_() for name, tensor in stacked.items()}
        self._network = Stacked(first.model, self._params, self._batches["test"][0])
        self._best = _copies(self._params)
        self._moments: dict[str, Weights] = {}
        self._gradients: Weights = {}
        self._optimizer = first.config.optimizer.model_dump()
        self._lr = torch.tensor([job.config.optimizer.lr for job in jobs]).to(first.device)
        self._best_loss = torch.full((len(jobs),), torch.inf, device=first.device)
        self._scores: list[dict[str, tuple[list[float], list[float]]]] = []
        self._seconds: list[float] = []
        self._errors: dict[int, DivergedError] = {}
        self._epochs = [0] * len(jobs)
        self.alive = torch.ones(len(jobs), dtype=torch.bool, device=first.device)

    def measure(self, split: str) -> tuple[Tensor, Tensor]:
        """Return losses (k,) and numbers of correct predictions (k,) on a split; with gradients if enabled."""
        (X, labels), k, task = self._batches[split], len(self._jobs), self._task
        logits = task.align(self._network(self._params, X, training=split == "train").flatten(0, 1), labels)
        losses = self._loss_fn(logits, labels).reshape(k, -1).mean(dim=1)
        if not task.has_accuracy:
            return losses, torch.full_like(self._best_loss, torch.nan)
        return losses, task.is_correct(logits.detach(), labels).reshape(k, -1).sum(dim=1)

    def train_epoch(self, number: int) -> None:
        """Update every model once, evaluate it, and keep its best weights; one that diverges keeps its last weights."""
        start = default_timer()
        before, moments = self._params, self._moments
        losses, rights = self.measure("train")
        gradients = torch.autograd.grad(losses.sum(), list(before.values()))
        measured = {"train": (losses.detach(), rights)}
        last_gradients, self._gradients = self._gradients, dict(zip(before, gradients, strict=True))
        with torch.no_grad():
            self._params, self._moments = self._step(number)
            for split in self._batches.keys() - {"train"}:
                measured[split] = self.measure(split)
            finite = torch.stack([found for found, _ in measured.values()]).isfinite().all(dim=0)
            if not (finite & self.alive).all():
                self._note_diverged(finite, measured, number, last_gradients)
                self._params = where(self.alive, self._params, before)
                self._moments = {
                    name: where(self.alive, now, moments.get(name, _zeros(now))) for name, now in self._moments.items()
                }
            self._keep_best(measured[self._chosen_on][0])
        for tensor in self._params.values():
            tensor.requires_grad_()
        sizes = {split: len(X) for split, (X, _) in self._batches.items()}
        self._scores.append(
            {
                split: (found.tolist(), [n / sizes[split] for n in rights.tolist()])
                for split, (found, rights) in measured.items()
            }
        )
        self._seconds.append((default_timer() - start) / len(self._jobs))
        self._epochs = [count + alive for count, alive in zip(self._epochs, self.alive.tolist(), strict=True)]

    def results(self) -> Iterator[Left]:
        """Yield the result of each model, in the order of the jobs."""
        for i, job in enumerate(self._jobs):
            rows = [self._row(i, job, number) for number in range(1, self._epochs[i] + 1)]
            best = min(rows, key=lambda row: row[f"{self._chosen_on}_loss"], default=None)
            state = {
                "best_row": best,
                "last_row": rows[-1] if rows else None,
                "best": _one(self._best, i),
                "last": _one(self._params, i),
                "optimizer": {"state": self._moments_of(i) if rows else {}},
                "seconds": sum(self._seconds[: len(rows)]),
            }
            yield Trained(rows, state), self._errors.get(i)

    def _step(self, number: int) -> tuple[Weights, dict[str, Weights]]:
        return STEPS[self._optimizer["name"]](
            self._params, self._gradients, self._moments, self._lr, number, self._optimizer
        )

    def _note_diverged(
        self, finite: Tensor, measured: Mapping[str, tuple[Tensor, Tensor]], number: int, gradients: Weights
    ) -> None:
        """Keep the error that training a model alone would have raised."""
        for i in (self.alive & ~finite).nonzero().flatten().tolist():
            lr = self._jobs[i].config.optimizer.lr
            split = next(split for split, (found, _) in measured.items() if not found[i].isfinite())
            loss = float(measured[split][0][i])
            if split == "train":
                largest = max((float(part[i].abs().max()) for part in gradients.values()), default=None)
                self._errors[i] = DivergedError(loss, 1, largest_gradient=largest).within(number, lr)
            else:
                self._errors[i] = DivergedError(loss, split=split, epoch=number, lr=lr)
        self.alive &= finite

    def _keep_best(self, losses: Tensor) -> None:
        better = (losses < self._best_loss) & self.alive
        self._best_loss = torch.where(better, losses, self._best_loss)
        self._best = where(better, self._params, self._best)

    def _row(self, i: int, job: Job, number: int) -> dict[str, Any]:
        scores = {split: Scores(losses[i], accs[i]) for split, (losses, accs) in self._scores[number - 1].items()}
        both = scores if job.config.averaging == "batch" else None  # over the one batch there is, and over samples
        lr, seconds = job.config.optimizer.lr, self._seconds[number - 1]
        return history_row(Epoch(number, lr, seconds, **scores, over_samples=both, metrics={}))

    def _moments_of(self, i: int) -> dict[int, dict[str, Tensor]]:
        state = {
            index: {kind: moment[name][i].clone() for kind, moment in self._moments.items()}
            for index, name in enumerate(self._params)
            if self._moments
        }
        if self._optimizer["name"] == "adam":
            for moment in state.values():
                moment["step"] = torch.tensor(float(self._epochs[i]))
        return state


def _zeros(weights: Weights) -> Weights:
    return {name: torch.zeros_like(tensor) for name, tensor in weights.items()}


def _copies(weights: Weights) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def _one(weights: Weights, i: int) -> Weights:
    return {name: tensor[i].detach().clone() for name, tensor in weights.items()}
