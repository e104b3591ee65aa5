"""Text that is safe to print, to write and to type: names, CSV cells, JSON, commands. Knows nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence

LABEL_SEPARATOR = "|"
"""What separates the labels of a sample that has several, in a file and in what is printed."""


def printable(text: object) -> str:
    """Return a text with control characters as escapes, so that a file name cannot control the terminal."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a Chinese character, none for a combining mark."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(wcswidth(text), 0)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text with spaces up to a width on a terminal: after it, or before it with `right`."""
    gap = " " * (width - display_width(text))
    return gap + text if right else text + gap


_HOME, _ROOT = r"(?:~[\w.-]*[/\\]|\.\.[/\\]|[A-Za-z]:[/\\]|\\\\)", r"/(?!/)"
_NAME = r"[^\s/\\'\"`,;:()<>]"
_QUOTED_PATH = re.compile(
    rf"""(?P<quote>['"`])(?:{_HOME}|{_ROOT})(?:(?!(?P=quote))[^\n])*?(?P<last>[^/\\'"`]+)[/\\]?(?P=quote)"""
)
_BARE_PATH = re.compile(rf"(?<![\w./\\<~-])(?:{_HOME}(?:{_NAME}+[/\\])*|{_ROOT}(?:{_NAME}+[/\\])+)(?P<last>{_NAME}*)")


def without_places(text: str) -> str:
    """Return a text in which each path from a root, a home or `..` is cut to its last name: it may name a user."""
    text = _QUOTED_PATH.sub(lambda found: f"{found['quote']}{found['last']}{found['quote']}", text)
    return _BARE_PATH.sub(
        lambda found: found["last"] or found[0].rstrip("/\\").replace("\\", "/").rpartition("/")[2], text
    )


def json_text(data: object, *, indent: int | None = None) -> str:
    """Return JSON with all letters as they are and control characters as escapes, which read back the same."""
    lines = json.dumps(data, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def csv_cell(value: object) -> object:
    """Return a value for a CSV file: a spreadsheet does not run a text that starts like a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _are_numbers(value):
        return f"'{value}"
    return "" if value is None else value


def text_of_cell(cell: str) -> str:
    """Return the text that `csv_cell` wrote."""
    return cell[1:] if cell[:1] == "'" and csv_cell(cell[1:]) == cell else cell


def shell_command(words: Sequence[str]) -> str:
    """Return a command as the user's shell reads it: quoted for POSIX shells or, on Windows, for cmd and PowerShell."""
    return shlex.join(words) if os.name == "posix" else " ".join(map(_quoted_on_windows, words))


def _quoted_on_windows(word: str) -> str:
    if re.fullmatch(r"[\w.:/\\=+-]+", word):
        return word
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ("\\" + found[2] if found[2] else ""), word)
    return f'"{escaped}"'


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _are_numbers(text: str) -> bool:
    try:
        return [float(part) for part in text.split()] != []
    except ValueError:
        return False
