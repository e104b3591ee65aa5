"""Which model `dlw predict` uses: of a run, of several, or a file of weights; each is reported on stderr."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from dlworkflow.cli.imports import import_torch
from dlworkflow.cli.options import Weights, say, typed_model
from dlworkflow.errors import ConfigError, MissingDataError, RunError, few, unknown
from dlworkflow.inference.stored import stored_calibration, stored_temperature
from dlworkflow.runs.calibration import CALIBRATED_ON, CalibrationSummary

if TYPE_CHECKING:
    from dlworkflow.inference.backends import Backend
    from dlworkflow.inference.base import TTA, BasePredictor
    from dlworkflow.inference.inputs import Inputs
    from dlworkflow.inference.onnx_predictor import OnnxPredictor
    from dlworkflow.inference.predictor import Predictor
    from dlworkflow.runs import Run

Predicting = TypeVar("Predicting", bound="BasePredictor")


def from_runs(
    names: Sequence[str],
    runs_dir: str | None,
    weights: str,
    given: Inputs,
    *,
    backend: Backend,
    device: str | None,
    tta: TTA | None,
    calibrated: bool,
) -> BasePredictor:
    """Find the runs that are named, or the last that takes such inputs, and report which they are."""
    if weights not in set(Weights):
        raise ConfigError(f"--weights: {unknown('weights', weights, set(Weights))} (a file of weights needs --model)")
    named = [run for name in names or ["last"] for run in _runs_called(name, runs_dir, given)]
    found = list({run.path.resolve(): run for run in named}.values())

    from dlworkflow.inference.backends import predictor_of

    options: dict[str, Any] = {"backend": backend, "device": device or "auto", "calibrated": calibrated}
    predictor = predictor_of(found, weights=weights, **options, on_note=lambda text: say(f"note    {text}"))
    predictor = predictor.with_tta(tta)
    shown = few((run.name for run in found), 5, quoted=False)
    what = f"run {found[0].path}" if len(found) == 1 else f"mean of {len(found)} runs: {shown}"
    known = [stored_temperature(run, weights) if calibrated else None for run in found]
    say(f"{what} {chosen_weights(weights, tta, predictor.backend, known)}")
    for run in found if calibrated else ():
        note_stale_calibration(run, weights)
    warn_of_mirroring(found[0], tta)
    return predictor


def cautious(
    predictor: Predicting, min_confidence: float | None, max_error: float | None, reject_unknown: bool
) -> Predicting:
    """Return a predictor that is unsure of some answers, and report of which."""
    found = predictor.cautious(min_confidence=min_confidence, max_error=max_error, reject_unknown=reject_unknown)
    for note in found.caution.notes if found.caution is not None else ():
        say(f"note    {note}")
    return found


def note_stale_calibration(run: Run, weights: str) -> None:
    """Report that a run has a calibration of other weights than these, which is not used."""
    if stored_calibration(run, weights) is not None:
        return
    found = [run.found(CalibrationSummary, split) for split in CALIBRATED_ON.values()]
    if epochs := [f"epoch {each.epoch:g}" for each in found if each is not None]:
        own = f" --weights {weights}" if weights != "best" else ""
        say(
            f"note    {run.name} is calibrated for other weights ({', '.join(epochs)}), and these are not: "
            f"`dlw calibrate {run.path}{own}`"
        )


def chosen_weights(
    weights: str, tta: TTA | None, backend: str = "torch", temperatures: Sequence[float | None] = ()
) -> str:
    """Return how a line about a run ends: its weights and temperature, and what else than torch predicts, and how."""
    rest = ([backend] if backend != "torch" else []) + ([f"--tta {tta}"] if tta else [])
    if known := [f"{each:.3g}" for each in temperatures if each is not None]:
        rest.append(f"temperature {few(known, 5, quoted=False)}")
    return f"({', '.join([f'{weights} weights', *rest])})"


def warn_of_mirroring(run: Run, tta: TTA | None) -> None:
    """Report that mirrored images of the run's data may be no images of their class, as those of digits are not."""
    from dlworkflow import data

    settings = run.summary().config["data"]
    if tta is not None and data.looks(settings) and not data.mirrors(settings):
        say(
            f"note    digits and letters change when they are mirrored, and {run.summary().data!r} may have such: "
            f"--tta {tta} may make its predictions worse"
        )


def _runs_called(name: str, runs_dir: str | None, given: Inputs) -> list[Run]:
    """Return the last or best run that takes such inputs, the run of this name, or the finished runs of a sweep."""
    from dlworkflow.runs import find_run

    if name not in ("last", "best"):
        return finished_runs(name, runs_dir)
    fits, what = given.wanted_run()
    try:
        return [find_run(name, runs_dir, fits=fits, what=f"trained run that takes {what}")]
    except RunError as error:
        if missing := given.missing():
            raise MissingDataError(f"no file {few(missing, 3)}; {error}") from None
        raise RunError(f"{error}{_without_a_run(given)}") from None


def _without_a_run(given: Inputs) -> str:
    """Return the command that predicts such inputs without a run, where it would work now."""
    if given.are_rows():
        return ""
    from dlworkflow.models.weights.pretrained import at_hand

    if (backbone := at_hand()) is None:
        return ""
    command = f"dlw predict {shlex.quote(given.names[0])} --model {backbone} --weights default"
    return f", or predict ImageNet's 1,000 classes: `{command}`"


def finished_runs(name: str, runs_dir: str | None) -> list[Run]:
    """Return the run of this name, or the finished runs of a sweep or cross-validation; report if others are left out.

    Raises RunError where none has finished.
    """
    from dlworkflow.training.sweep.folder import find_runs

    found = find_runs(name, runs_dir)
    finished = [run for run in found if len(found) == 1 or run.status() == "finished"]
    if not finished:
        raise RunError(f"no run of the sweep {name} has finished")
    if left := len(found) - len(finished):
        say(f"note    left out of {name}: {left} run{'s that have' if left > 1 else ' that has'} not finished")
    return finished


def from_exported(path: str, weights: str, device: str | None) -> OnnxPredictor:
    """Open a file that `dlw export` wrote, and report what it is."""
    if weights != Weights.best:
        raise ConfigError(f"--weights: not with --model {path}, which has weights of its own")
    if device not in (None, "auto", "cpu"):
        raise ConfigError(f"--device: an ONNX file predicts on the CPU, not on {device!r}")
    from dlworkflow.inference.onnx_predictor import OnnxPredictor

    predictor = OnnxPredictor.from_file(path)
    about = predictor.description
    which = chosen_weights(about.weights, None, predictor.backend, [predictor.temperature])
    say(f"model {path}: {about.model} of run {about.run} {which}")
    return predictor


def from_weights(
    model: str,
    weights: str,
    classes: str | None,
    image_size: int | None,
    settings: list[str] | None,
    device: str | None,
) -> Predictor:
    """Put a file of weights into a model and report what was built."""
    from dlworkflow.models import check_name, is_published

    model = typed_model(model)
    try:
        check_name(model)
    except ConfigError as error:
        raise ConfigError(str(error).replace("model.name", "--model", 1)) from None
    if weights in set(Weights):
        published = ", or --weights default for ImageNet's 1,000 classes" if is_published(model) else ""
        raise ConfigError(
            f"--model: name the file of its weights, --weights FILE (./best for a file of that name){published}"
        )
    of_model, transform = _settings_of_model(settings)

    import_torch()
    from dlworkflow.inference.predictor import Predictor

    predictor = Predictor.from_weights(
        model,
        weights,
        classes=[name.strip() for name in classes.split(",")] if classes is not None else (),
        image_size=image_size,
        settings=of_model,
        transform=transform,
        device=device or "auto",
    )
    built = ", ".join(f"{key}={value}" for key, value in predictor.settings.items())
    shape = "x".join(map(str, predictor.in_shape))
    say(f"weights {weights} in {model}{f' ({built})' if built else ''} for inputs of {shape}")
    return predictor


def from_published(model: str, weights: str, device: str | None, offline: bool) -> Predictor:
    """Take a model with the weights that its library publishes, and report what it predicts."""
    import_torch()
    from dlworkflow.inference.predictor import Predictor

    try:
        predictor = Predictor.from_published(model, weights, offline=offline, device=device or "auto")
    except ConfigError as error:
        raise ConfigError(re.sub("^weights:", "--weights:", str(error).replace("model.name", "--model", 1))) from None
    shape = "x".join(map(str, predictor.in_shape))
    say(f"weights {weights} of {model}: ImageNet's {len(predictor.classes):,} classes, inputs of {shape}")
    return predictor


def _settings_of_model(settings: list[str] | None) -> tuple[dict[str, Any], Any]:
    """Return the settings of the model and `data.transform`. Raises ConfigError for any other setting."""
    from dlworkflow.config import from_overrides

    given = from_overrides(settings or ()).values
    of_model, of_data = given.pop("model", {}), given.pop("data", {})
    of_others = [*given, *(f"data.{key}" for key in of_data if key != "transform")]
    if extra := [*of_others, *(["model.name"] if "name" in of_model else [])]:
        raise ConfigError(f"--set {extra[0]}: with --model, only settings of the model and data.transform apply here")
    return of_model, of_data.get("transform")


def near(predictor: BasePredictor, k: int) -> BasePredictor:
    """Return the same with the k nearest training samples of each input. Raises ConfigError for an exported file."""
    from dlworkflow.inference.predictor import Predictor

    if not isinstance(predictor, Predictor):
        raise ConfigError(
            f"--neighbours: {predictor.name} is an exported file, which has no features; leave out --backend"
        )
    from dlworkflow.analysis.nearest import with_neighbours

    return with_neighbours(predictor, k)
