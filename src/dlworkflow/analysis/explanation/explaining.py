"""Explaining whatever a user has: images, rows, or a run as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dlworkflow.analysis.explanation.images import explain_images
from dlworkflow.analysis.explanation.importance import Importance, importance_of
from dlworkflow.analysis.explanation.methods import check_captum, check_method
from dlworkflow.analysis.explanation.results import ImageExplanation, RowExplanation
from dlworkflow.analysis.explanation.rows import explain_rows
from dlworkflow.data.folders.class_names import nfc
from dlworkflow.errors import ConfigError, DataError, unknown
from dlworkflow.inference.arrays import Layout
from dlworkflow.inference.base import BasePredictor
from dlworkflow.inference.predictor import Predictor
from dlworkflow.runs import Run

Explanation = ImageExplanation | RowExplanation


def explain(
    model: Run | BasePredictor | str | os.PathLike[str],
    x: Any = None,
    *,
    method: str | None = None,
    label: str | None = None,
    top_k: int = 3,
    check: bool = True,
    seed: int = 0,
    layout: Layout | None = None,
    split: str = "test",
) -> Explanation | list[Explanation] | Iterator[Explanation] | Importance:
    """Explain the predictions of a run, or of a `Predictor`: one explanation for one input, a list for several.

    `x` is what `Predictor.predict` takes. Of an image, what speaks for its `top_k` likeliest classes, or for `label`,
    by a `method` of `METHODS`: gradcam where the model averages its last feature maps, else occlusion. With `check`,
    what the map of the first class marks is hidden, and the map is compared with those of untrained copies of the
    model, by draws of `seed`. Of a row, what each column contributes. Without `x`, how much the run relies on each
    column, on samples of `split`.

    One input that cannot be read raises DataError; among several it is an explanation with `error` set. Raises
    ConfigError for an unknown method or class and where captum is missing, ModelError for a model that the method does
    not fit.
    """
    predictor = model if isinstance(model, BasePredictor) else Predictor.from_run(model)
    if x is None:
        return importance_of(_with_torch(predictor), split, seed=seed)
    options: dict[str, Any] = {"method": method, "label": label, "top_k": top_k, "check": check, "seed": seed}
    found, is_many = explanations_of(predictor, x, **options, layout=layout)
    if isinstance(x, Iterator):
        return found
    if is_many:
        return list(found)
    [one] = found
    if one.error is not None:
        raise DataError(f"{one.source!r}: {one.error}")
    return one


def explanations_of(
    predictor: BasePredictor,
    x: Any,
    *,
    method: str | None = None,
    label: str | None = None,
    **of_images: Any,
) -> tuple[Iterator[Explanation], bool]:
    """Return the explanations of what was given, made as they are asked for, and whether it is several; see `explain`.

    What cannot be read has its `error`; `of_images` are `top_k`, `check`, `seed` and `layout`.
    """
    predictor = _with_torch(predictor)
    check_method(method) if method is not None else check_captum()
    target = None if label is None else _number_of(label, predictor)
    if predictor.kind == "image":
        return explain_images(predictor, x, method=method, target=target, **of_images)
    return explain_rows(predictor, x, method=method, target=target)


def _with_torch(predictor: BasePredictor) -> Predictor:
    if not isinstance(predictor, Predictor):
        raise ConfigError(
            f"explain: {predictor.name} is an exported file, which only predicts; give its run, which torch opens"
        )
    return predictor


def _number_of(label: str, predictor: Predictor) -> int:
    if not predictor.classes:
        raise ConfigError(f"--class: {predictor.name} predicts a number, not a class")
    if nfc(label) not in predictor.classes:
        raise ConfigError(f"--class: {unknown('class', label, predictor.classes)}")
    return predictor.classes.index(nfc(label))
