"""Predictions as a table, as lines of JSON or CSV while they are made, or as a figure of the images."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.errors import ConfigError, DataError
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


PRINTED_AT_ONCE = (PredictFormat.jsonl, PredictFormat.csv, PredictFormat.csv_bom)
"""Formats of which a line is printed as soon as it is made."""


def print_predictions(predictions: Iterable[Prediction], output: PredictFormat, top_k: int) -> None:
    """Print predictions in one format, with the `top_k` likeliest classes."""
    from dlworkflow.cli.tables import print_table

    if output in PRINTED_AT_ONCE:
        as_bytes = output is PredictFormat.csv_bom
        if as_bytes:
            typer.echo(BOM_UTF8, nl=False)
        for line in _lines(predictions, output, top_k):
            typer.echo(line.encode() if as_bytes else line)
        return
    predictions = list(predictions)
    if output is PredictFormat.json:
        typer.echo(json_text([prediction.as_object() for prediction in predictions], indent=1))
        return
    raw = list(map(_as_row, predictions))
    pretty = [{key: _cell(key, value, row) for key, value in row.items()} for row in raw]
    print_table(pretty, {key: key for key in _columns(predictions, output, top_k)})
    if rows := list(_neighbour_rows(predictions)):
        typer.echo("")
        print_table(rows, {key: key for key in rows[0]})


def _lines(predictions: Iterable[Prediction], output: PredictFormat, top_k: int) -> Iterator[str]:
    """Yield a line per prediction; CSV takes its columns from the first that is no error."""
    from dlworkflow.cli.tables import csv_lines

    if output is PredictFormat.jsonl:
        return (json_text(prediction.as_object()) for prediction in predictions)
    rest = iter(predictions)
    first: list[Prediction] = []
    for prediction in rest:
        first.append(prediction)
        if prediction.error is None:
            break
    return csv_lines(map(_as_row, chain(first, rest)), list(_columns(first, output, top_k)))


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
    if most := max((len(prediction.neighbours or ()) for prediction in predictions), default=0):
        if any(prediction.top for prediction in predictions):
            yield "alike"
        if output is not PredictFormat.table:
            for rank in range(1, most + 1):
                yield from (f"neighbour_{rank}", f"truth_{rank}", f"distance_{rank}")
    if output is not PredictFormat.table or any(prediction.error for prediction in predictions):
        yield "error"


def _cell(key: str, value: Any, row: dict[str, Any]) -> str:
    """Return a cell as people read it: shares with three digits, an unsure answer with the likeliest class."""
    from dlworkflow.files.numbers import number

    if key == "label" and row["unsure"]:
        return _unsure(row["likeliest"])
    is_share = key.startswith(("prob", "fam", "alike")) or (key == "disagreement" and row["value"] is None)
    return f"{value:.3f}" if is_share and value is not None else number(value)


def _alike(prediction: Prediction) -> float:
    """Return the share of neighbours whose label is the likeliest, or whose labels are those that are predicted."""
    assert prediction.neighbours is not None
    expected = prediction.top[0][0]
    if prediction.labels is not None:
        expected = LABEL_SEPARATOR.join(name for name, _ in prediction.labels)
    truths = [each.truth for each in prediction.neighbours]
    return truths.count(expected) / len(truths)


def _neighbour_rows(predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
    from dlworkflow.files.numbers import number, short

    for prediction in predictions:
        for each in prediction.neighbours or ():
            row = {"input": prediction.source, "neighbour": each.file or f"sample {each.sample:,}"}
            yield row | {"truth": number(each.truth), "distance": short(each.distance)}


def drawn_neighbours(predictor: BasePredictor, predictions: Sequence[Prediction]) -> Figure:
    """Draw each image beside its nearest training images, a row each, as many as fit."""
    from dlworkflow.analysis.nearest import images_of
    from dlworkflow.data.images.decoding import load_image
    from dlworkflow.files.numbers import number, short
    from dlworkflow.plotting.grid import LONGEST_SIDE, MOST_IMAGES, draw_grid

    assert predictor.transform is not None
    assert predictor.run is not None
    fine = [prediction for prediction in predictions if prediction.neighbours]
    if not fine:
        raise DataError("--plot: no image could be read")
    columns = len(fine[0].neighbours or ()) + 1
    if columns > MOST_IMAGES:
        raise ConfigError(f"--plot draws {MOST_IMAGES} images at most: give --neighbours {MOST_IMAGES - 1} or fewer")
    shown = fine[: MOST_IMAGES // columns]
    near = [each for prediction in shown for each in prediction.neighbours or ()]
    known = iter(images_of(predictor.run, near))
    reading: dict[str, Any] = {"longest": LONGEST_SIDE, "value_range": predictor.transform.value_range}
    images: list[Any] = []
    titles: list[str] = []
    names: list[str] = []
    for prediction in shown:
        images.append(load_image(prediction.source, predictor.in_shape[0], **reading))
        titles.append(_title(prediction).replace(" | ", "\n"))
        names.append(Path(prediction.source).name)
        for each in prediction.neighbours or ():
            images.append(next(known))
            titles.append(f"{printable(number(each.truth))}\ndistance {short(each.distance)}")
            names.append(Path(each.file).name if each.file else f"sample {each.sample:,}")
    note = f"the first {len(shown)} of {len(fine)} inputs" if len(shown) < len(fine) else ""
    return draw_grid(images, titles, names=names, columns=min(columns, 6) if len(shown) == 1 else columns, note=note)


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
    if prediction.neighbours is not None:
        row |= {"alike": _alike(prediction)} if prediction.top else {}
        for rank, each in enumerate(prediction.neighbours, start=1):
            row |= {f"neighbour_{rank}": each.file or each.sample, f"truth_{rank}": each.truth}
            row[f"distance_{rank}"] = each.distance
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
