"""A predictor that answers many requests at once: images are decoded on all cores and predicted in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dlworkflow.data.images.decoding import ImageError, TooManyPixelsError
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.errors import DataError
from dlworkflow.files.text import without_places
from dlworkflow.inference.base import BasePredictor
from dlworkflow.inference.prediction import Prediction
from dlworkflow.inference.records import records_of
from dlworkflow.inference.rows import rows_of
from dlworkflow.inference.server.batching import Batches
from dlworkflow.inference.server.limits import Limits
from dlworkflow.inference.server.reading import Upload

_ROWS_AT_ONCE = 1024  # in a batch: a row takes a model microseconds


class _Item(NamedTuple):
    """An image, uint8 (c, h, w) at the size of the model, with its name, or a row; and how many classes to answer."""

    content: Any
    source: str
    top_k: int


class Service:
    """Predicts for the requests of a server."""

    def __init__(self, predictor: BasePredictor, limits: Limits) -> None:
        self.predictor, self._limits = predictor, limits
        size = limits.batch_size if predictor.kind == "image" else _ROWS_AT_ONCE
        self._batches: Batches[_Item, Prediction] = Batches(self._predict, size)
        self._decoders = ThreadPoolExecutor(os.cpu_count(), "decode")

    async def of_images(self, uploads: Sequence[Upload], top_k: int) -> list[Prediction]:
        """Predict image files; one that cannot be read is a prediction with `error`."""
        loop = asyncio.get_running_loop()
        read = await asyncio.gather(*(loop.run_in_executor(self._decoders, self._read, upload) for upload in uploads))
        found = list(zip((upload.name for upload in uploads), read, strict=True))
        items = [_Item(pixels, name, top_k) for name, pixels in found if isinstance(pixels, np.ndarray)]
        predictions = iter(await self._batches.answers(items))
        return [Prediction(name, error=got) if isinstance(got, str) else next(predictions) for name, got in found]

    async def of_rows(self, rows: Sequence[Any], top_k: int) -> list[Prediction]:
        """Predict rows: lists of numbers or, of a table, {column: value}. Raises DataError for anything else.

        A row of a table with an invalid value is a prediction with `error`.
        """
        return await self._batches.answers([_Item(row, "", top_k) for row in self._checked(rows)])

    def _read(self, upload: Upload) -> np.ndarray | str:
        """Return an image as it goes into a batch, or the reason why it cannot be read."""
        transform, channels = self.predictor.transform, self.predictor.in_shape[0]
        assert transform is not None
        try:
            image = transform.read(upload.name, channels, upload.content, max_pixels=self._limits.pixels)
        except TooManyPixelsError as error:
            return error.reason.partition(";")[0]  # without what the owner of the server may set
        except ImageError as error:
            return error.reason
        return to_bytes(image)

    def _checked(self, rows: Sequence[Any]) -> list[Any]:
        """Return rows of numbers as such, those of a table as {column: value}; no text is taken for a file's name."""
        columns, owner = self.predictor.columns, without_places(self.predictor.name)
        if not all(isinstance(row, list if columns is None else dict | list) for row in rows):
            wanted = "lists of numbers" if columns is None else "objects {column: value}, or all lists of numbers"
            raise DataError(f"rows: must all be {wanted}")
        if columns is None:
            return list(rows_of(rows, self.predictor.in_shape[0], owner=owner)[0])
        return list(records_of(rows, columns, owner=owner).rows)

    def _predict(self, items: Sequence[_Item]) -> list[Prediction]:
        """Predict a batch; every prediction has as many classes as its request asks for."""
        contents, most = [item.content for item in items], max(item.top_k for item in items)
        if self.predictor.kind == "image":
            sources = [item.source for item in items]
            found = self.predictor.predict_pixels(np.stack(contents), sources=sources, top_k=most)
        elif self.predictor.columns is not None:
            found = list(self.predictor.predict_records(contents, top_k=most))
        else:
            found = list(self.predictor.predict_rows(contents, top_k=most))
        return [replace(each, top=each.top[: item.top_k]) for each, item in zip(found, items, strict=True)]
