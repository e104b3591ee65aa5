"""What a user types for shards, as files of this machine: a tar file, a pattern of them, or the folder that holds them.

Nothing is opened, and nothing but a plain path gets through: no address, no command.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from dlworkflow.errors import ConfigError, MissingDataError
from dlworkflow.files.paths import matching_paths, user_path

INDEX_NAME = "shards.json"
MOST_SHARDS = 1_000_000
SUFFIX = ".tar"

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")


def shards_path(text: str, typed: str = "--data") -> str | None:
    """Return the absolute path or pattern that a user means where it is one of shards, else None.

    Shards are what ends in `.tar`, a folder with their index, and a folder of tar files alone. Raises ConfigError for
    what is no local path.
    """
    if "://" in text or SUFFIX in text.casefold():
        check_local(text, typed)
    path = user_path(text)
    if path.is_dir():
        return str(path.resolve()) if _holds_shards(path) else None
    return os.path.abspath(path) if text.casefold().endswith(SUFFIX) else None  # noqa: PTH100 - it may be a pattern


def check_local(text: str, setting: str) -> None:
    """Raise ConfigError for an address or a command, which a reader of shards would fetch or run."""
    if "://" in text or (re.match(r"[a-zA-Z0-9]{2,}:", text) and not Path(text).exists()):
        raise ConfigError(f"{setting}: {text!r} is no local path; shards are read from files alone, fetch them first")


def expand(text: str, setting: str = "data.path") -> list[Path]:
    """Return the shards that a path or pattern means, each once: `{00..31}` and `{a,b}` as in bash, `*` and `?`.

    A file that is there is never a pattern. Raises ConfigError for what is no local path or too much, and
    MissingDataError naming what is not there.
    """
    check_local(text, setting)
    path = user_path(text)
    if path.is_file():
        return [path]
    found = [shard for name in expand_braces(str(path), setting) for shard in matching_paths(name)]
    if missing := [str(shard) for shard in found if not shard.is_file()]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = ", ".join(map(repr, missing[:3])) + more
        if len(found) == 1:
            raise MissingDataError(f"{setting}: no shard {named}")
        raise MissingDataError(f"{setting}: {len(missing)} of {len(found)} shards are not there: {named}")
    return list(dict.fromkeys(found))


def expand_braces(text: str, setting: str = "data.path") -> list[str]:
    """Return the names that braces stand for, in bash's order: `{08..11}` keeps its zeros; others stay as they are."""
    pieces = _BRACES.split(text)
    choices: list[Sequence[str]] = []
    n = 1
    for number, piece in enumerate(pieces):
        choices.append(_choices(piece, setting) if number % 2 else [piece])
        n *= len(choices[-1])
        if n > MOST_SHARDS:
            raise ConfigError(f"{setting}: {text!r} stands for more than {MOST_SHARDS:,} shards")
    return ["".join(parts) for parts in itertools.product(*choices)]


def refuse_expanded(arguments: Sequence[str]) -> None:
    """Raise ConfigError where a shell has made several arguments of one pattern, of which only one would be seen."""
    shards = [
        name
        for before, given in zip(["", *arguments], arguments, strict=False)
        if (name := given.removeprefix("--data=")).casefold().endswith(SUFFIX)
        and not name.startswith("-")
        and (
            before == "--data" or not before.startswith("-") or "=" in before
        )  # the value of --set is no name of a file
    ]
    given = any(argument == "--data" or argument.startswith("--data=") for argument in arguments)
    if len(shards) > 1 and (given or arguments[0] == "data"):
        raise ConfigError(
            f"--data: {len(shards)} shards where one pattern is needed, {shards[0]!r} to {shards[-1]!r}: the shell has "
            "expanded it; put it in quotes, as in 'shards/train-{00..31}.tar', or give the folder"
        )


def folder_of(text: str) -> Path | None:
    """Return the folder where that is what was given, else None."""
    path = user_path(text)
    return path if path.is_dir() else None


def _choices(within: str, setting: str) -> Sequence[str]:
    if span := _RANGE.fullmatch(within):
        first, last = int(span[1]), int(span[2])
        if abs(last - first) >= MOST_SHARDS:
            raise ConfigError(f"{setting}: '{{{within}}}' stands for more than {MOST_SHARDS:,} shards")
        padded = any(end.startswith("0") and len(end) > 1 for end in span.groups())
        width = max(map(len, span.groups())) if padded else 0
        step = 1 if last >= first else -1
        return [f"{number:0{width}}" for number in range(first, last + step, step)]
    return within.split(",") if "," in within else [f"{{{within}}}"]


def _holds_shards(folder: Path) -> bool:
    """Return whether a folder is one of shards: it has their index, or tar files and no folder that is not hidden."""
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return False
    if any(entry.name == INDEX_NAME for entry in entries):
        return True
    return any(entry.suffix.casefold() == SUFFIX for entry in entries) and not any(map(Path.is_dir, entries))
