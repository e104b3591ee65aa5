"""The body of a request, read in memory within the limits: image files of a form, or rows as JSON. Writes no file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from dlworkflow.errors import few, short
from dlworkflow.files.text import printable
from dlworkflow.inference.server.limits import Limits
from dlworkflow.inference.server.answers import Refused

_FIELD = "file"
_FORM, _JSON = "multipart/form-data", "application/json"
_LONGEST_NAME = 200  # characters of a file's name in an answer

Hold = Callable[[int], None]
"""Called with how many bytes of a body have arrived; raises Refused where there is no room for them."""


class Upload(NamedTuple):
    """An image file as it was sent: the name that the client gave it, safe to print, and its bytes."""

    name: str
    content: bytes


async def read_uploads(request: Request, limits: Limits, hold: Hold) -> list[Upload]:
    """Return the image files of a form. Raises Refused for any other body."""
    _check_type(request, _FORM, f"send images as {_FORM} in the field {_FIELD!r}, as `curl -F {_FIELD}=@photo.jpg`")
    form = await _in_time(_form(request, limits, hold), limits)
    uploads = []
    for name, value in form.multi_items():
        if name != _FIELD:
            raise Refused(400, f"unknown field {short(printable(name), 60)!r}; send images in the field {_FIELD!r}")
        if not isinstance(value, UploadFile):
            raise Refused(400, f"the field {_FIELD!r} has text and no file; with curl: -F {_FIELD}=@photo.jpg")
        uploads.append(Upload(_shown(value.filename, len(uploads)), value.file.read()))
        value.file.close()
    if not uploads:
        raise Refused(400, f"no file; send images in the field {_FIELD!r}")
    return uploads


async def read_rows(request: Request, limits: Limits, hold: Hold) -> list[Any]:
    """Return the `rows` of a JSON object, one or more, whatever each may be. Raises Refused for any other body."""
    _check_type(request, _JSON, f'send rows as {_JSON}: {{"rows": [...]}}')
    body = await _in_time(_whole(request, limits, hold), limits)
    try:
        given = await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError) as error:
        reason = "is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"the body is no JSON: {short(printable(reason), 120)}") from None
    if not isinstance(given, dict) or set(given) != {"rows"}:
        found = f"an object with {few(map(printable, given))}" if isinstance(given, dict) else type(given).__name__
        raise Refused(400, f'the body must be an object {{"rows": [...]}}, not {short(found)}')
    rows = given["rows"]
    if not isinstance(rows, list) or not rows:
        raise Refused(400, f"rows: must be a list of at least one row, not {short(printable(repr(rows)), 60)}")
    if len(rows) > limits.rows:
        raise Refused(413, f"{len(rows):,} rows; at most {limits.rows:,} in a request")
    return rows


def _check_type(request: Request, wanted: str, way_out: str) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().casefold() != wanted:
        raise Refused(415, f"content type {short(printable(given), 60) or 'missing'}; {way_out}")


async def _in_time(reading: Awaitable[Any], limits: Limits) -> Any:
    try:
        async with asyncio.timeout(limits.seconds):
            return await reading
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {limits.seconds:g} s") from None


async def _chunks(request: Request, limits: Limits, hold: Hold) -> AsyncGenerator[bytes, None]:
    """Yield a body as it arrives. Raises Refused as soon as it is known to be too large."""
    too_large = Refused(413, f"the request is too large; at most {limits.bytes:,} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.bytes:
        raise too_large
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > limits.bytes:
            raise too_large
        hold(len(chunk))
        yield chunk


async def _whole(request: Request, limits: Limits, hold: Hold) -> bytes:
    return b"".join([chunk async for chunk in _chunks(request, limits, hold)])


class _InMemory(MultiPartParser):
    """Keeps files in memory, which `_chunks` bounds: large ones would go to the disk."""

    spool_max_size = max_file_size = 2**62  # the second is its name before Starlette 0.46


async def _form(request: Request, limits: Limits, hold: Hold) -> FormData:
    parser = _InMemory(request.headers, _chunks(request, limits, hold), max_files=limits.files, max_fields=limits.files)
    try:
        return await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refused(413, f"too many files; at most {limits.files} in a request") from None
        raise Refused(400, f"the form cannot be read: {short(printable(error.message), 120)}") from None


def _shown(name: str | None, index: int) -> str:
    """Return a file's name in answers: as the client gave it, without characters that control a terminal."""
    return short(printable(name or ""), _LONGEST_NAME) or f"image {index}"
