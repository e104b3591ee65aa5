"""Colours of what is printed: only on a terminal that has them, each stream on its own. Knows no command."""

from __future__ import annotations

import os
from typing import Any

import typer

BEST, WARNING, ERROR = "green", "yellow", "red"
_STARTS = {"warning": WARNING, "warning:": WARNING, "dlw:": ERROR}
"""The first word of a line for people -> its colour."""


def has_colours(stream: Any) -> bool:
    """Return whether a stream shows colours: a terminal, unless TERM is dumb; NO_COLOR and FORCE_COLOR decide first."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return os.environ.get("TERM") != "dumb" and bool(stream.isatty())


def painted(text: str, colour: str, stream: Any) -> str:
    """Return a text in a colour for a stream that shows it, else as it is."""
    return typer.style(text, fg=colour) if has_colours(stream) else text


def with_painted_start(line: str, stream: Any) -> str:
    """Return a line for people, its first word in colour where that is `warning` or the name of a failing command."""
    first, space, rest = line.partition(" ")
    return painted(first, _STARTS[first], stream) + space + rest if first in _STARTS else line


def echo(text: str, stream: Any) -> None:
    """Print a text on a stream, with the colours in it where these are shown."""
    typer.echo(text, file=stream, color=has_colours(stream))
