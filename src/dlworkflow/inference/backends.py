"""What predicts for a run: its model in torch, or the file that it was exported to. Imports torch where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from dlworkflow.errors import ConfigError, DlwError
from dlworkflow.inference.stored import stored_weights

if TYPE_CHECKING:
    from dlworkflow.inference.base import BasePredictor
    from dlworkflow.runs import Run

Backend = Literal["auto", "torch", "onnx"]
"""What predicts: torch, onnxruntime, or whichever of them is ready sooner."""

_CPU = ("auto", "cpu")


def predictor_of(
    runs: Sequence[Run],
    *,
    weights: str = "best",
    backend: Backend = "auto",
    device: str = "auto",
    calibrated: bool = True,
    on_note: Callable[[str], object] | None = None,
) -> BasePredictor:
    """Return what predicts for a run, or for several averaged, with their best or last weights.

    Probabilities are calibrated where the run is, unless that is not wanted (`calibrated`).
    `auto` is onnx for one run with a `model.onnx` of these weights, where onnxruntime is installed and no other device
    than the CPU is asked for, and torch otherwise; `on_note` gets a sentence about a file that is there and cannot be
    used. Raises as `OnnxPredictor.from_run` and `Predictor.from_runs` do, and ConfigError for what onnx cannot do.
    """
    if backend == "onnx":
        return _exported(runs, weights, device, calibrated)
    run = runs[0] if len(runs) == 1 else None
    if backend == "auto" and device in _CPU and run and run.export_path().is_file() and find_spec("onnxruntime"):
        stored_weights(run, weights)
        try:
            return _exported(runs, weights, device, calibrated)
        except DlwError as error:
            if on_note is not None:
                on_note(f"{error}; torch is used")
    from dlworkflow.inference.predictor import Predictor

    return Predictor.from_runs(runs, weights=weights, device=device, calibrated=calibrated)


def _exported(runs: Sequence[Run], weights: str, device: str, calibrated: bool) -> BasePredictor:
    if len(runs) > 1:
        raise ConfigError(f"--backend onnx: takes one run, not {len(runs)}; several are averaged with torch")
    if device not in _CPU:
        raise ConfigError(f"--device: --backend onnx predicts on the CPU, not on {device!r}")
    from dlworkflow.inference.onnx_predictor import OnnxPredictor

    return OnnxPredictor.from_run(runs[0], weights=weights, calibrated=calibrated)
