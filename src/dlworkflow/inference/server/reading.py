"""The body of a request, read in memory within the limits: image files of a form, or rows as JSON. Writes no file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from dlworkflow.errors import few, short
from dlworkflow.files.text import printable
from dlworkflow.inference.server.answers import Refused
from dlworkflow.inference.server.limits import Limits

_FIELD = "file"
_FORM, _JSON = "multipart/form-data", "application/json"
_LONGEST_NAME = 200  # characters of a file's name in an answer
_SECONDS_FOR_THE_REST = 5
_DEEPEST = 20  # levels of lists and objects in JSON; a row has no more than two
_NAMED = 5  # keys of an object, in an error

Content = TypeVar("Content")

Hold = Callable[[int], None]
"""Called with how many bytes of a body have arrived; raises Refused where there is no room for them."""


class Upload(NamedTuple):
    """An image file as it was sent: the name that the client gave it, safe to print, and its bytes."""

    name: str
    content: bytes


class Body:
    """The body of a request as it arrives. Raises Refused as soon as it is known to be too large or too slow."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self.headers, self.limits = request.headers, limits
        self._stream = request.stream()

    def check_type(self, wanted: str, way_out: str) -> None:
        """Raise Refused, with the way out, for a body of another content type."""
        given = self.headers.get("content-type", "")
        if given.partition(";")[0].strip().casefold() != wanted:
            found = f"content type {short(printable(given), 60)!r}" if given else "no content type"
            raise Refused(415, f"{found}; {way_out}")

    async def chunks(self, hold: Hold) -> AsyncGenerator[bytes, None]:
        """Yield the body in parts, each after a call of `hold`."""
        too_large = Refused(413, f"the request is too large; at most {self.limits.bytes:,} bytes")
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.limits.bytes:
            raise too_large
        n_bytes = 0
        async for chunk in self._stream:
            n_bytes += len(chunk)
            if n_bytes > self.limits.bytes:
                raise too_large
            hold(len(chunk))
            yield chunk

    async def in_time(self, reading: Awaitable[Content]) -> Content:
        """Return what is awaited, which reads the body."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await reading
        except TimeoutError:
            raise Refused(408, f"the request did not arrive within {self.limits.seconds:g} s") from None

    async def drop_rest(self) -> None:
        """Throw away what is still to come, for some seconds: a client that is sending reads no answer.

        One that waits with the body until it is asked for (`Expect: 100-continue`) keeps it.
        """
        if "expect" not in self.headers:
            with suppress(TimeoutError, ClientDisconnect):
                async with asyncio.timeout(_SECONDS_FOR_THE_REST):
                    async for _ in self._stream:
                        continue


async def read_uploads(body: Body, hold: Hold) -> list[Upload]:
    """Return the image files of a form. Raises Refused for any other body."""
    body.check_type(_FORM, f"send images as {_FORM} in the field {_FIELD!r}, as `curl -F {_FIELD}=@photo.jpg`")
    form = await body.in_time(_form(body, hold))
    try:
        return list(_uploads(form))
    finally:
        await form.close()


async def read_rows(body: Body, hold: Hold) -> list[Any]:
    """Return the `rows` of a JSON object, one or more, whatever each may be. Raises Refused for any other body."""
    body.check_type(_JSON, f'send rows as {_JSON}: {{"rows": [...]}}')
    content = await body.in_time(_whole(body, hold))
    try:
        given = await asyncio.to_thread(_parsed, content)
    except (ValueError, RecursionError) as error:
        reason = "is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"the body is no JSON: {short(printable(reason), 120)}") from None
    if not isinstance(given, dict) or set(given) != {"rows"}:
        names = few(printable(short(name, 60)) for name in islice(given, _NAMED)) if isinstance(given, dict) else ""
        found = f"an object with {names or 'nothing'}" if isinstance(given, dict) else type(given).__name__
        raise Refused(400, f'the body must be an object {{"rows": [...]}}, not {short(found)}')
    rows = given["rows"]
    if not isinstance(rows, list) or not rows:
        raise Refused(400, f"rows: must be a list of at least one row, not {printable(short(repr(rows), 60))}")
    if len(rows) > body.limits.rows:
        raise Refused(413, f"{len(rows):,} rows; at most {body.limits.rows:,} in a request")
    return rows


def _parsed(content: bytes) -> Any:
    """Return what JSON holds. Raises ValueError for what is none, RecursionError for what repr cannot write again."""
    given = json.loads(content)
    level = [given] if isinstance(given, list | dict) else []
    for _ in range(_DEEPEST):
        inner = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
        level = [value for value in inner if isinstance(value, list | dict)]
    if level:
        raise RecursionError
    return given


async def _whole(body: Body, hold: Hold) -> bytes:
    return b"".join([chunk async for chunk in body.chunks(hold)])


class _InMemory(MultiPartParser):
    """Keeps files in memory, which `_chunks` bounds: large ones would go to the disk."""

    spool_max_size = max_file_size = 2**62  # the second is its name before Starlette 0.46


async def _form(body: Body, hold: Hold) -> FormData:
    most = body.limits.files
    parser = _InMemory(body.headers, body.chunks(hold), max_files=most, max_fields=most)
    try:
        return await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refused(413, f"too many files; at most {most} in a request") from None
        raise Refused(400, f"the form cannot be read: {short(printable(error.message), 120)}") from None
    except UnicodeError:  # of the charset that the content type names
        raise Refused(400, "the form cannot be read: a name in it is not of its charset") from None


def _uploads(form: FormData) -> Iterator[Upload]:
    """Yield the files of a form. Raises Refused for one with anything else, or without a file."""
    for index, (name, value) in enumerate(form.multi_items()):
        if name != _FIELD:
            raise Refused(400, f"unknown field {short(printable(name), 60)!r}; send images in the field {_FIELD!r}")
        if not isinstance(value, UploadFile):
            raise Refused(400, f"the field {_FIELD!r} has text and no file; with curl: -F {_FIELD}=@photo.jpg")
        yield Upload(_shown(value.filename, index), value.file.read())
    if not form:
        raise Refused(400, f"no file; send images in the field {_FIELD!r}")


def _shown(name: str | None, index: int) -> str:
    """Return a file's name in answers: as the client gave it, without characters that control a terminal."""
    return short(printable(name or ""), _LONGEST_NAME) or f"image {index}"
