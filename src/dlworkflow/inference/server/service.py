"""A predictor that answers many requests at once: images are decoded on all cores and predicted in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dlworkflow.data.images.decoding import ImageError, TooManyPixelsError
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.errors import DataError, plain
from dlworkflow.inference.base import BasePredictor
from dlworkflow.inference.prediction import Prediction
from dlworkflow.inference.rows import rows_of
from dlworkflow.inference.server.batching import Batches
from dlworkflow.inference.server.limits import Limits
from dlworkflow.inference.server.reading import Upload

_ROWS_AT_ONCE = 1024  # in a batch: a row takes a model microseconds


class _Item(NamedTuple):
    """An image as uint8 (c, h, w) at the size of the model, or a row; its name, and how many classes to answer."""

    content: Any
    source: str
    top_k: int


class Service:
    """Predicts for the requests of a server. It works within `running`."""

    def __init__(self, predictor: BasePredictor, limits: Limits) -> None:
        self.predictor, self._limits = predictor, limits
        self._of_images = predictor.kind == "image"
        size = limits.batch_size if self._of_images else max(_ROWS_AT_ONCE, limits.batch_size)
        self._batches: Batches[_Item, Prediction] = Batches(self._predict, size)
        self._decoders = ThreadPoolExecutor(os.cpu_count(), "decode")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer within the block."""
        async with self._batches.running():
            yield
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def images(self, uploads: Sequence[Upload], top_k: int) -> list[Prediction]:
        """Predict image files; one that cannot be read is a prediction with `error`."""
        loop = asyncio.get_running_loop()
        decoding = (loop.run_in_executor(self._decoders, self._decoded, upload) for upload in uploads)
        images = dict(zip(uploads, await asyncio.gather(*decoding), strict=True))
        return images

    async def rows(self, rows: Sequence[Any], top_k: int) -> list[Prediction]:
        """Predict rows, as lists of numbers or as {column: value}. Raises DataError for what is no row of the model."""
