"""The application: which address does what. No answer names a path of this machine."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response

from dlworkflow._version import __version__
from dlworkflow.errors import DataError, reason_of, short
from dlworkflow.files.text import printable, without_places
from dlworkflow.inference.base import BasePredictor
from dlworkflow.inference.prediction import Prediction
from dlworkflow.inference.server.answers import LATE, Json, Refused, failed
from dlworkflow.inference.server.description import HEALTH, INFO, PREDICT
from dlworkflow.inference.server.guard import HEADERS, Guard
from dlworkflow.inference.server.limits import Limits
from dlworkflow.inference.server.pages import PageFile, api_page, page_files
from dlworkflow.inference.server.reading import Body, read_rows, read_uploads
from dlworkflow.inference.server.room import Room
from dlworkflow.inference.server.service import Service

_log = logging.getLogger("dlworkflow")


def make_app(
    predictor: BasePredictor,
    limits: Limits | None = None,
    *,
    about: dict[str, Any] | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """Return an ASGI application that predicts with `predictor`, to be run by uvicorn or mounted in another.

    `about` is added to what `/info` answers. With `hosts`, only requests to one of these names are answered, as
    `localhost`; by default to any.
    """
    app = FastAPI(title=f"dlworkflow, {_shown(predictor)}", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=hosts)
    app.exception_handler(Refused)(_refused)
    app.exception_handler(HTTPException)(_no_such_address)
    app.exception_handler(Exception)(_broken)
    _add_addresses(app, predictor, limits or Limits(), about or {})
    _add_page(app)
    return app


def _add_addresses(app: FastAPI, predictor: BasePredictor, limits: Limits, about: dict[str, Any]) -> None:
    service, room = Service(predictor, limits), Room(limits)
    facts = _facts(predictor) | about | {"limits": asdict(limits)}

    @app.get("/health", **HEALTH)
    async def health() -> Response:
        return Json({"status": "ok"})

    @app.get("/info", **INFO)
    async def info() -> Response:
        return Json(facts)

    @app.post("/predict", **PREDICT)
    async def predict(
        request: Request,
        top_k: Annotated[str, Query(description="Number of likeliest classes to answer, or all.")] = "5",
    ) -> Response:
        body = Body(request, limits)
        try:
            with room.taken() as hold:
                most = _count(top_k)
                if predictor.kind == "image":
                    found = service.of_images(await read_uploads(body, hold), most)
                else:
                    found = service.of_rows(await read_rows(body, hold), most)
                async with asyncio.timeout(limits.seconds):
                    return _answer(await found)
        except TimeoutError:
            raise Refused(LATE, f"not predicted within {limits.seconds:g} s; try again") from None
        except DataError as error:
            raise Refused(422, str(error)) from None
        except Refused:
            await body.drop_rest()
            raise
        except ClientDisconnect:
            return Response()  # to nobody

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(api_page(app.openapi()))


def _facts(predictor: BasePredictor) -> dict[str, Any]:
    """Return what a client must know of a model to ask it, and to read its answers."""
    columns = predictor.columns
    return {
        "version": __version__,
        "backend": predictor.backend,
        "model": _shown(predictor),
        "kind": predictor.kind,
        "task": predictor.task.name,
        "classes": predictor.classes,
        "thresholds": predictor.thresholds,
        "in_shape": predictor.in_shape,
        "columns": columns and [{"name": each.name, "categories": each.categories} for each in columns.inputs],
        "target": columns and columns.target,
    }


def _shown(predictor: BasePredictor) -> str:
    """Return a model's name; that of a file is without its folder."""
    return without_places(predictor.name)


def _count(top_k: str) -> int:
    """Return how many classes to answer. Raises Refused for what is no number of them."""
    if top_k == "all":
        return sys.maxsize
    if not (top_k.isascii() and top_k.isdecimal() and len(top_k) < 10 and int(top_k)):
        raise Refused(400, f"top_k: must be a whole number of at least 1, or all, not {short(printable(top_k), 60)!r}")
    return int(top_k)


def _answer(predictions: list[Prediction]) -> Response:
    """Return the answer with some predictions. Raises Refused where the only input could not be read."""
    if len(predictions) == 1 and predictions[0].error is not None:
        raise Refused(422, f"{predictions[0].source!r}: {predictions[0].error}")
    return Json({"predictions": [prediction.as_object() for prediction in predictions]})


def _add_page(app: FastAPI) -> None:
    def add(address: str, file: PageFile) -> None:
        async def send() -> Response:
            return Response(file.content, media_type=file.media_type)

        app.get(address, include_in_schema=False)(send)

    for name, file in page_files().items():
        add("/" if name == "index.html" else f"/{name}", file)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return failed(error.status, str(error))


async def _no_such_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = short(printable(request.url.path), 60)
    if error.status_code == 404:
        return failed(404, f"there is no {path!r} here; /docs lists what there is")
    return failed(error.status_code, f"{request.method} {path}: {error.detail}")


async def _broken(_: Request, error: Exception) -> Response:
    _log.error("a request failed: unexpected %s (a bug)", reason_of(error))
    answer = failed(500, "the server could not answer; its terminal shows why")
    answer.headers.update(HEADERS)  # it is sent from outside of Guard
    return answer
