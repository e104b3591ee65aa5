"""What a user keeps with a run beside what it is: tags and a note. The training never writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dlworkflow.errors import ConfigError, RunError, first_line, short, unknown
from dlworkflow.files.locking import locked_file
from dlworkflow.files.paths import read_small_text
from dlworkflow.files.writing import write_text
from dlworkflow.runs.stored import Layout, Stored, damaged, read_object

NOTES_FORMAT = 1
SEPARATOR = ", "
"""What stands between the tags of a run where they are one text: no tag has a comma."""
NOTES = "notes.json"
_LOCK = ".notes.lock"
_LONGEST_TAG, _LONGEST_NOTE = 50, 2_000


@dataclass(frozen=True, kw_only=True)
class Notes(Stored):
    """The tags of a run, in the order in which they were given, and its note."""

    format: int = NOTES_FORMAT
    tags: list[str] = field(default_factory=list)
    note: str = ""

    def with_tags(self, *tags: str) -> Notes:
        """Return the notes with more tags. Raises ConfigError for what is no tag."""
        return replace(self, tags=list(dict.fromkeys([*self.tags, *map(checked_tag, tags)])))

    def without_tags(self, *tags: str) -> Notes:
        """Return the notes without these tags. Raises ConfigError for one that is not there."""
        for tag in tags:
            if tag not in self.tags:
                raise ConfigError(unknown("tag", tag, self.tags))
        return replace(self, tags=[tag for tag in self.tags if tag not in tags])

    def with_note(self, text: str) -> Notes:
        """Return the notes with another note, none for an empty text. Raises ConfigError for more than a line."""
        text = text.strip()
        if not text.isprintable() or len(text) > _LONGEST_NOTE:
            found = f"{short(text, 60)!r}, {len(text):,} characters"
            raise ConfigError(f"a note is one line of at most {_LONGEST_NOTE:,} characters, not {found}")
        return replace(self, note=text)


def checked_tag(tag: str) -> str:
    """Return a tag without the spaces around it. Raises ConfigError for what cannot be one."""
    found = tag.strip()
    if not found or "," in found or not found.isprintable() or found.startswith("-") or len(found) > _LONGEST_TAG:
        raise ConfigError(
            f"{short(tag, 60)!r} is no tag: one has 1 to {_LONGEST_TAG} characters, no comma and no line break, and "
            "starts with no dash"
        )
    return found


def read_notes(folder: Path) -> Notes:
    """Return the notes of the run in a folder, empty ones where it has none. Raises RunError where they are damaged."""
    file = folder / NOTES
    try:
        text = read_small_text(file)
    except (FileNotFoundError, NotADirectoryError):
        return Notes()
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(repr(str(file)), first_line(error)) from None
    data = read_object(text, source=repr(str(file)), name=folder.name, newest=NOTES_FORMAT)
    if fault := _LAYOUT.fault(data):
        raise damaged(repr(str(file)), fault)
    return Notes.from_data(data)


def change_notes(folder: Path, change: Callable[[Notes], Notes]) -> Notes:
    """Change the notes of a run, and return them; of two processes at once, one waits for the other.

    Raises RunError where they cannot be read or written, and what `change` raises.
    """
    with locked_file(folder / _LOCK) as held:
        if held is False:
            raise RunError(f"the notes of {folder.name} are being changed by another process")
        before = read_notes(folder)
        after = change(before)
        if after != before:
            write_text(folder / NOTES, json.dumps(after.to_data(), indent=1, ensure_ascii=False) + "\n")
    return after


_LAYOUT = Layout(Notes, {}, {})
