"""What a run records about itself besides its training: its summary and its environment, as plain data."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlworkflow._version import __version__
from dlworkflow.data.check.leakage import Copy
from dlworkflow.data.loaders import make_loader
from dlworkflow.data.protocol import counts_of, labels_of
from dlworkflow.data.tables.boosting import boosting_score, is_quick
from dlworkflow.engine.data_parallel import Group
from dlworkflow.engine.device import describe_device, describe_machine
from dlworkflow.engine.loop import evaluate
from dlworkflow.metrics.functions import majority_baseline
from dlworkflow.metrics.multilabel import NO_LABELS, commonest_set, set_names
from dlworkflow.models.weights.checkpoint import apply_weights, count_parameters
from dlworkflow.registry.user_code import records_of
from dlworkflow.runs import OVER_SAMPLES, Run, runs_folder
from dlworkflow.training.job import Job
from dlworkflow.training.own_code import own_things


def create_run(job: Job, runs_dir: str | os.PathLike[str] | None, name: str | None, **more: Any) -> Run:
    """Create the run folder of a job; `more` is added to its summary."""
    return Run.create(
        runs_folder(runs_dir),
        name or job.stem,
        summary=first_summary(job) | more,
        config=job.config.to_yaml(),
        environment=environment(job),
        split_indices=job.splits.indices if job.splits.kind == "image" else None,  # points are made again, and split
    )


def first_summary(job: Job) -> dict[str, Any]:
    """Return the summary of a run before its first epoch."""
    splits = job.splits
    return {
        "config": job.config.to_tree(),
        "data": splits.name,
        "kind": splits.kind,
        "task": splits.task,
        "classes": list(splits.classes),
        "in_shape": list(splits.in_shape),
        "n_outputs": splits.n_outputs,
        "transform": splits.transform.to_spec() if splits.transform else None,
        "target": vars(splits.target) if splits.target else None,
        "columns": splits.columns.to_data() if splits.columns else None,
        "samples": {split: len(part) for split, part in splits.parts().items()},  # type: ignore[arg-type]
        "skipped": splits.skipped,
        "leakage": leakage(job.leakage),
        "source": splits.source,
        "parameters": count_parameters(job.model),
        "device": describe_device(job.device),
        "threads": job.threads,
        "scored": "averaged weights" if job.config.ema is not None else "weights",
        **processes(job.group),
        "chosen_on": "val" if splits.val is not None else "test",
        "baseline": _baseline(job),
        "best": None,
        "last": None,
        "code": records_of(own_things(job.config)) or None,
    }


def leakage(copies: Mapping[str, Sequence[Copy]] | None) -> dict[str, int] | None:
    """Return {split: number of its images that are also in training} for splits with any; None where not known."""
    return None if copies is None else {split: len(found) for split, found in copies.items()}


def _baseline(job: Job) -> dict[str, Any]:
    """Return the test score of a constant prediction: the most frequent class or set of labels, or the mean label."""
    splits = job.splits
    if job.task.name == "multilabel":
        sets = [labels_of(part) for part in (splits.train, splits.test)]
        if sets[0] is None or sets[1] is None:
            return {}
        answer = commonest_set(sets[0])
        score = float((sets[1] == answer).all(dim=1).double().mean())
        return {"score": score, "metric": "accuracy", "answer": _name_of(job, answer[None])}
    if job.task.has_accuracy:
        counts = [counts_of(part, len(splits.classes)) for part in (splits.train, splits.test)]
        if counts[0] is None or counts[1] is None:
            return {}
        label, score = majority_baseline(counts[0].tolist(), counts[1].tolist())
        return {"score": score, "metric": "accuracy", "answer": splits.classes[label]}
    train_labels, test_labels = labels_of(splits.train), labels_of(splits.test)
    if train_labels is None or test_labels is None:
        return {}
    mean = train_labels.mean(dim=0, keepdim=True)
    score = float(job.loss_fn(mean.expand_as(test_labels), test_labels))
    return {"score": score, "metric": "loss", "answer": float(mean.mean())}


def environment(job: Job) -> dict[str, Any]:
    """Return versions, machine, commit and fingerprints: what the results of a run may depend on."""
    packages = ("torch", "torchvision", "timm", "numpy", "pillow", "scikit-learn", "webdataset")
    return {
        "dlworkflow": __version__,
        "python": sys.version.split()[0],
        "packages": {name: found for name in packages if (found := _version(name))},
        "command": sys.argv,
        "machine": describe_machine(),
        "device": describe_device(job.device),
        "threads": job.threads,
        **processes(job.group),
        "git_commit": _git_commit(),
        "data_fingerprint": job.splits.fingerprints(known=True),
    }


def boosting(job: Job) -> dict[str, Any]:
    """Return what scikit-learn's gradient boosting scores on the test split of a table, where that is quick."""
    splits = job.splits
    if splits.columns is None or not is_quick(splits):
        return {}
    return {"boosting": boosting_score(splits, splits.test, loss=job.config.loss)}


def best_on_test(
    job: Job, best: Mapping[str, Any] | None, weights: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Any]:
    """Return what the history lacks of the `best` epoch on the test split, for the summary.

    `collapsed_to` is the class (or the set of labels) that its weights predict for every sample, where they do. Such a
    model scores exactly that answer's share of the split, and only then are its predictions made. `over_samples` has
    loss and accuracy over samples where the history has means over batches.
    """
    shares = _shares_of_answers(job)
    nothing = {"collapsed_to": None, "over_samples": None}  # what an earlier session found is of other weights
    if best is None or shares is None or not job.task.has_accuracy:
        return nothing
    by_batch = job.config.averaging == "batch"
    loss, acc = (best.get(f"{key}{OVER_SAMPLES if by_batch else ''}") for key in ("test_loss", "test_acc"))
    known = {"over_samples": {"test_loss": loss, "test_acc": acc}} if by_batch and acc is not None else {}
    if acc is not None and not torch.isclose(shares, torch.tensor(acc).float(), atol=1e-6).any():
        return nothing | known
    apply_weights(job.model, weights["best"])
    batches = make_loader(job.splits.test, job.config.data.batch_size, generator=torch.Generator())
    result = evaluate(job.model, batches, job.loss_fn, task=job.task)
    apply_weights(job.model, weights["last"])
    answered = job.task.labels(result.logits).unique(dim=0)
    found = {"over_samples": {"test_loss": result.loss, "test_acc": result.acc}} if by_batch else {}
    return nothing | found | known | ({"collapsed_to": _name_of(job, answered)} if len(answered) == 1 else {})


def _shares_of_answers(job: Job) -> Tensor | None:
    """Return what each answer scores on the test split if it is given to every sample; None where that is not known."""
    test = job.splits.test
    if job.task.name != "multilabel":
        counts = counts_of(test, len(job.splits.classes))
        return None if counts is None else counts / counts.sum()
    if (label_sets := labels_of(test)) is None:
        return None
    counts = label_sets.unique(dim=0, return_counts=True)[1]
    return torch.cat([counts / len(label_sets), torch.zeros(1)])  # 0 is the score of sets that never occur


def _name_of(job: Job, answer: Tensor) -> str:
    """Return the class, or the set of labels, that an answer to one sample is."""
    classes = job.splits.classes
    if job.task.name == "multilabel":
        return set_names(answer, classes)[0] or NO_LABELS
    return classes[int(answer)]


def processes(group: Group | None) -> dict[str, Any]:
    """Return the number of processes that train together, their backend, and the command that started them."""
    if group is None:
        return {"processes": 1, "backend": None, "launch": None}
    return {"processes": group.size, "backend": group.backend, "launch": group.launch}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the repository that training was started in, or None outside of one."""
    if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return None
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
