"""Predictions as a table, as JSON lines while they are made, or as a figure of the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.files.text import LABEL_SEPARATOR, json_text, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dlworkflow.inference.base import BasePredictor
    from dlworkflow.inference.prediction import Prediction


class PredictFormat(StrEnum):
    """How predictions are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    csv_bom = "csv-bom"


def stream(predictions: Iterable[Prediction]) -> int:
    """Print each prediction as a line of JSON when it is made; return how many inputs could not be read."""
    bad = 0
    for prediction in predictions:
        typer.echo(json_text(prediction.as_object()))
        bad += prediction.error is not None
    return bad


def print_predictions(predictions: Sequence[Prediction], output: PredictFormat, top_k: int) -> None:
    """Print all predictions in one format, with the `top_k` likeliest classes."""
    from dlworkflow.cli.tables import Format, print_table

    if output in (PredictFormat.json, PredictFormat.jsonl):
        rows = [prediction.as_object() for prediction in predictions]
        typer.echo(json_text(rows, indent=1) if output is PredictFormat.json else "\n".join(map(json_text, rows)))
        return
    raw = [_as_row(prediction) for prediction in predictions]
    pretty = [{key: _cell(key, value, row) for key, value in row.items()} for row in raw]
    print_table(pretty, {key: key for key in _columns(predictions, output, top_k)}, Format(output.value), raw)


def _columns(predictions: Sequence[Prediction], output: PredictFormat, top_k: int) -> Iterator[str]:
    yield "input"
    if any(prediction.value is not None for prediction in predictions):
        yield "value"
    else:
        if any(prediction.labels is not None for prediction in predictions):
            yield "labels"
        shown = max((len(prediction.top) for prediction in predictions), default=0) or 1
        for rank in range(1, min(top_k, shown) + 1):
            yield from (f"label{_tail(rank)}", f"probability{_tail(rank)}")
        if output is not PredictFormat.table and any(prediction.unsure is not None for prediction in predictions):
            yield from ("unsure", "likeliest")
        if any(prediction.familiarity is not None for prediction in predictions):
            yield "familiarity"
    if any(prediction.disagreement is not None for prediction in predictions):
        yield "disagreement"
    if any(prediction.error for prediction in predictions):
        yield "error"


def _cell(key: str, value: Any, row: dict[str, Any]) -> str:
    """Return a cell as people read it: shares with three digits, an unsure answer with the likeliest class."""
    from dlworkflow.files.numbers import number

    if key == "label" and row["unsure"]:
        return _unsure(row["likeliest"])
    is_share = key.startswith(("prob", "fam")) or (key == "disagreement" and row["value"] is None)
    return f"{value:.3f}" if is_share and value is not None else number(value)


def _unsure(likeliest: str) -> str:
    return f"unsure ({likeliest})"


def _tail(rank: int) -> str:
    return f"_{rank}" if rank > 1 else ""


def _as_row(prediction: Prediction) -> dict[str, Any]:
    row: dict[str, Any] = {"input": prediction.source}
    row |= {key: getattr(prediction, key) for key in ("error", "value", "disagreement", "unsure", "familiarity")}
    if prediction.labels is not None:
        row["labels"] = LABEL_SEPARATOR.join(name for name, _ in prediction.labels)
    for rank, (label, probability) in enumerate(prediction.top, start=1):
        row |= {f"label{_tail(rank)}": label, f"probability{_tail(rank)}": probability}
    if prediction.unsure is not None:
        row |= {"label": prediction.label, "likeliest": prediction.top[0][0]}
    return row


def drawn(predictor: BasePredictor, predictions: Sequence[Prediction], *, with_bars: bool) -> Figure:
    """Draw the images with their predictions, and bars of the probabilities; an unreadable one has its reason."""
    from dlworkflow.data.images.decoding import load_image
    from dlworkflow.plotting import plot_predicted_images, plot_prediction_bars
    from dlworkflow.plotting.grid import LONGEST_SIDE, MOST_IMAGES

    assert predictor.transform is not None
    shown = predictions[:MOST_IMAGES]
    channels, value_range = predictor.in_shape[0], predictor.transform.value_range
    images = [
        None if p.error else load_image(p.source, channels, longest=LONGEST_SIDE, value_range=value_range)
        for p in shown
    ]
    images += [None] * (len(predictions) - len(shown))
    titles = [p.error or _title(p) for p in predictions]
    names = [Path(p.source).name for p in predictions]
    if with_bars:
        return plot_prediction_bars(images, [p.top for p in predictions], titles, names=names)
    return plot_predicted_images(images, titles, names=names)


def _title(prediction: Prediction) -> str:
    """Return what is predicted: a number, several labels, or a class with its probability."""
    if prediction.value is not None:
        return f"Pred: {prediction.value:.5g}"
    if prediction.labels is not None:
        found = ", ".join(f"{name} {p:.2f}" for name, p in prediction.labels)
        likeliest = f"none; likeliest {prediction.label} {prediction.probability:.2f}"
        return f"Pred: {printable(found or likeliest)}"
    label = _unsure(prediction.top[0][0]) if prediction.unsure else prediction.label
    return f"Pred: {printable(label)} | Prob: {prediction.probability:.3f}"
