"""Explaining rows of numbers and of tables: what each column contributes to the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dlworkflow.analysis.explanation.images import answered, likeliest
from dlworkflow.analysis.explanation.methods import ClassScores, attributions, usual_method
from dlworkflow.analysis.explanation.results import RowExplanation
from dlworkflow.data.columns import Columns
from dlworkflow.inference.predictor import Predictor
from dlworkflow.inference.records import records_of, source_of


def column_widths(predictor: Predictor) -> dict[str, int]:
    """Return the columns that a model takes with the number of inputs of each; numbers without names are x1, x2, ..."""
    if predictor.columns is not None:
        return {column.name: column.width for column in predictor.columns.inputs}
    return {f"x{place}": 1 for place in range(1, int(np.prod(predictor.in_shape)) + 1)}


def explain_rows(
    predictor: Predictor, given: Any, *, method: str | None, target: int | None
) -> tuple[Iterator[RowExplanation], bool]:
    """Return the explanations of the rows in what was given, made as they are asked for, and whether they are several.

    A row that cannot be used has its `error`.
    """
    if predictor.columns is not None:
        records, sources, is_many = records_of(given, predictor.columns, owner=predictor.name)
        return _of_records(predictor, predictor.columns, records, sources, method, target), is_many
    rows, is_many = predictor.rows(given)
    return (_explained(predictor, _source(row), torch.tensor([row]), method, target) for row in rows), is_many


def _of_records(
    predictor: Predictor,
    columns: Columns,
    records: Iterable[Mapping[str, Any]],
    sources: Iterable[str] | None,
    method: str | None,
    target: int | None,
) -> Iterator[RowExplanation]:
    names = iter(sources) if sources is not None else None
    for record in records:
        source = next(names) if names is not None else source_of(record, columns)
        inputs, wrong = columns.encode([record])
        if wrong:
            yield RowExplanation(source, error=wrong[0])
        else:
            yield _explained(predictor, source, torch.from_numpy(inputs), method, target)


def _explained(
    predictor: Predictor, source: str, x: torch.Tensor, method: str | None, target: int | None
) -> RowExplanation:
    x = x.float().to(predictor.device)
    baseline = torch.zeros_like(x)
    values, start = predictor.answers(torch.cat([x, baseline])).values
    if not np.isfinite(values).all():
        return RowExplanation(source, error="the model returns no finite number for it")
    model = ClassScores(predictor.model, predictor.task)
    name = method or usual_method(model, x)
    [chosen] = [target] if target is not None else likeliest(values, predictor.classes, 1)
    parts = attributions(name, model, x, baseline, [chosen])[0]
    scale = predictor.target.std if predictor.target is not None else 1 / (predictor.temperature or 1.0)
    widths = column_widths(predictor)
    sums = [scale * float(part.sum()) for part in parts.reshape(-1).split([*widths.values()])]
    answer, at_start = (answered(each, predictor.classes, chosen) for each in (values, start))
    return RowExplanation(source, name, answer, at_start, dict(zip(widths, sums, strict=True)))


def _source(row: Sequence[float]) -> str:
    return " ".join(f"{number:g}" for number in row)
