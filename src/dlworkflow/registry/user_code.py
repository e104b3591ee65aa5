"""Things of a user's own Python files by name, and what a run keeps of them.

A file is imported when a command, a call or the user's own settings name it, and never because a run folder does.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlworkflow.errors import CodeError, ConfigError, RunError, few, nearest
from dlworkflow.files.paths import user_path
from dlworkflow.registry.user_files import KINDS, Things, UserFile, digest_of, forget_files, import_file, source_of

Record = Mapping[str, Any]
"""What a run keeps of a thing: `kind`, `name`, `path` and `sha256` of its file, `attribute`, its name in the file."""

_CODE = re.compile(r"(?P<file>[^\n]+\.py)(?::(?P<name>[^\n]*))?")
_named: dict[Path, None] = {}  # the files that the user has named, the last one last
_taken: dict[tuple[str, str], Path] = {}  # kind and name of a thing of a file -> that file
_log = logging.getLogger(__name__)


def is_code(text: object) -> bool:
    """Return whether a name is that of a file of code, `file.py`, or of a thing in one, `file.py:Name`."""
    return isinstance(text, str) and _CODE.fullmatch(text) is not None


def use_code(*files: str | os.PathLike[str]) -> None:
    """Let models, data sets, losses and so on be taken from these Python files, in this process.

    A file is imported when it is needed: to train with `my_models.py:Net`, or for a run that was trained with it.
    Raises ConfigError for a file that is not there.
    """
    for given in files:
        path = _path_of(os.fspath(given))
        if path.suffix != ".py" or not path.is_file():
            raise ConfigError(f"--code: {_missing(os.fspath(given))}")
        _name(path)


def use_code_named_in(settings: object) -> None:
    """Let code be taken from the files that a user's own settings name; those that are not there are errors later."""
    if isinstance(settings, Mapping):
        settings = [*settings.keys(), *settings.values()]  # a step of data.transform is a key
    if isinstance(settings, list | tuple):
        for part in settings:
            use_code_named_in(part)
    elif isinstance(settings, str) and ".py" in settings and "://" not in settings:
        whole = "," not in settings or _path_of(settings).is_file()
        for part in [settings] if whole else map(str.strip, settings.split(",")):
            if is_code(part):
                _name(_path_of(part))


def _name(path: Path) -> None:
    _named.pop(path, None)
    _named[path] = None


def named_files() -> list[str]:
    """Return the files that the user has named, for another process that is to have them too."""
    return [str(path) for path in _named if path.is_file()]


def forget_code() -> None:
    """Forget all files that were named, and all that was registered, as in a new process."""
    _named.clear()
    _taken.clear()
    forget_files()


def take(text: str, registry: Things) -> str:
    """Return the name under which a registry has what is called `file.py:Name` or `file.py`.

    A file without `:Name` means the one thing of this kind that it registers or, where it registers none, defines.
    Raises ConfigError for what is not there or cannot be used, and CodeError for a file that the user has not named.
    """
    match = _CODE.fullmatch(text)
    assert match is not None
    if (path := _find(match["file"])) is None:
        if text in registry.registered:
            return text
        raise CodeError(f"{registry.kind} {text!r} is code in a file", [match["file"]])
    if not path.is_file():
        raise ConfigError(_missing(match["file"]))
    file, name = import_file(path), match["name"]
    if name is not None:
        return _adopt(file, name, f"{path.name}:{name}", registry)
    registered = file.registered.get(registry.kind, [])
    fitting = [each for each in file.definitions() if _fits(getattr(file.module, each), registry)]
    classes = [each for each in fitting if inspect.isclass(getattr(file.module, each))]
    found = registered or classes or fitting
    if len(found) != 1:
        one = found[0] if registered else f"{path.name}:{found[0]}" if found else ""
        several = f"several: {few(found, quoted=False)}; name one, as {one}"
        raise ConfigError(f"{path.name} has {several if found else f'no {registry.kind}'}")
    return registered[0] if registered else _adopt(file, found[0], f"{path.name}:{found[0]}", registry)


def _adopt(file: UserFile, name: str, called: str, registry: Things) -> str:
    """Register what a file has as `name` under what it is `called`."""
    here = file.path.name
    if not hasattr(file.module, name):
        names = file.definitions()
        guess = nearest(name, names)
        there = f"did you mean {here}:{guess}?" if guess else f"it has {few(names, quoted=False) or 'nothing public'}"
        raise ConfigError(f"{here} has no {name!r}; {there}")
    other = _taken.setdefault((registry.kind, called), file.path)
    if other != file.path and other in _named:
        raise ConfigError(f"{str(other)!r} and {str(file.path)!r} have the same name; rename one of them")
    _taken[registry.kind, called] = file.path
    try:
        registry.registered[called] = registry.adopt(getattr(file.module, name))
    except ConfigError as error:
        raise ConfigError(f"{here}:{name} {error}") from None
    return called


def _fits(thing: Any, registry: Things) -> bool:
    try:
        registry.adopt(thing)
    except ConfigError:
        return False
    return True


def _find(file: str) -> Path | None:
    """Return the named file that is meant: of this path or, for a name alone, the last one called so that is there."""
    path = _path_of(file)
    found = [path] if path in _named else []
    if Path(file).name == file:
        found += [each for each in reversed(_named) if each.name == file]
    return next((each for each in found if each.is_file()), found[0] if found else None)


def _path_of(text: str) -> Path:
    match = _CODE.fullmatch(text)
    return user_path(match["file"] if match else text).resolve()


def _missing(file: str) -> str:
    """Return the sentence for a file of code that is not there, with the nearest name beside it."""
    path = _path_of(file)
    if path.is_file():
        return f"{file!r} is no Python file: its name does not end in .py"
    with suppress(OSError):
        if guess := nearest(path.stem, [each.stem for each in path.parent.glob("*.py")]):
            return f"no file {file!r}; did you mean {str(Path(file).with_name(f'{guess}.py'))!r}?"
    return f"no file {file!r}"


def records_of(names: Iterable[tuple[Things, str]]) -> list[dict[str, Any]]:
    """Return what a run keeps of those things that are a user's own."""
    found = []
    for registry, name in names:
        if (thing := registry.registered.get(name)) is None:
            continue
        path = _taken.get((registry.kind, name)) or source_of(thing)
        attribute = name.partition(".py:")[2] or getattr(inspect.unwrap(thing), "__qualname__", "")
        place = {"path": str(path), "sha256": digest_of(path)} if path is not None else {"path": None, "sha256": None}
        inside = {"attribute": attribute if attribute.isidentifier() else None}
        found.append({"kind": registry.kind, "name": name, **place, **inside})
    return found


def code_options(records: Iterable[Record] | None) -> list[str]:
    """Return the options that a command on a run needs for its code, `--code FILE` for each file."""
    files = dict.fromkeys(str(record["path"]) for record in records or () if record.get("path"))
    return [word for file in files for word in ("--code", file)]


def take_recorded(
    records: Sequence[Record] | None,
    names: Mapping[str, str],
    kinds: Collection[str],
    *,
    run: str,
    strict: bool = False,
) -> None:
    """Put a run's own code in place, from the files that the user has named or as it is registered in this process.

    `names` are {kind: name} of what the run has, whether or not it kept a record of it. The digest of a file is
    compared before it is imported; a change is reported or, if `strict`, an error. Raises CodeError with all files that
    the user has to name.
    """
    kept = {(record.get("kind"), record.get("name")): record for record in records or ()}
    for kind, name in names.items():
        if kind in KINDS and (kind, name) not in kept and name not in KINDS[kind]:
            kept[kind, name] = _record_by_name(kind, name)
    missing = [
        record
        for record in kept.values()
        if record.get("kind") in kinds and record["kind"] in KINDS and not _put_in_place(record, run, strict)
    ]
    if missing:
        files = dict.fromkeys(_file_to_name(record) for record in missing)
        what = few((f"{record['kind']} {record['name']!r}" for record in missing), quoted=False)
        tried = f" ({few((path.name for path in _named), quoted=False)} has none of it)" if _named else ""
        session = "" if all(record.get("path") for record in missing) else " (FILE.py has to register what has no file)"
        raise CodeError(f"{run} needs the code of {what}{tried}{session}", list(files))


def _record_by_name(kind: str, name: str) -> Record:
    """Return what the name alone says of a thing."""
    match = _CODE.fullmatch(name)
    return {"kind": kind, "name": name, "path": match["file"] if match else None, "attribute": match and match["name"]}


def _put_in_place(record: Record, run: str, strict: bool) -> bool:
    """Make a registry have a thing of a run; return whether it has it."""
    registry, name = KINDS[str(record["kind"])], str(record["name"])
    was = Path(str(record.get("path") or ""))
    named = [was] if was in _named else [path for path in reversed(_named) if path.name == was.name]
    for path in [*named[:1], *(path for path in reversed(_named) if path.name != was.name)]:
        _compare(record, path, run, strict)
        file = import_file(path)
        if name in file.registered.get(registry.kind, ()):
            break
        if record.get("attribute") in file.definitions():
            _adopt(file, str(record["attribute"]), name, registry)
            break
    if name not in registry.registered:
        return False
    if (source := source_of(registry.registered[name])) is not None and source not in named[:1]:
        _compare(record, source, run, strict)
    return True


def _compare(record: Record, path: Path, run: str, strict: bool) -> None:
    """Report that a file is no longer what it was; nothing is known of one with another name."""
    if record.get("sha256") is None or Path(str(record["path"])).name != path.name:
        return
    if digest_of(path) != record["sha256"]:
        changed = f"{path.name} has changed since {run} was trained"
        if strict:
            raise RunError(f"{changed}; --force resumes with it as it is now")
        _log.warning("note    %s: the answers may be others", changed)


def _file_to_name(record: Record) -> str:
    """Return the file to name for a thing of a run: its own where it is still there, else only its name."""
    path = Path(str(record.get("path") or "FILE.py"))
    return str(path) if path.is_file() else path.name
