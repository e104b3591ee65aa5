"""Answers of the server: JSON in one line, errors as `{"error": "..."}`."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from dlworkflow.files.text import json_text

BUSY = 429
LATE = 503


class Refused(Exception):  # noqa: N818 - an answer, and no error of the program
    """Ends a request with a `status` of HTTP and one line for its client."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


class Json(Response):
    """A response of JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return a line of JSON in UTF-8; what UTF-8 cannot hold is escaped."""
        return f"{json_text(content)}\n".encode()


def failed(status: int, text: str) -> Json:
    """Return the answer to a request that is not answered as asked; a busy server says when to try again."""
    return Json({"error": text}, status, {"retry-after": "1"} if status in (BUSY, LATE) else None)
