"""`dlw guide`: the manual, page by page; what it prints is Markdown."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from dlworkflow.cli.options import say
from dlworkflow.cli.tables import render
from dlworkflow.errors import ConfigError, DlwError
from dlworkflow.guide import ENGLISH, LANGUAGES, is_translated, page, pages, search


def _complete(incomplete: str) -> list[str]:
    return [name for name in pages() if name.startswith(incomplete)]


def guide(
    name: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="Page to print [default: list all pages].", autocompletion=_complete),
    ] = None,
    word: Annotated[
        str | None,
        typer.Option("--search", metavar="WORD", help="Print the lines that contain this text."),
    ] = None,
    language: Annotated[
        Literal["en", "zh"] | None,
        typer.Option("--lang", help="Language, where a page is translated [default: that of LC_ALL or LANG, else en]."),
    ] = None,
) -> None:
    """Print a page of the guide, or list the pages.

    \b
    dlw guide
    dlw guide transfer
    dlw guide --search mixup
    """
    chosen = language or _usual_language()
    if word is not None:
        if name is not None or not word.strip():
            raise ConfigError("--search: give a word to look for in all pages, and no PAGE")
        found = search(word, chosen)
        if not found:
            raise DlwError(f"--search: no page of the guide contains {word!r}; `dlw guide` lists the pages")
        for where, number, line in found:
            typer.echo(f"{where}:{number}: {line}")
    elif name is None:
        rows = [{"page": key, "about": title} for key, title in pages(chosen).items()]
        typer.echo(render(rows, {"page": "page", "about": "about"}))
    else:
        text = page(name, chosen)
        typer.echo(text, nl=False)
        if not is_translated(name, chosen):
            say(f"{name}: this page is not translated to {chosen!r}; it is printed in English")


def _usual_language() -> str:
    """Return the language of the terminal, as LC_ALL, LC_MESSAGES or LANG name it: zh_CN.UTF-8 is zh."""
    locale = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
    return next((known for known in LANGUAGES if locale.casefold().startswith(known)), ENGLISH)
