"""A document as a page: HTML that needs no other file, or Markdown beside a folder of its pictures. Knows no run.

Every text is escaped: names of classes and files cannot be markup, and no absolute path is left in them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dlworkflow.analysis.report.document import Document, Picture, pictures_in
from dlworkflow.errors import DlwError, not_installed
from dlworkflow.files.text import printable, without_places

if TYPE_CHECKING:
    from jinja2 import Environment

_START = re.compile(r"^(?:(\d+)(?=[.)](?:\s|$))|(?=[-+>=](?:[-=\s]|$)))")  # of what would be a list, a quote or a line
_TEMPLATES = Path(__file__).parent / "templates"


class _Written(str):
    """A text that is in the language of the page already: nothing in it is escaped again."""

    def __html__(self) -> str:
        return self


def as_html(document: Document) -> str:
    """Return one HTML page with its figures and its style inside; it loads nothing and runs no script.

    Raises DlwError where jinja2 is not installed.
    """
    style = _Written((_TEMPLATES / "report.css").read_text(encoding="utf-8"))
    page = _environment(escape, lambda code: f"<code>{escape(code)}</code>").get_template("report.html")
    return page.render(document=document, style=style)


def as_markdown(document: Document, places: Mapping[Picture, str]) -> str:
    """Return Markdown; `places` are the addresses of its pictures, without one it is left out.

    Raises DlwError where jinja2 is not installed.
    """
    page = _environment(_markdown, _code).get_template("report.md")
    return re.sub(r"\n{3,}", "\n\n", page.render(document=document, places=places)).strip() + "\n"


def picture_names(document: Document) -> dict[Picture, str]:
    """Return the names of the files of all pictures, numbered in their order."""
    every = list(pictures_in(document.sections))
    return {picture: f"{n:02d}-{picture.name}.{picture.suffix}" for n, picture in enumerate(every, start=1)}


def _environment(as_text: Callable[[str], str], as_code: Callable[[str], str]) -> Environment:
    """Return the templates of a language that writes a text and the code within one so."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise DlwError(not_installed("a report", "jinja2", "report")) from None

    def written(value: object) -> object:
        return value if hasattr(value, "__html__") else _Written(as_text(_safe(value)))

    def prose(text: str) -> _Written:
        """Return a sentence in which what is in backquotes is code."""
        parts = _safe(text).split("`")
        if len(parts) % 2 == 0:  # the last one stands alone, as in a name
            parts[-2:] = ["`".join(parts[-2:])]
        return _Written("".join(as_code(part) if n % 2 else as_text(part) for n, part in enumerate(parts)))

    environment = Environment(
        autoescape=True,
        finalize=written,
        undefined=StrictUndefined,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": prose, "address": _address, "block": _block, "cell": _cell, "raw": _Written}
    return environment


def _safe(value: object) -> str:
    """Return a text without control characters and without places on a machine."""
    return without_places("\n".join(map(printable, str(value).split("\n"))))


def _address(picture: Picture) -> _Written:
    return _Written(f"data:image/{picture.suffix};base64,{base64.b64encode(picture.content).decode()}")


def _markdown(text: str) -> str:
    """Return a text of which nothing is taken for markup, on one line."""
    line = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", escape(text, quote=False).replace("\n", "; "))
    return _START.sub(lambda found: f"{found[1] or ''}\\", line)


def _code(text: str) -> str:
    """Return what was in backquotes as code in Markdown, on one line: an empty line would end it."""
    return f"`{text}`".replace("\n", " ")


def _block(command: str) -> _Written:
    """Return a command as a block of code in Markdown: nothing in it can end the block."""
    text = _safe(command)
    fence = "`" * max(3, *(len(found) + 1 for found in re.findall("`+", text)), 3)
    return _Written(f"{fence}sh\n{text}\n{fence}")


def _cell(command: str) -> _Written:
    """Return a command as code in a cell of Markdown, where it has no backquote."""
    text = _safe(command)
    return _Written(_markdown(text) if "`" in text else "`" + text.replace("|", "\\|") + "`")
