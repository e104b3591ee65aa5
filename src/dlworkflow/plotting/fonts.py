"""Fonts for letters that matplotlib's own font lacks: installed ones are appended to its family. Ships no font."""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

_log = logging.getLogger(__name__)

CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti TC", "STHeiti", "Microsoft YaHei", "SimHei", "DengXian"),
    *("Noto Sans CJK JP", "Noto Sans CJK TC", "Droid Sans Fallback", "Arial Unicode MS"),
)
"""Fonts with Chinese characters on Linux, macOS and Windows, most also with kana and Hangul; the first is taken."""

EXAMPLE = "for example Debian's package fonts-noto-cjk for Chinese, Japanese and Korean"

_NOT_READABLE = re.compile(r"^Last ?Resort|color ?emoji", re.IGNORECASE)
_SHOW_NOTHING = ("Cc", "Cf", "Mn")
"""Unicode's categories of characters whose glyph nobody misses: controls, joiners, variation selectors."""

_appended: list[str] = []
_is_reported = False


def complete(figure: Figure) -> None:
    """Give each text of a figure the fonts that its letters need, also a text that is older than the choice of fonts.

    A text takes its fonts from matplotlib's settings when it is made, long before it is drawn.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    provide("".join(text.get_text() for text in texts))
    for text in texts if _appended else ():
        families = text.get_fontfamily()
        text.set_fontfamily([*families, *(name for name in _appended if name not in families)])


def provide(text: str = "") -> None:
    """Append installed fonts to matplotlib's `font.family` until it has each letter of `text`.

    A Chinese font is appended in any case: a title that a user adds later is not seen here. Letters that no installed
    font has are reported once, in one line; matplotlib's own warning for each of them is turned off.
    """
    if (usual := _usual_family()) is not None:
        _append(usual)
    letters = {letter for letter in text if not letter.isascii()}
    missing = _missing(letters, _current_files()) if letters else letters
    for family, file in _installed() if missing else ():
        left = _missing(missing, (file,))
        if left != missing:
            _append(family)
        if not (missing := left):
            return
    if missing:
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        _report(missing)


def _append(family: str) -> None:
    if family not in rcParams["font.family"]:
        rcParams["font.family"] = [*rcParams["font.family"], family]
    if family not in _appended:
        _appended.append(family)


@cache
def _usual_family() -> str | None:
    """Return the Chinese font to use, None where none is known to be installed."""
    names = {entry.name for entry in fontManager.ttflist}
    return next((name for name in CHINESE if name in names), None)


def _current_files() -> tuple[str, ...]:
    """Return the files of the fonts that matplotlib's settings name."""
    files = []
    for family in rcParams["font.family"]:
        try:
            files.append(str(fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False)))
        except ValueError:  # the user named one that is not installed
            continue
    return tuple(files)


def _missing(letters: Collection[str], files: Iterable[str]) -> set[str]:
    """Return the letters that none of some font files has."""
    return {letter for letter in letters if not any(_has(file, letter) for file in files)}


@lru_cache(maxsize=65536)
def _has(file: str, letter: str) -> bool:
    try:
        return bool(get_font(file).get_char_index(ord(letter)))
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
        return False


def _installed() -> Iterator[tuple[str, str]]:
    """Yield family and file of each installed font, Chinese ones first; then of those newer than matplotlib's list."""
    yield from _families()
    if new := _take_new_fonts():
        yield from (found for found in _families() if found[1] in new)


def _families() -> list[tuple[str, str]]:
    """Return family and file of the fonts that matplotlib lists, those of normal weight before others.

    Left out are colour emoji, bitmaps which matplotlib does not draw, and its own font of boxes.
    """
    listed = [entry for entry in fontManager.ttflist if not _NOT_READABLE.search(entry.name)]
    listed.sort(key=lambda entry: (entry.weight not in (400, "normal", "regular"), entry.style != "normal", entry.name))
    files: dict[str, str] = {}
    for entry in listed:
        files.setdefault(entry.name, entry.fname)
    rank = {name: number for number, name in enumerate(CHINESE)}
    return sorted(files.items(), key=lambda found: rank.get(found[0], len(rank)))


@cache
def _take_new_fonts() -> frozenset[str]:
    """Add to matplotlib's list, which it stores, the fonts installed since; return their files. Once per process."""
    known = {Path(entry.fname) for entry in fontManager.ttflist}
    new = [file for file in findSystemFonts() if Path(file) not in known]
    for file in new:
        try:
            fontManager.addfont(file)
        except Exception as error:  # noqa: BLE001 - a font file may be wrong in any way
            _log.debug("cannot read the font %s: %s", file, error)
    return frozenset(new)


def _report(missing: Collection[str]) -> None:
    """Report once per process that letters are drawn as boxes."""
    global _is_reported
    shown = "".join(sorted(letter for letter in missing if unicodedata.category(letter) not in _SHOW_NOTHING))
    if shown and not _is_reported:
        _is_reported = True
        _log.warning("no installed font has %s: figures show boxes instead; install one, %s", shown[:20], EXAMPLE)
