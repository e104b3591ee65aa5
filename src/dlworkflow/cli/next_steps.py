"""What to type after a training: the commands that use its run and, where it learned nothing, the one that may help."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.options import say
from dlworkflow.errors import DlwError
from dlworkflow.files.text import shell_command
from dlworkflow.registry.user_code import code_options

if TYPE_CHECKING:
    from dlworkflow.runs import Run


FEWEST_EPOCHS = 3
"""Fewer show no trend, and there is nothing to mend yet."""


def print_next(run: Run, *, poor: bool) -> None:
    """Print the next commands on stderr; of a `poor` run first what may improve it."""
    if poor and run.epochs_done() >= FEWEST_EPOCHS:
        from dlworkflow.analysis.diagnosis.of_run import diagnose_run

        with suppress(DlwError):  # what cannot be diagnosed has no cure
            for why, command in diagnose_run(run).suggestions[:1]:
                say(f"try     {command}  ({why})")
    summary, example = run.summary(), list[str]()
    code = code_options(summary.code)
    with suppress(DlwError):  # data that is no longer there has no example
        example = _example(summary.config["data"])
    if example:
        say(f"next    {shell_command(['dlw', 'predict', *example, '--run', str(run.path), *code])}")
    say(f"next    {shell_command(['dlw', 'evaluate', str(run.path), *code])}")


def _example(dataset: dict[str, Any]) -> list[str]:
    """Return an input to predict from the data of a run: a row of numbers, a table or an image; [] for none."""
    from dlworkflow import data
    from dlworkflow.data.images.formats import IMAGE_EXTENSIONS

    looks = data.looks(dataset)
    if looks == "points":
        own = {key: value for key, value in dataset.items() if key in data.settings(dataset["name"])}
        inputs, _ = data.load(dataset["name"], **own).test[0]
        return [f"{value:.4g}" for value in inputs.tolist()]
    for path in data.input_files(dataset):
        if path.is_file() and (looks == "table" or path.suffix.casefold() in IMAGE_EXTENSIONS):
            return [_short(path)]
        test = path / "test" if (path / "test").is_dir() else path
        images = (image for image in test.rglob("*") if image.suffix.casefold() in IMAGE_EXTENSIONS)
        if (first := min(images, default=None)) is not None:
            return [_short(first)]
    return []


def _short(path: Path) -> str:
    """Return a path as it is typed here: from the working folder where it is below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
