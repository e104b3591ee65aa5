"""A run's model written in another format, once its predictions of held-out samples are those of the run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dlworkflow import data
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.protocol import batch_of
from dlworkflow.errors import ConfigError, DlwError, ModelError, RunError
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import json_text
from dlworkflow.files.writing import check_output, write_output, write_text
from dlworkflow.inference.export.description import TEST, Description
from dlworkflow.inference.export.formats import FORMATS, Format
from dlworkflow.inference.export.network import Network
from dlworkflow.inference.export.package import check_package, write_package
from dlworkflow.inference.export.parity import TOLERANCE, answers_of_file, answers_of_run, check_finite, compare
from dlworkflow.inference.export.samples import Samples, random_samples, samples_of
from dlworkflow.inference.predictor import Predictor
from dlworkflow.inference.stored import stored_weights
from dlworkflow.registry.user_files import digest_of
from dlworkflow.runs import Run, RunLike, as_run

if TYPE_CHECKING:
    from torch import nn

MOST_SAMPLES = 256
"""Held-out samples that a run and its exported file both predict before it is written."""


@dataclass(frozen=True)
class ExportedModel:
    """A file that was written: its `path`, its `description` with the parity found, and what is to be known of it."""

    path: Path
    description: Description
    notes: tuple[str, ...] = ()


def export_run(
    run: RunLike,
    *,
    format: str = "onnx",
    out: str | os.PathLike[str] | None = None,
    package: str | os.PathLike[str] | None = None,
    weights: str = "best",
    overwrite: bool = False,
    data_dir: str | None = None,
    model: nn.Module | None = None,
    calibrated: bool = True,
) -> ExportedModel:
    """Write a run's model in another format: `onnx`, `torch` (torch.export) or `safetensors`.

    The file is `model.<suffix>` in the run folder, or `out`; an existing one stays without `overwrite`. Of safetensors,
    `labels.json` is written beside it. First, the file's predictions of up to 256 held-out samples are compared with
    those of the run; where the data is not there, of random inputs. With `package`, the new folder of that name is
    written instead: an ONNX file and a script that runs it without dlworkflow, see `write_package`. `model` and
    `calibrated` are as for `Predictor.from_run`.

    Raises ModelError for a model that the format cannot hold, or whose predictions differ by more than 1e-4 of a
    probability (of a regression's largest value): nothing is written then. Raises RunError for a run without weights,
    and ConfigError for an unknown format and for a file that must not be written.
    """
    run = as_run(run)
    if package is not None and (format != "onnx" or out is not None):
        raise ConfigError("--package: it is a folder with an ONNX file, model.onnx; leave out --format and --out")
    kind = _format(format)
    path = user_path(out) if out is not None else run.export_path(kind.suffix)
    labels = path.with_name("labels.json") if kind.has_labels_beside else None
    if path == labels:
        raise ConfigError(f"--out: {path.name!r} is written beside the file, with its labels; name another file")
    if package is None:
        paths = [path] if labels is None else [path, labels]
        _check_outputs(run, kind, paths, "--out" if out is not None else "", overwrite)
    file = stored_weights(run, weights)
    description = _description(run, file, weights, kind)
    predictor = Predictor.from_run(run, weights=weights, device="cpu", model=model, calibrated=calibrated)
    if file.stat().st_mtime_ns != description.weights_mtime_ns:
        raise RunError(f"{run.name} wrote new {weights} weights meanwhile; export it again")
    description = replace(description, **_facts(predictor))
    if package is not None:
        check_package(user_path(package), description)
    samples, note = _samples(run, predictor, data_dir)
    converted = kind(Network(predictor), random_samples(predictor, 2).raw)
    content = converted.content(description)
    answers = check_finite(answers_of_run(predictor, samples), run.name)
    parity = compare(answers, answers_of_file(lambda raw: converted.answers(content, raw), samples), predictor, samples)
    if not parity.difference <= TOLERANCE:
        raise ModelError(
            f"the exported model does not predict what {run.name} predicts, and is not written: "
            f"{parity.text(description.task)}; at most {TOLERANCE:g} is allowed"
        )
    description = replace(description, parity=parity)

    def write(stream: IO[bytes]) -> None:
        stream.write(converted.content(description))
        stream.flush()
        if labels is not None:  # before the other has its name: where one of them fails, neither is there
            write_text(labels, json_text(description.to_data(), indent=1) + "\n")

    if package is not None:
        path = write_package(user_path(package), converted.content(description), description)
    else:
        write_output(path, write, overwrite=overwrite)
    notes = [note] if note else []
    if run.status() == "running":
        notes.append(f"{run.name} still trains: these are its {weights} weights up to now")
    return ExportedModel(path, description, tuple(notes))


def _format(name: str) -> type[Format]:
    try:
        return FORMATS[name]
    except ConfigError as error:
        raise ConfigError(f"--format: {error}") from None


def _check_outputs(run: Run, kind: type[Format], paths: list[Path], option: str, overwrite: bool) -> None:
    """Raise ConfigError where a file must not be written; the run's own files are never overwritten."""
    own = [file for file in run.path.iterdir() if file.suffix != f".{kind.suffix}" and file.name != "labels.json"]
    inputs = [*data.input_files(run.summary().config["data"]), *own]
    for path in paths:
        check_output(path, option=option, overwrite=overwrite, inputs=inputs)


def _description(run: Run, file: Path, weights: str, kind: type[Format]) -> Description:
    """Return what is known of a run and its weights, without what the predictor knows."""
    summary, state = run.summary(), file.stat()
    given: Any = {"weights": weights, "scored": summary.scored, "opset": kind.opset}
    given |= {"digest": digest_of(file), "weights_size": state.st_size, "weights_mtime_ns": state.st_mtime_ns}
    return Description(run=run.name, model=summary.model, task=summary.task, classes=[], in_shape=[], **given)


def _facts(predictor: Predictor) -> dict[str, Any]:
    """Return the labels and the preprocessing of a description."""
    return {
        "classes": list(predictor.classes),
        "in_shape": list(predictor.in_shape),
        "transform": predictor.transform.for_evaluation().to_spec() if predictor.transform else None,
        "columns": predictor.columns.to_data() if predictor.columns else None,
        "thresholds": list(predictor.thresholds) or None,
        "temperature": predictor.temperature,
    }


def _samples(run: Run, predictor: Predictor, data_dir: str | None) -> tuple[Samples, str]:
    """Return held-out samples, or random inputs and a note with the reason; nothing is downloaded."""
    try:
        part = load_part(run, "test", limit=MOST_SAMPLES, data_dir=data_dir, offline=True)
        inputs, _ = batch_of(part.dataset, range(len(part.dataset)))  # type: ignore[arg-type] # it has a length
        if len(samples := samples_of(predictor, inputs, TEST)):
            return samples, ""
        reason = "no held-out row has known categories"
    except DlwError as error:
        reason = str(error).partition("; ")[0]  # without what helps another command
    return random_samples(predictor, MOST_SAMPLES), f"compared over random inputs: {reason}"
