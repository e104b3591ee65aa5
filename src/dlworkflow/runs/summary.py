"""What `summary.json` holds, as one class; a file is checked as a whole when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from dlworkflow.runs.stored import (
    Count,
    EpochNumber,
    Fraction,
    Layout,
    Size,
    Stored,
    damaged,
    is_number,
    is_wrong,
    read_object,
)

FORMAT = 1
OVER_SAMPLES = "_over_samples"
"""Suffix of the columns with means over samples, in a run whose own columns are means over batches."""


def _are_tracked(trackers: dict[str, dict[str, Any]] | None) -> bool:
    return all(
        isinstance(kept.get("id"), str | None) and isinstance(kept.get("epoch"), int)
        for kept in (trackers or {}).values()
    )


@dataclass(frozen=True)
class Baseline:
    """What `answer`, given for every sample, scores on the test split: an accuracy in [0, 1], or a loss."""

    score: float | None
    metric: Literal["accuracy", "loss"]
    answer: str | float
    """A class, several joined by `|`, or the mean of the training targets, scaled where they are."""


@dataclass(frozen=True, kw_only=True)
class Summary(Stored):
    """What a run says about itself; an epoch is a row of the history, as a dictionary."""

    format: int = FORMAT
    status: str
    """running, finished, interrupted, failed or pruned."""
    started: str
    """ISO 8601, UTC."""
    finished: str | None = None
    seconds: float | None = None
    """Training time, all sessions together."""
    reason: str | None = None
    """Why the run failed."""
    config: dict[str, Any]
    """Every setting, resolved."""
    data: str
    kind: Literal["image", "tabular"]
    task: Literal["regression", "binary", "multiclass", "multilabel"]
    classes: list[str]
    in_shape: Annotated[list[Count], len]
    n_outputs: Count
    transform: Any
    target: dict[str, float] | None = None
    """`mean` and `std` of the training targets, by which those of a regression were scaled."""
    thresholds: dict[str, float] | None = None
    """The probability from which each class is predicted, as `dlw evaluate --thresholds best` found it."""
    columns: dict[str, Any] | None = None
    """The columns of a table, and how they become inputs: `data.columns.Columns` as plain data."""
    samples: dict[str, int]
    skipped: dict[str, int] | None = None
    """Unreadable images left out of each split."""
    leakage: dict[str, Any] | None = None
    """How many images of each split are in the training data too; None: not known."""
    source: str
    parameters: Size
    device: str
    threads: Count
    scored: str | None = None
    """`weights` or `averaged weights`."""
    processes: int | None = None
    backend: str | None = None
    launch: str | None = None
    """The id of the command that started the processes."""
    code: list[dict[str, Any]] | None = None
    """The user's own code, a thing each: `kind`, `name`, `path`, `sha256`, `attribute`; not imported on this word."""
    sweep: dict[str, Any] | None = None
    trackers: Annotated[dict[str, dict[str, Any]] | None, _are_tracked] = None
    """Of each tracker by name its `id` for the run, and `epoch`, the last that it has."""
    vectorized: int | None = None
    """How many runs were trained together with this one."""
    chosen_on: Literal["test", "val"]
    """The split whose loss chooses the best epoch."""
    baseline: Baseline | None
    boosting: float | None = None
    """Of a table, the test score of scikit-learn's gradient boosting, of the metric of the baseline."""
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    stopped_early: bool | None = None
    collapsed_to: str | None = None
    """The class that the best weights answer for every test sample, where they do."""
    over_samples: dict[str, float | None] | None = None
    """`test_loss` and `test_acc` of the best epoch as means over samples, where the history has means over batches."""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the summary with the values of `data`, which are checked already or new."""
        found = data.get("baseline")
        baseline = Baseline(found["score"], found["metric"], found["answer"]) if found else None
        return super().from_data({**data, "baseline": baseline})

    def to_data(self) -> dict[str, Any]:
        """Return all values by key, as JSON holds them."""
        return super().to_data() | {"baseline": vars(self.baseline) if self.baseline else {}}

    @property
    def model(self) -> str:
        """The name of the model."""
        return str(self.config["model"]["name"])

    @property
    def named(self) -> dict[str, str]:
        """The names of its model and its data set, {kind: name}."""
        return {"model": self.model, "data set": str(self.config["data"]["name"])}

    def row(self, which: str) -> dict[str, Any]:
        """Return the epoch `best` or `last`, {} before the first."""
        return {"best": self.best, "last": self.last}[which] or {}

    def has_learned(self, which: str) -> bool:
        """Return whether the weights of the `best` or `last` epoch are trained, here or before the run."""
        started_from = self.config.get("init_from") or self.config.get("weights")
        return bool(self.row(which).get("epoch") or started_from)

    @property
    def averages_batches(self) -> bool:
        """Whether the columns of the history are means over batches."""
        return self.config.get("averaging") == "batch"


def read_summary(text: str, *, source: str, name: str) -> Summary:
    """Return the summary in a file's text; every value that is used later is there and of its type.

    Raises RunError that names `source`, the file, and the key that is wrong, or that run `name` has a newer format.
    """
    data = read_object(text, source=source, name=name, newest=FORMAT)
    if fault := _LAYOUT.fault(data) or _contradiction(data):
        raise damaged(source, fault)
    return Summary.from_data(_with_range(data))


def leakage_warnings(summary: Summary) -> list[str]:
    """Return a sentence for each split that has images of the training data."""
    return [
        f"{count:,} of the {summary.samples.get(split, 0):,} {split} images are also in the training data: "
        f"the {split} scores are better than they would be on new images"
        for split, count in (summary.leakage or {}).items()
        if is_number(count) and count >= 0
    ]


_EPOCH: dict[str, Any] = {
    **dict.fromkeys(("train_loss", "test_loss", "val_loss"), float | None),
    **dict.fromkeys(("train_acc", "test_acc", "val_acc"), Fraction | None),
}
_EPOCH |= {f"{key}{OVER_SAMPLES}": hint for key, hint in _EPOCH.items()} | {"epoch": EpochNumber}
_LAYOUT = Layout(
    Summary,
    needed={
        "config.model": dict[str, Any],
        "config.model.name": str,
        "config.data": dict[str, Any],
        "config.data.name": str,
        "config.data.batch_size": Literal["full"] | Count,
        "config.data.data_dir": str | None,
        "config.optimizer": dict[str, Any],
        "config.optimizer.name": str,
        "config.loss": str | dict[str, Any],
        "config.epochs": Size,
        "config.seed": int,
        "samples.train": Size,
        "samples.test": Size,
    },
    possible={
        "config.metrics": list[str] | None,
        "config.track": list[str | dict[str, dict[str, Any]]] | None,
        "config.data.limit": float | None,
        "config.data.folds": Count | None,
        "config.data.fold": Count | None,
        "config.data.fold_seed": Size,
        "columns.target": str,
        "columns.inputs": list[dict[str, Any]],
        "samples.val": Size,
        "target.mean": float,
        "target.std": float,
        "baseline.score": float | None,
        "baseline.metric": Literal["accuracy", "loss"],
        "baseline.answer": str | float,
        **{f"{which}.{key}": hint for which in ("best", "last") for key, hint in _EPOCH.items()},
        "split_indices": dict[str, list[Size]] | None,
        "over_samples.test_loss": float | None,
        "over_samples.test_acc": Fraction | None,
    },
)


def _contradiction(data: Mapping[str, Any]) -> str:
    """Return which values of a summary do not go together, or nothing."""
    baseline, best = data["baseline"] or {}, data.get("best")
    classes, outputs = {"binary": (2, 1), "regression": (0, 1)}.get(data["task"], (data["n_outputs"],) * 2)
    if (len(data["classes"]), data["n_outputs"]) != (classes, outputs):
        return f"{len(data['classes'])} classes and {data['n_outputs']} outputs are no {data['task']} task"
    if data["kind"] == "image" and len(data["in_shape"]) != 3:
        return is_wrong("in_shape of images", data["in_shape"])
    if baseline and (lacking := [key for key in ("score", "metric", "answer") if key not in baseline]):
        return f"it lacks {', '.join(f'baseline.{key}' for key in lacking)}"
    if (target := data.get("target")) and (target.keys() != {"mean", "std"} or not target["std"] > 0):
        return is_wrong("target", target)
    if (thresholds := data.get("thresholds")) and list(thresholds) != data["classes"]:
        return is_wrong("thresholds", thresholds)
    one = data["task"] != "multilabel"
    if one and baseline.get("metric") == "accuracy" and baseline["answer"] not in data["classes"]:
        return is_wrong("baseline.answer", baseline["answer"])
    if baseline.get("metric") == "loss" and not is_number(baseline["answer"]):
        return is_wrong("baseline.answer", baseline["answer"])
    if best and not data["samples"]["test"]:
        return "samples.test is 0"
    if best and (lacking := [key for key in ("epoch", f"{data['chosen_on']}_loss") if best.get(key) is None]):
        return f"it lacks {', '.join(f'best.{key}' for key in lacking)}"
    return ""


def _with_range(data: dict[str, Any]) -> dict[str, Any]:
    """Add the range of values to a run of version 0.1, which scaled each image of more than 8 bits by its own."""
    dataset = data["config"]["data"]
    if dataset["name"] in ("image_folder", "image_csv", "image_shards") and "range" not in dataset:
        dataset["range"] = "each"
        data["transform"] = [{"range": {"each": True}}, *(data["transform"] or [])]
    return data
