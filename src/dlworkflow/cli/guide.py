"""`dlw guide`: pages of the guide, formatted on a terminal, as Markdown elsewhere; knows none of them by name."""

from __future__ import annotations

import os
import re
import sys
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dlworkflow.cli.options import say
from dlworkflow.cli.tables import print_table
from dlworkflow.errors import ConfigError, DlwError
from dlworkflow.guide import ENGLISH, LANGUAGES, is_translated, page, pages, search

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown

_WIDEST = 100  # columns of formatted prose


def _complete(incomplete: str) -> list[str]:
    return [name for name in pages() if name.startswith(incomplete)]


def guide(
    name: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="Page to print [default: list all pages].", autocompletion=_complete),
    ] = None,
    word: Annotated[
        str | None,
        typer.Option("--search", metavar="WORD", help="Print all lines with this text, in upper or lower case."),
    ] = None,
    language: Annotated[
        Literal["en", "zh"] | None,
        typer.Option("--lang", help="Language, where a page is translated [default: from LC_ALL or LANG, else en]."),
    ] = None,
) -> None:
    """List the pages of the guide, print one, or search them.

    A terminal shows a formatted page; a pipe or a file gets its Markdown.

    \b
    dlw guide
    dlw guide transfer
    dlw guide --search mixup
    """
    chosen = language or _usual_language()
    if word is not None:
        if name is not None or not word.strip():
            raise ConfigError("--search: needs a word and takes no PAGE: it searches all pages")
        found = search(word, chosen)
        if not found:
            raise DlwError(f"--search: no page of the guide contains {word!r}; `dlw guide` lists the pages")
        for where, number, line in found:
            typer.echo(f"{where}:{number}: {line}")
    elif name is None:
        rows = [{"page": key, "about": title} for key, title in pages(chosen).items()]
        print_table(rows, {"page": "page", "about": "about"})
    else:
        text = page(name, chosen)
        if sys.stdout.isatty():
            _print_formatted(text)
        else:
            typer.echo(text, nl=False)
        if not is_translated(name, chosen):
            say(f"{name}: this page is not translated to {chosen!r}; it is printed in English")


def _print_formatted(text: str) -> None:
    """Print Markdown for a terminal: prose and tables fit its width, code keeps its lines so that it can be copied."""
    from rich.console import Console

    for part in re.split(r"^(```.*?^```)\n", text, flags=re.DOTALL | re.MULTILINE):
        if part.startswith("```"):
            typer.echo(indent("\n".join(part.splitlines()[1:-1]), "    ") + "\n")
        elif part.strip():
            without_links = re.sub(r"!?\[([^\]]*)\]\([^)]+\)", r"*\1*", part)
            Console(width=min(Console().width, _WIDEST)).print(_formatted(without_links), "")


def _formatted(text: str) -> Markdown:
    """Return Markdown whose tables break long words over lines; by default rich cuts them."""
    from rich import markdown
    from rich.table import Table

    class FoldedTable(markdown.TableElement):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                for column in part.columns if isinstance(part, Table) else ():
                    column.overflow = "fold"
                yield part

    page = markdown.Markdown(text)
    page.elements = {**page.elements, "table_open": FoldedTable}  # type: ignore[misc]
    return page


def _usual_language() -> str:
    """Return the language that LC_ALL, LC_MESSAGES or LANG names: zh_CN.UTF-8 is zh."""
    locale = next((os.environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(key)), "")
    return next((known for known in LANGUAGES if locale.casefold().startswith(known)), ENGLISH)
