"""Names of files and classes as text that is safe to print and to write; knows nothing else."""

from __future__ import annotations

import json


def printable(text: object) -> str:
    """Return a text with control characters spelled out, so that a file's name cannot move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def json_text(data: object, *, indent: int | None = None) -> str:
    """Return JSON in the letters as they are, but with control characters as escapes, which read back the same."""
    lines = json.dumps(data, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(line if line.isprintable() else _escaped(line) for line in lines)


def csv_cell(value: object) -> object:
    """Return a value for a CSV file: a text that starts like a formula is kept from being one in a spreadsheet."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _are_numbers(value):
        return f"'{value}"
    return "" if value is None else value


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _are_numbers(text: str) -> bool:
    try:
        return all(float(part) is not None for part in text.split())
    except ValueError:
        return False
