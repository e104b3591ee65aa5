"""A request that is not answered as asked: its status and the reason in one line."""

from __future__ import annotations

BUSY = 429


class Refused(Exception):  # noqa: N818 - an answer, and no error of the program
    """Ends a request with a `status` of HTTP and one line for its client."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)
