"""What a report consists of: sections of texts, tables, pictures and commands, as plain data. Knows no run, no page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dlworkflow.files.numbers import is_number


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Points:
    """Sentences below each other, as a list, or as warnings."""

    lines: Sequence[str]
    warning: bool = False
    kind: ClassVar[str] = "points"


@dataclass(frozen=True)
class Command:
    """A line to be typed."""

    text: str
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Table:
    """Rows of cells; `columns` is {key: heading} in order. The first column names its row."""

    caption: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    kind: ClassVar[str] = "table"

    @property
    def numeric(self) -> list[str]:
        """The columns whose cells are all numbers."""
        return [key for key in self.columns if all(is_number(str(row.get(key, ""))) for row in self.rows)]


@dataclass(frozen=True)
class Picture:
    """An image file's `content` (PNG or JPEG), `width` and `height` in pixels of the page, what it shows in words.

    A `tiny` one has so few pixels that they are drawn as squares.
    """

    name: str
    content: bytes
    width: int
    height: int
    alt: str
    caption: str = ""
    tiny: bool = False
    kind: ClassVar[str] = "picture"

    @property
    def suffix(self) -> str:
        """`png` or `jpeg`."""
        return "png" if self.content.startswith(b"\x89PNG") else "jpeg"


@dataclass(frozen=True)
class Gallery:
    """Pictures beside each other, each above its caption."""

    caption: str
    pictures: Sequence[Picture]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown when their title is clicked, and on paper."""

    title: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Section:
    """A heading and what is below it, sections among it."""

    title: str
    blocks: Sequence[Block] = ()
    kind: ClassVar[str] = "section"


Block = Text | Points | Command | Table | Picture | Gallery | Fold | Section


@dataclass(frozen=True)
class Document:
    """A report: its title, what matters most in a sentence or two, how it was made, and its sections."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    made: str = ""
    warnings: Sequence[str] = field(default=())


def pictures_in(blocks: Sequence[Block]) -> Iterator[Picture]:
    """Yield all pictures, in their order."""
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Gallery):
            yield from block.pictures
        elif isinstance(block, Section | Fold):
            yield from pictures_in(block.blocks)
