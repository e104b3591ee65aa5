"""What tests of the server share: a predictor without torch, images, and requests that need no port."""

from __future__ import annotations

import asyncio
import io
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

from dlworkflow.data.columns import Column, Columns
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.engine.tasks import get_task
from dlworkflow.inference.base import Answers, BasePredictor


class Brightness(BasePredictor):
    """Predicts images as dark or light, by their mean; keeps the size of each batch, and runs `before` it."""

    task, classes, in_shape = get_task("multiclass"), ("dark", "light"), (3, 4, 4)
    transform, thresholds, columns = Pipeline(size=(4, 4)), (), None
    name, backend = "run 'brightness-001'", "numpy"

    def __init__(self, before=lambda: None):
        self.batches, self.before = [], before

    def _mirrored(self, tta):
        return self

    def _of_pixels(self, images):
        self.batches.append(len(images))
        self.before()
        light = images.mean(axis=(1, 2, 3)) / 255
        return Answers(np.stack([1 - light, light], axis=1))

    def _of_numbers(self, rows):
        self.batches.append(len(rows))
        return Answers(rows.sum(axis=1, keepdims=True))

    def _of_cells(self, rows):
        inputs, wrong = self.columns.encode(rows)
        return self._of_numbers(inputs), wrong


class Sums(Brightness):
    """A regression: the sum of two numbers."""

    task, classes, in_shape, transform = get_task("regression"), (), (2,), None


class Houses(Sums):
    """A regression on a table of an area and a city."""

    columns = Columns((Column("area"), Column("city", categories=("Bonn", "Rome"))), target="price")
    in_shape = (3,)


@pytest.fixture
def predictors():
    """The classes of the predictors above."""
    return SimpleNamespace(Brightness=Brightness, Sums=Sums, Houses=Houses)


@pytest.fixture
def image():
    """Return the bytes of a grey PNG of a shade, 0 to 255."""

    def make(shade=255, size=(9, 7)):
        stream = io.BytesIO()
        Image.new("L", size, shade).save(stream, "PNG")
        return stream.getvalue()

    return make


@pytest.fixture
def client():
    """Return a client of an application, to be used within its event loop."""

    def of(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=None)

    return of


@pytest.fixture
def ask(client):
    """Send one request to an application and return its answer."""

    def send(app, method, path, **given):
        async def one():
            async with client(app) as own:
                return await own.request(method, path, **given)

        return asyncio.run(one())

    return send
