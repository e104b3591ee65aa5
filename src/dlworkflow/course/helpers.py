"""The notes' helper functions that score, predict and print: thin coats on the library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlworkflow.data.datasets.pizza_steak_sushi import ARCHIVE as PIZZA_STEAK_SUSHI
from dlworkflow.data.download import Remote, data_folder, fetch_archive
from dlworkflow.engine.arguments import place
from dlworkflow.engine.batch_check import explained_errors
from dlworkflow.engine.loop import Device
from dlworkflow.engine.tasks import Task, get_task, outputs_of
from dlworkflow.errors import ConfigError, DataError, MissingDataError, not_installed
from dlworkflow.files.paths import user_path
from dlworkflow.models.weights import checkpoint
from dlworkflow.runs.finding import runs_folder


def make_predictions(
    model: nn.Module, data: Iterable[Tensor], device: Device | None = None, *, task: Task | str | None = None
) -> Tensor:
    """Return the class probabilities (n, classes) of samples (*in_shape), on the CPU.

    Of a model that gives one number a sample these are (n, 2), the sigmoid of it in the second column, unless `task` is
    another; see `task_of_outputs`. Raises ValueError for no samples, DataError for what are no
    tensors, and BatchError for one that the model cannot take.
    """
    samples = list(data)
    if not samples:
        raise ValueError("no samples to predict")
    if not all(isinstance(sample, Tensor) for sample in samples):
        raise DataError(
            "data: must give inputs alone, as tensors, not pairs with labels; pass [image for image, label in dataset]"
        )
    where = place(model, device)
    model.eval()
    with explained_errors(model) as keep:
        known, _ = task_of_outputs(model, keep(samples[0].unsqueeze(0).to(where))[0], task)
        with torch.inference_mode():
            outputs = [model(keep(sample.unsqueeze(0).to(where))[0]).cpu() for sample in samples]
    return known.probabilities(torch.stack([output.squeeze(0) for output in outputs]))


def task_of_outputs(model: nn.Module, X: Tensor, task: Task | str | None = None) -> tuple[Task, int]:
    """Return the task of a model and its number of classes, where nothing but its outputs is known.

    One number for the one sample X (1, *in_shape) means two classes, several as many. The operation that makes them
    shows whether they are raw scores or probabilities; see `outputs_of`.
    """
    outputs, given = outputs_of(model, X)
    width = given.numel()
    chosen = get_task(task if task is not None else "binary" if width == 1 else "multiclass")
    return replace(chosen, outputs=outputs), max(2, width)


def print_train_time(start: float, end: float, device: Device | None = None) -> float:
    """Print and return the seconds between two readings of `timeit.default_timer`."""
    total = end - start
    print(f"Train time on {device}: {total:.3f} seconds")
    return total


def walk_through_dir(dir_path: str | os.PathLike[str]) -> None:
    """Print how many folders and files each folder below `dir_path` holds. Raises MissingDataError for no folder."""
    if not Path(dir_path).is_dir():
        raise MissingDataError(f"no folder {str(dir_path)!r}")
    for folder, below, files in os.walk(dir_path):
        below.sort()
        print(f"There are {len(below)} directories and {len(files)} images in '{folder}'.")


def save_model(model: nn.Module, target_dir: str | os.PathLike[str], model_name: str, *, verbose: bool = True) -> Path:
    """Write a model's weights to `target_dir/model_name`, print that path and return it; `verbose=False` is silent.

    The folder is made where missing. Raises ValueError unless `model_name` ends in .pth or .pt.
    """
    path = checkpoint.save_model(model, target_dir, model_name)
    _say(verbose, f"Saving model to: {path}")
    return path


def download_data(
    source: str,
    destination: str | os.PathLike[str],
    remove_source: bool = True,
    *,
    sha256: str | None = None,
    size: int | None = None,
    verbose: bool = True,
) -> Path:
    """Fetch a zip file from the address `source` and unpack it as `data/destination`; return that folder.

    `data` is the folder that DLW_DATA_DIR names, where it is set. A folder with files in it is left as it is. A copy
    of the zip file in `data` is used instead of the network, and stays; `remove_source=False` leaves a fetched one
    there. It must be a whole zip file of the size that the server announces (or `size`, in bytes); a line says so
    where no `sha256` (hexadecimal) is given. Raises MissingDataError when nothing came, or with DLW_OFFLINE, and
    DataError when something else came; there is no folder then.
    """
    folder = data_folder() / user_path(destination)
    if folder.is_dir() and any(folder.iterdir()):
        _say(verbose, f"{folder} directory exists, skipping download.")
        return folder
    known = source == PIZZA_STEAK_SUSHI.url and sha256 is None and size is None
    archive = PIZZA_STEAK_SUSHI if known else Remote(source, size, digest=sha256)
    _say(verbose, f"Did not find {folder} directory, creating one...")
    if (beside := folder.parent / archive.name).is_file():
        _say(verbose, f"Using {beside}")
    else:
        _say(verbose, f"Downloading {archive.name} from {source}...")
    if archive.digest is None:
        _say(verbose, "No sha256 was given: only the size is checked, and that it is a whole zip file.")

    def say_unpacking() -> None:
        _say(verbose, f"Unzipping {archive.name} data...")

    return fetch_archive(archive, folder, keep=not remove_source, on_unpack=say_unpacking)


def create_writer(experiment_name: str, model_name: str, extra: str | None = None, *, verbose: bool = True) -> Any:
    """Return a SummaryWriter of TensorBoard on `runs/YYYY-MM-DD/experiment_name/model_name[/extra]`, and print that.

    `runs` is the folder of runs, DLW_RUNS_DIR where it is set; these folders are no runs of `dlw`. Pass the writer to
    `train`, close it with `writer.close()`, and look at it with `tensorboard --logdir runs`. Raises ConfigError
    where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(not_installed("create_writer", "TensorBoard", "tensorboard")) from None
    parts = [date.today().isoformat(), experiment_name, model_name, *([extra] if extra else [])]
    folder = runs_folder().joinpath(*parts)
    _say(verbose, f"Created SummaryWriter, saving to: {folder}...")
    return SummaryWriter(log_dir=str(folder))


def _say(verbose: bool, line: str) -> None:
    if verbose:
        print(f"[INFO] {line}")
