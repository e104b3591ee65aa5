"""What is printed of a training: device and data, each epoch, the result, and how to resume where it stopped."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.cli.colours import BEST, echo, painted
from dlworkflow.cli.expected_time import Expected
from dlworkflow.cli.options import CLOSED_PIPE, say
from dlworkflow.errors import DivergedError, few
from dlworkflow.files.numbers import loss, number, percent
from dlworkflow.files.text import shell_command
from dlworkflow.registry.user_code import code_options

if TYPE_CHECKING:
    from dlworkflow.data.splits import Splits
    from dlworkflow.engine.loop import Epoch
    from dlworkflow.runs import Run, Summary
    from dlworkflow.training.job import Job

QUIET_SECONDS, BATCH_SECONDS = 1.0, 0.2
"""An epoch that takes longer than the first shows its batches on the bar, every so many seconds."""

_BAR = "{desc}{percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"

BESIDE_PARTS = 45
"""Columns of a terminal for the epoch, a short bar and the times, beside which the rest is shown as it fits."""

LINES_BESIDE_BAR = 50
"""A terminal shows a line per epoch above its bar up to this many epochs; beyond, the bar alone."""


class TrainingProgress:
    """Shows epochs as they end: on a terminal a bar (and lines, where they are few), elsewhere one line each."""

    def __init__(self, quiet: bool = False) -> None:
        self._epochs, self._ended, self._quiet = 0, 0, quiet
        self._bar: Any = None
        self._run: Run | None = None
        self._loss, self._due, self._first = "", 0.0, 0.0
        self._time: Expected | None = None

    def handlers(self) -> dict[str, Any]:
        """Return what training calls as it starts, after each epoch and, where there is a bar, after each batch."""
        on_batch = self.show_batch if sys.stderr.isatty() and not self._quiet else None
        return {"on_start": self.start, "on_epoch": self, "on_batch": on_batch}

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if kind is None or self._run is None:
            return
        if self._run.path.is_dir():
            say(self._how_to_resume(kind, self._run))
        elif not self._ended:
            say(f"stopped in the first epoch; {self._run.path} is removed")
        if issubclass(kind, BrokenPipeError):
            sys.exit(CLOSED_PIPE)

    def _how_to_resume(self, kind: type[BaseException], run: Run) -> str:
        """Return what is left of a run that ended early; a loss that diverged would do so again."""
        where = f"stopped after epoch {self._ended}" if self._ended else "stopped in the first epoch"
        if issubclass(kind, DivergedError):
            return f"{where}; the run is kept in {run.path}"
        code = code_options(run.summary().code)
        return f"{where}; resume with: {shell_command(['dlw', 'train', '--resume', str(run.path), *code])}"

    def start(self, job: Job, run: Run) -> None:
        """Print what trains where."""
        if self._quiet:
            return
        self._epochs, self._run, self._ended = job.config.epochs, run, run.epochs_done()
        caches = job.config.freeze != "none" or job.config.compile  # the first epoch does more than the others
        self._time = Expected(self._epochs - self._ended, first=2 if caches else 1)
        say_job(job)
        say(f"run     {run.path}")
        from dlworkflow.runs import shows_batch_means

        if shows_batch_means(run.summary()):
            say("note    the lines below show means over batches (averaging: batch), the last ones means over samples")
        if sys.stderr.isatty():
            from tqdm import tqdm

            look: dict[str, Any] = {"bar_format": _BAR, "leave": False, "dynamic_ncols": True, "file": sys.stderr}
            self._bar = tqdm(total=self._epochs, initial=self._ended, **look)
            self._due = time.monotonic() + QUIET_SECONDS

    def __call__(self, epoch: Epoch) -> None:
        if self._quiet:
            return
        line, self._ended = describe_epoch(epoch, self._epochs), epoch.number
        if self._time is not None and (about := self._time.after(epoch.seconds)):
            self._clear()
            say(f"time    {about}")
        if self._bar is None:
            typer.echo(line)
            return
        if self._epochs <= LINES_BESIDE_BAR or not sys.stdout.isatty():
            self._clear()
            typer.echo(line)
        self._loss = f"test loss {loss(epoch.test.loss)}"
        self._bar.set_description_str(f"epoch {self._ended}/{self._epochs} ", refresh=False)
        self._bar.set_postfix_str(self._loss, refresh=False)
        self._bar.update(epoch.number - self._bar.n)
        self._due = time.monotonic() + QUIET_SECONDS

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()

    def show_batch(self, split: str, number: int, batches: int, recent_loss: Callable[[], float]) -> None:
        """Move the bar within a long epoch; the loss is read as rarely as the bar moves."""
        at = time.monotonic()
        if number == 1:
            self._first = at
        if at < self._due or self._bar is None:
            return
        self._due = at + BATCH_SECONDS
        self._bar.n = self._ended + (number / batches if split == "train" else 1)
        self._bar.set_description_str(f"epoch {self._ended + 1}/{self._epochs} ", refresh=False)
        parts = [f"{split} batch {number:,} of {batches:,}", f"loss {recent_loss():.4f}"]
        if number > 1:
            parts.append(_rate((number - 1) / max(at - self._first, 1e-9)))
        self._bar.set_postfix_str(_that_fit([*parts, *filter(None, [self._loss])]))


def _rate(batches: float) -> str:
    """Return how many batches a second there are, or how many seconds one takes."""
    return f"{float(f'{batches:.3g}'):,g} batches/s" if batches >= 1 else f"{1 / batches:.1f} s a batch"


def _that_fit(parts: Sequence[str]) -> str:
    """Return the first parts of what stands behind a bar that leave room for the bar on this terminal."""
    try:
        room = os.get_terminal_size(sys.stderr.fileno()).columns - BESIDE_PARTS
    except (OSError, ValueError):  # a test's stream
        room = len(", ".join(parts))
    kept = list(parts)
    while len(kept) > 1 and len(", ".join(kept)) > room:
        del kept[-1]
    return ", ".join(kept)


def describe_epoch(epoch: Epoch, epochs: int) -> str:
    """Return an epoch as one line, its numbers in columns."""
    parts = [f"epoch {epoch.number:>{len(str(epochs))}}/{epochs}" if epoch.number else "untrained"]
    for split, scores in (("train", epoch.train), ("val", epoch.val), ("test", epoch.test)):
        if scores is not None and not math.isnan(scores.loss):
            acc = percent(scores.acc)
            parts.append(f"{split} loss {loss(scores.loss)}" + (f" acc {acc:>8}" if acc else ""))
    return "  ".join([*parts, f"{epoch.seconds:.2f} s"])


def say_job(job: Job) -> None:
    """Print model, data, device, notes and warnings."""
    from dlworkflow import models
    from dlworkflow.engine.device import describe_device
    from dlworkflow.models.weights.checkpoint import count_parameters
    from dlworkflow.training.choice import describe_recipe

    splits = job.splits
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in splits.parts().items())  # type: ignore[arg-type]
    shape = "x".join(map(str, splits.in_shape))
    classes = f", {len(splits.classes)} classes" if splits.classes else ""
    say(f"model   {job.config.model.name} ({count_parameters(job.model):,} parameters{_frozen(job)})")
    say(f"data    {splits.name}: {sizes} samples of {shape}{classes}, {splits.source}")
    threads = f"{job.threads} CPU thread{'s' if job.threads != 1 else ''}"
    layout = ", channels last" if job.config.channels_last is True else ""
    precision = f", {job.config.precision}" if job.config.precision != "fp32" else ""
    say(f"device  {describe_device(job.device)}, {threads}{layout}{precision}{_shared(job)}")
    if images := _where_images_are(splits):
        say(f"images  {images}")
    if shards := _how_shards_are_read(job):
        say(f"shards  {shards}")
    for note in splits.notes:
        say(f"note    {note}")
    if splits.task == "multilabel":
        say("note    acc counts the samples with every label right")
    if splits.target is not None:
        say(f"note    losses are of values divided by their standard deviation in training, {splits.target.std:.6g}")
    for split, copies in (job.leakage or {}).items():
        named = few((f"{copy.path} = {copy.of}" for copy in copies), 3)
        say(f"warning {len(copies):,} of the {split} images are also in the training data: {named}")
    if recipe := describe_recipe(job.config):
        say(f"recipe  {recipe}")
    if models.is_published(job.config.model.name) and job.config.weights is None and job.config.init_from is None:
        say("note    the model starts from random weights; --weights default takes pretrained ones")
    if job.initialised is not None:
        matched, others = job.initialised
        say(
            f"weights {len(matched)} of {job.config.init_from or job.config.weights}"
            + (f"; not: {few(others, quoted=False)}" if others else "")
        )


def _where_images_are(splits: Splits) -> str:
    """Return how many image files were decoded and where they are kept; nothing where there are none."""
    from dlworkflow.data.images.dataset import image_files
    from dlworkflow.data.images.decoded_cache import DECODED_MEMORY_BUDGET

    held = [files for part in splits.parts().values() if (files := image_files(part)) is not None]
    if not held:
        return ""
    size = f"{sum(files.n_bytes for files in held) / 2**20:,.1f} MiB"
    if not all(files.kept for files in held):
        return f"{size}, decoded again in every epoch: they fit neither in memory nor on disk"
    decoded, total = sum(files.n_decoded for files in held), sum(map(len, held))
    place = "in memory" if all(files.n_bytes <= DECODED_MEMORY_BUDGET for files in held) else "read from the disk"
    folders = {str(files.file.parent) for files in held if files.file}
    return f"{decoded:,} of {total:,} decoded, {size} {place}" + (f", cached in {folders.pop()}" if folders else "")


def _how_shards_are_read(job: Job) -> str:
    """Return how many shards each split has and what reads them; nothing where there are none."""
    from dlworkflow.data.shards.reading import ShardData

    parts = {split: part for split, part in job.splits.parts().items() if isinstance(part, ShardData)}
    if not parts:
        return ""
    readers, workers = job.group.size if job.group is not None else 1, job.config.data.num_workers
    counts = ", ".join(f"{len(part.shards):,} {split}" for split, part in parts.items())
    who = f", read by {readers} processes" if readers > 1 else ""
    with_ = f"{' with' if who else ', read by'} {workers} worker(s){' each' if who else ''}" if workers else ""
    return f"{counts}, decoded as they are read{who}{with_}"


def _shared(job: Job) -> str:
    """Return how many processes share each batch, where there are several."""
    return f", {job.group.size} processes ({job.group.backend})" if job.group is not None else ""


def _frozen(job: Job) -> str:
    """Return how many weights are trained while the backbone is frozen, and for how long."""
    if job.config.freeze == "none":
        return ""
    from dlworkflow.models.backbone import classifier_parameters

    trained = sum(parameter.numel() for parameter in classifier_parameters(job.model))
    until = job.config.freeze_epochs
    return f"; backbone frozen, {trained:,} trained" + (f" up to epoch {until}" if until else "")


def print_end(run: Run) -> None:
    """Print the result: the best epoch, the score of the baseline, the run folder, and warnings."""
    from dlworkflow.runs import over_samples, shows_batch_means

    summary = run.summary()
    (best, by_batch), baseline = over_samples(summary, summary.best), summary.baseline
    split = summary.chosen_on
    acc = percent(best.get(f"{split}_acc"))
    marks = ""
    if f"{split}_loss" in by_batch:
        marks = ", means over batches"
    elif shows_batch_means(summary):
        marks = ", over samples"
    averaged = " of the averaged weights" if summary.scored == "averaged weights" else ""
    scored = f"best epoch {best['epoch']} (by {split} loss{averaged})" if best["epoch"] else f"untrained, {split} split"
    line = f"{scored}: loss {best[f'{split}_loss']:.5f}" + (f", accuracy {acc}" if acc else "") + marks
    echo(painted(line, BEST, sys.stdout) if best["epoch"] else line, sys.stdout)
    if baseline is not None and baseline.metric == "accuracy":
        typer.echo(f"always answering {baseline.answer!r} scores {percent(baseline.score)} on the test split")
    elif baseline is not None:
        typer.echo(f"always answering the training mean has a test loss of {number(baseline.score)}")
    if summary.boosting is not None:
        is_loss = baseline is not None and baseline.metric == "loss"
        own = best.get("test_loss" if is_loss else "test_acc")
        others, this = map(number if is_loss else percent, (summary.boosting, own))
        what = "has a test loss of" if is_loss else "scores"
        typer.echo(f"scikit-learn's gradient boosting on the same rows {what} {others}, this network {this}")
    if summary.stopped_early:
        waited = summary.config["early_stopping"]["patience"]
        typer.echo(f"stopped early: the {split} loss has not improved in {waited} epoch{'s' if waited != 1 else ''}")
    epochs, n = int(summary.last["epoch"]) if summary.last else 0, summary.samples["train"]
    if epochs:
        typer.echo(f"trained on {epochs * n:,} samples: {epochs:,} epoch{'' if epochs == 1 else 's'} of {n:,}")
    typer.echo(f"{summary.seconds:.1f} s; run {run.path}")
    if not best["epoch"]:
        from dlworkflow.training.choice import usual_epochs

        epochs = usual_epochs(summary.config)
        words = ["dlw", "train", "--resume", str(run.path), "--epochs", str(epochs), *code_options(summary.code)]
        say(f"train it with: {shell_command(words)}")
        return
    for warning in _warnings(summary):
        say(f"warning: {warning}")


def _warnings(summary: Summary) -> tuple[str, ...]:
    """Return what the scores of a run hide: tests on what was learned, one answer for everything, no gain over none."""
    from dlworkflow.runs import leakage_warnings

    limit = summary.config["data"].get("limit")
    of = f"the scores are of {summary.samples[summary.chosen_on]:,} {summary.chosen_on} samples alone (data.limit)"
    return (*([of] if limit is not None else []), *leakage_warnings(summary), *_score_warnings(summary))


def learned_nothing(run: Run) -> bool:
    """Return whether the scores of a trained run are no better than those of one answer for everything."""
    summary = run.summary()
    return bool(summary.best and summary.best["epoch"] and _score_warnings(summary))


def _score_warnings(summary: Summary) -> tuple[str, ...]:
    from dlworkflow.metrics.functions import wilson_interval
    from dlworkflow.metrics.report import boosting_warnings, classification_warnings, regression_warnings
    from dlworkflow.runs import over_samples

    best, by_batch = over_samples(summary, summary.best)
    baseline, n = summary.baseline, summary.samples["test"]
    if baseline is None or {"test_loss", "test_acc"} & {*by_batch}:
        return ()
    if baseline.metric == "loss":
        own = best["test_loss"]
        return regression_warnings(own, baseline.score) + boosting_warnings(own, summary.boosting)
    collapsed_to = summary.collapsed_to
    accuracy = best["test_acc"]
    interval = wilson_interval(round(accuracy * n), n)
    return boosting_warnings(accuracy, summary.boosting, interval) + classification_warnings(
        accuracy,
        answered=[collapsed_to] if collapsed_to is not None else summary.classes,
        interval=interval,
        baseline=baseline.score,
        answer=str(baseline.answer),
    )
