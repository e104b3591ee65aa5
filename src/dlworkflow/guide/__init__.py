"""The guide: Markdown pages that ship with the package, by name; knows nothing of what they describe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from dlworkflow.errors import ConfigError, unknown

ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh")
FIRST = "start"


def pages(language: str = ENGLISH) -> dict[str, str]:
    """Return {name: title} of all pages, the start page first; in English where a page has no translation."""
    names = sorted(entry.name.removesuffix(".md") for entry in _folder().iterdir() if entry.name.endswith(".md"))
    return {name: _title(page(name, language)) for name in sorted(names, key=lambda name: name != FIRST)}


def page(name: str, language: str = ENGLISH) -> str:
    """Return the Markdown of a page, in English where it has no translation.

    Raises ConfigError for an unknown page, with the nearest name, or with how to search for it as a word.
    """
    names = [entry.name.removesuffix(".md") for entry in _folder().iterdir() if entry.name.endswith(".md")]
    if name not in names:
        lines = len(search(name)) if name.isalnum() else 0
        more = f"; `dlw guide --search {name}` finds {lines} lines" if lines else ""
        raise ConfigError(f"PAGE: {unknown('page of the guide', name, sorted(names))}{more}")
    source = _folder(language) if is_translated(name, language) else _folder()
    return (source / f"{name}.md").read_text(encoding="utf-8")


def is_translated(name: str, language: str) -> bool:
    """Return whether a page exists in a language."""
    return (_folder(language) / f"{name}.md").is_file()


def search(word: str, language: str = ENGLISH) -> list[tuple[str, int, str]]:
    """Return the lines that contain `word`, in upper or lower case: (page, line number from 1, line)."""
    wanted = word.casefold()
    return [
        (name, number, line.strip())
        for name in pages(language)
        for number, line in enumerate(page(name, language).splitlines(), start=1)
        if wanted in line.casefold()
    ]


def _folder(language: str = ENGLISH) -> Traversable:
    root = files("dlworkflow.guide")
    return root if language == ENGLISH else root / language


def _title(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")
