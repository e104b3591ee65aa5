"""What a run says of itself, as JSON: written without nan, and on reading checked as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from dlworkflow.errors import RunError, first_line
from dlworkflow.files.paths import parse_json
from dlworkflow.runs.averaging import OVER_SAMPLES

FORMAT = 1

Check = Callable[[Any], bool]


def read_summary(text: str, *, source: str, name: str) -> dict[str, Any]:
    """Return a summary whose every value that is read later is there and of its kind.

    Raises RunError that names `source`, the file, and what is wrong in it, or that run `name` is of a newer format.
    """
    try:
        summary = parse_json(text)
    except ValueError as error:
        raise RunError(f"{source} is damaged: {first_line(error)}") from None
    if not isinstance(summary, dict):
        raise RunError(f"{source} is damaged: it holds no settings")
    if not _whole(summary.get("format", 0)):
        raise RunError(f"{source} is damaged: its format is {_short(summary['format'])}")
    if summary.get("format", 0) > FORMAT:
        raise RunError(f"{name} was written by a newer dlworkflow (format {summary['format']}); update to read it")
    if fault := _fault(summary):
        raise RunError(f"{source} is damaged: {fault}")
    return _as_trained(summary)


def _as_trained(summary: dict[str, Any]) -> dict[str, Any]:
    """Let a run of version 0.1, which knew no range of values, go on to scale images of more than 8 bits one by one."""
    data = summary["config"]["data"]
    if data["name"] in ("image_folder", "image_csv", "image_shards") and "range" not in data:
        data["range"] = "each"
        summary["transform"] = [{"range": {"each": True}}, *(summary["transform"] or [])]
    return summary


def leakage_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Say which splits have images that the training data has too."""
    return [
        f"{count:,} of the {summary['samples'].get(split, 0):,} {split} images are also in the training data: "
        f"the {split} scores are better than they would be on new images"
        for split, count in (summary.get("leakage") or {}).items()
        if _size(count) and _size(summary["samples"].get(split, 0))
    ]


def as_json(value: Any) -> str:
    """Return a value as the text of a JSON file."""
    return json.dumps(without_nan(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """JSON knows no nan and no infinity: they become null."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _size(value: Any) -> bool:
    return _whole(value) and value >= 0


def _count(value: Any) -> bool:
    return _whole(value) and value >= 1


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _epoch_number(value: Any) -> bool:
    return _number(value) and 1 <= value < 2**63 and value == int(value)


def are_split_indices(value: Any) -> bool:
    """Tell whether these are the samples of each split: {name: numbers from 0 on}."""
    return isinstance(value, dict) and all(map(_list_of(_size), value.values()))


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _section(value: Any) -> bool:
    return isinstance(value, dict)


def _any(_: Any) -> bool:
    return True


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


_EPOCH = {
    "epoch": _epoch_number,
    **dict.fromkeys(("train_loss", "test_loss", "val_loss"), _or_null(_number)),
    **dict.fromkeys(("train_acc", "test_acc", "val_acc"), _or_null(_share)),
}
_EPOCH |= {f"{key}{OVER_SAMPLES}": check for key, check in _EPOCH.items() if key != "epoch"}
_NEEDED: dict[str, Check] = {  # dotted key -> what it holds from the first moment on; a section before what is in it
    "config": _section,
    "config.model": _section,
    "config.model.name": _text,
    "config.data": _section,
    "config.data.name": _text,
    "config.data.batch_size": lambda value: value == "full" or _count(value),
    "config.data.data_dir": _or_null(_text),
    "config.optimizer": _section,
    "config.optimizer.name": _text,
    "config.loss": _text,
    "config.epochs": _count,
    "config.seed": _whole,
    "status": _text,
    "started": _text,
    "data": _text,
    "kind": _one_of("image", "tabular"),
    "task": _one_of("regression", "binary", "multiclass"),
    "classes": _list_of(_text),
    "in_shape": lambda value: bool(value) and _list_of(_count)(value),
    "n_outputs": _count,
    "transform": _any,
    "samples": _section,
    "samples.train": _size,
    "samples.test": _size,
    "source": _text,
    "parameters": _size,
    "device": _text,
    "threads": _count,
    "chosen_on": _one_of("test", "val"),
    "baseline": _section,
}
_POSSIBLE: dict[str, Check] = {  # what it holds where it is there
    "samples.val": _size,
    "baseline.score": _or_null(_number),
    "baseline.metric": _one_of("accuracy", "loss"),
    "baseline.answer": lambda value: _text(value) or _number(value),
    "best": _or_null(_section),
    "last": _or_null(_section),
    **{f"{which}.{key}": check for which in ("best", "last") for key, check in _EPOCH.items()},
    "seconds": _or_null(_number),
    "collapsed_to": _or_null(_text),
    "leakage": _or_null(_section),
    "over_samples": _section,
    "split_indices": lambda value: value is None or are_split_indices(value),
    "over_samples.test_loss": _or_null(_number),
    "over_samples.test_acc": _or_null(_share),
}
_KEYS = {key: key.split(".") for key in (*_NEEDED, *_POSSIBLE)}
_NOTHING = object()


def _fault(summary: Mapping[str, Any]) -> str:
    """Say what is wrong with a summary, or nothing."""
    missing = []
    for key, check in _NEEDED.items():
        value = _value(summary, key)
        if value is _NOTHING:
            missing.append(key)
        elif not check(value):
            return f"{key} is {_short(value)}"
    if missing:
        return f"it lacks {', '.join(missing)}"
    for key, check in _POSSIBLE.items():
        value = _value(summary, key)
        if value is not _NOTHING and not check(value):
            return f"{key} is {_short(value)}"
    return _contradiction(summary)


def _contradiction(summary: Mapping[str, Any]) -> str:
    """Say which of its values do not go together, or nothing."""
    baseline, best = summary["baseline"], summary.get("best")
    classes, outputs = {"binary": (2, 1), "regression": (0, 1)}.get(summary["task"], (summary["n_outputs"],) * 2)
    if (len(summary["classes"]), summary["n_outputs"]) != (classes, outputs):
        return f"{len(summary['classes'])} classes and {summary['n_outputs']} outputs are no {summary['task']} task"
    if summary["kind"] == "image" and len(summary["in_shape"]) != 3:
        return f"in_shape of pictures is {_short(summary['in_shape'])}"
    if baseline and (lacking := [key for key in ("score", "metric", "answer") if key not in baseline]):
        return f"it lacks {', '.join(f'baseline.{key}' for key in lacking)}"
    if baseline.get("metric") == "accuracy" and baseline["answer"] not in summary["classes"]:
        return f"baseline.answer is {_short(baseline['answer'])}"
    if baseline.get("metric") == "loss" and not _number(baseline["answer"]):
        return f"baseline.answer is {_short(baseline['answer'])}"
    if best and not summary["samples"]["test"]:
        return "samples.test is 0"
    if best and (lacking := [key for key in ("epoch", f"{summary['chosen_on']}_loss") if best.get(key) is None]):
        return f"it lacks {', '.join(f'best.{key}' for key in lacking)}"
    return ""


def _value(summary: Mapping[str, Any], key: str) -> Any:
    """Return what stands under a dotted key, or _NOTHING."""
    found: Any = summary
    for part in _KEYS[key]:
        if not isinstance(found, dict) or part not in found:
            return _NOTHING
        found = found[part]
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
