"""Predictions of an exported ONNX file, that of a run or one alone, by onnxruntime on the CPU. Imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dlworkflow.data.columns import Columns
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.engine.tasks import Task, get_task
from dlworkflow.errors import ConfigError, ModelError, RunError, few, first_line, not_installed
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import shell_command
from dlworkflow.inference.base import TTA, Answers, BasePredictor
from dlworkflow.inference.caution import Caution
from dlworkflow.inference.export.description import CATEGORIES, IMAGES, NUMBERS, ROWS, Description, read_description
from dlworkflow.inference.stored import pipeline_of, stored_temperature, stored_thresholds, stored_weights
from dlworkflow.runs import Run, RunLike, as_run


@dataclass(frozen=True)
class OnnxPredictor(BasePredictor):
    """A model as `dlw export` wrote it, with what its file says of labels and preprocessing."""

    backend = "onnx"
    session: Any
    description: Description
    path: Path
    task: Task
    classes: tuple[str, ...]
    in_shape: tuple[int, ...]
    transform: Pipeline | None
    thresholds: tuple[float, ...] = ()
    columns: Columns | None = None
    run: Run | None = field(default=None, compare=False)
    weights: str = "best"
    temperature: float | None = None
    tta: TTA | None = None
    caution: Caution | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        classes = f", classes {few(self.classes)}" if self.classes else ""
        about = self.description
        return f"OnnxPredictor({about.model} of {about.run}: inputs {self.in_shape}{classes})"

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> OnnxPredictor:
        """Open a file that `dlw export` wrote; it needs no run folder.

        Raises ModelError for a file that is missing, or that is no such model, RunError for one of a newer version,
        and ConfigError without onnxruntime.
        """
        path = user_path(path)
        session, properties = _opened(path)
        found = read_description(properties, source=repr(str(path)))
        given = sorted(put.name for put in (*session.get_inputs(), *session.get_outputs()))
        if given != (named := sorted([*found.inputs, found.output])):
            raise ModelError(f"{str(path)!r} is damaged: it has {few(given)}, and describes {few(named)}")
        return cls(
            session,
            found,
            path,
            task=get_task(found.task),
            classes=tuple(map(nfc, found.classes)),
            in_shape=tuple(found.in_shape),
            transform=_transform(found, path) if found.kind == "image" else None,
            thresholds=tuple(found.thresholds or ()),
            columns=Columns.from_data(found.columns) if found.columns else None,
            temperature=found.temperature,
        )

    @classmethod
    def from_run(cls, run: RunLike, *, weights: str = "best", calibrated: bool = True) -> OnnxPredictor:
        """Open the file that a run, a `Run` or what `find_run` takes, was exported to, for its best or last weights.

        Labels are predicted from the run's thresholds, which may be newer than the file. Raises RunError where there is
        no file, one of other weights, or one that is calibrated otherwise than the run is, or not at all unless
        `calibrated`; and otherwise as `from_file` does.
        """
        run = as_run(run)
        path, command = stored_weights(run, weights), _command(run, weights, calibrated)
        temperature = stored_temperature(run, weights) if calibrated else None
        if not run.export_path().is_file():
            raise RunError(f"run {run.name} has no {run.export_path().name}; make it: `{shell_command(command)}`")
        found = cls.from_file(run.export_path())
        if not found.description.is_of(path):
            why = f"{found.path.name} of run {run.name} has other weights than {path.name}"
            raise RunError(f"{why}; renew it: `{shell_command([*command, '--overwrite'])}`")
        if found.temperature != temperature:
            what = f"{_calibrated(found.temperature)}, not {_calibrated(temperature)}"
            why = f"{found.path.name} of run {run.name} is {what}"
            raise RunError(f"{why}; renew it: `{shell_command([*command, '--overwrite'])}`")
        return replace(found, run=run, weights=weights, thresholds=stored_thresholds(run.summary()))

    @property
    def name(self) -> str:
        """What to call it in a message: `run 'x'`, or the file."""
        return f"run {self.run.name!r}" if self.run is not None else f"model {str(self.path)!r}"

    def _mirrored(self, tta: TTA) -> OnnxPredictor:
        return replace(self, tta=tta)

    def _with_caution(self, caution: Caution) -> OnnxPredictor:
        if caution.distances is not None:
            raise ConfigError("--reject-unknown: takes features, which an ONNX file does not give; use torch")
        return super()._with_caution(caution)

    def _of_pixels(self, images: np.ndarray) -> Answers:
        ways = [images] if self.tta is None else [images, np.ascontiguousarray(images[..., ::-1])]
        return Answers(np.mean([self._run({IMAGES: each}) for each in ways], axis=0))

    def _of_numbers(self, rows: np.ndarray) -> Answers:
        return Answers(self._run({ROWS: rows}))

    def _of_cells(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Answers, Mapping[int, str]]:
        assert self.columns is not None
        numbers, texts, wrong = self.columns.raw(rows)
        given = {NUMBERS: numbers, CATEGORIES: texts}
        return Answers(self._run({name: given[name] for name in self.description.inputs})), wrong

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            output = np.asarray(self.session.run([self.description.output], inputs)[0], dtype=np.float32)
        except Exception as error:  # noqa: BLE001 - onnxruntime has no class of its own for all errors
            raise ModelError(f"{self.name}: onnxruntime fails: {_reason(error)}") from None
        n, n_outputs = len(next(iter(inputs.values()))), len(self.classes) or 1
        if output.shape != (n, n_outputs):
            raise ModelError(f"{self.name}: the file gives {output.shape} and describes ({n}, {n_outputs})")
        return output


def _opened(path: Path) -> tuple[Any, dict[str, str]]:
    """Return onnxruntime's session for a model file, and the file's properties. Raises ModelError for another file."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ConfigError(not_installed("an ONNX file", "onnxruntime", "export")) from None
    except ImportError as error:  # built for another NumPy, or without a library of the system
        raise ConfigError(f"onnxruntime is installed and cannot be imported: {first_line(error)}") from None
    if not path.is_file():
        raise ModelError(f"no file {str(path)!r}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a batch is predicted on each core
    options.log_severity_level = 4  # what fails is raised
    try:
        cpu: dict[str, Any] = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}  # which prints on stdout
        session = onnxruntime.InferenceSession(str(path), options, **cpu)
        return session, session.get_modelmeta().custom_metadata_map
    except Exception as error:  # noqa: BLE001 - onnxruntime has no class of its own for all errors
        raise ModelError(f"{str(path)!r} is no ONNX model that can be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what onnxruntime reports, without its own name, the number of the error and the path of the file."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?", "", first_line(error)).rstrip(
        "."
    )


def _transform(description: Description, path: Path) -> Pipeline:
    try:
        return pipeline_of(description.transform, description.in_shape)
    except ConfigError as error:
        raise ModelError(f"{str(path)!r} is damaged: {error}") from None


def _command(run: Run, weights: str, calibrated: bool) -> list[str]:
    """Return the command that exports a run with these weights."""
    options = [*(["--weights", weights] if weights != "best" else []), *([] if calibrated else ["--uncalibrated"])]
    return ["dlw", "export", str(run.path), "--format", "onnx", *options]


def _calibrated(temperature: float | None) -> str:
    return "uncalibrated" if temperature is None else f"calibrated with temperature {temperature:.4g}"
