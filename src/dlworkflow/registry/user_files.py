"""Imports a user's Python file, and explains in one line what fails in it. Knows no names that a user types."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from dlworkflow.errors import ConfigError, first_line, system_reason


class Things(Protocol):
    """What a registry is here: things of a `kind`, those of the user by name, and a check of what a file has."""

    kind: str
    registered: dict[str, Any]

    @property
    def adopt(self) -> Callable[[Any], Any]:
        """Make a thing of what a file has; raise ConfigError with what is wrong with it."""
        ...

    def __contains__(self, name: object) -> bool: ...


KINDS: dict[str, Things] = {}
"""Every registry by the kind of its things: a user's file may register things in any of them."""

_PACKAGE = Path(__file__).parents[1]


@dataclass
class UserFile:
    """An imported file: its path, the digest of its text, its module, and what it registered, {kind: names}."""

    path: Path
    digest: str
    module: ModuleType
    registered: dict[str, list[str]] = field(default_factory=dict)

    def definitions(self) -> list[str]:
        """Return the public classes and functions that are defined in the file, in their order."""
        return [
            name
            for name, thing in vars(self.module).items()
            if not name.startswith("_")
            and (inspect.isclass(thing) or inspect.isfunction(thing))
            and thing.__module__ == self.module.__name__
        ]


_imported: dict[Path, UserFile] = {}
_importing: list[Path] = []


def refuse_while_importing(what: str) -> None:
    """Raise ConfigError while a user's file is imported: `what` it does belongs under a guard."""
    if _importing:
        raise ConfigError(f"{_importing[-1].name} {what} when it is imported; put that under `{_GUARD}`")


_GUARD = "if __name__ == '__main__':"


def import_file(path: Path) -> UserFile:
    """Import a file under a name of its own, once; again where its text has changed.

    Modules beside it can be imported meanwhile, what it prints goes to stderr, and nothing is written beside it.
    Raises ConfigError with the file's own line for whatever fails in it; what it had registered is undone.
    """
    digest = digest_of(path)
    if (known := _imported.get(path)) is not None and known.digest == digest:
        return known
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    name = f"dlw_code_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{place}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_TextLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = {kind: dict(registry.registered) for kind, registry in KINDS.items()}
    sys.modules[name] = module  # a dataclass looks its module up there
    done = False
    _importing.append(path)
    try:
        with _neighbours_first(path.parent), contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
        done = True
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path.name} cannot be imported: {where(error, path.parent)}") from error
    finally:
        _importing.pop()
        if not done:
            del sys.modules[name]
            _restore(before)
    new = {
        kind: [each for each, thing in registry.registered.items() if before.get(kind, {}).get(each) is not thing]
        for kind, registry in KINDS.items()
    }
    _imported[path] = UserFile(path, digest, module, new)
    return _imported[path]


class _TextLoader(SourceFileLoader):
    """Reads the text of a file, whose digest is known, and never what was compiled of it some time."""

    def path_stats(self, path: Any) -> Mapping[str, Any]:
        raise OSError(f"no compiled file is looked for beside {path}")


def _restore(before: Mapping[str, Mapping[str, Any]]) -> None:
    for kind, registry in KINDS.items():
        registry.registered.clear()
        registry.registered.update(before.get(kind, {}))


@contextlib.contextmanager
def _neighbours_first(folder: Path) -> Iterator[None]:
    """Let modules beside a file be imported within the block; sys.path is left as it was found.

    Modules of the same names from another folder of the user's are out of the way meanwhile.
    """
    beside = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    hidden = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in beside and _is_of_another_folder(module, folder)
    }
    for name in hidden:
        del sys.modules[name]
    path, writes = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writes
        sys.modules.update(hidden)


def _is_of_another_folder(module: ModuleType, folder: Path) -> bool:
    """Return whether a module is a user's file of another folder: of no package that is installed."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return False
    place = Path(file).resolve()
    return not place.is_relative_to(folder) and not _is_installed(place)


def _is_installed(place: Path) -> bool:
    roots = (sys.prefix, sys.base_prefix, _PACKAGE)
    return "-packages" in str(place) or any(place.is_relative_to(root) for root in roots)


def where(error: BaseException, folder: Path | None = None) -> str:
    """Return an error of a user's code in one line: its file and line, that line, and the error.

    That is the last line of the traceback in `folder`, by default in the folder of any file that was imported here;
    of an error without such a line, the error alone.
    """
    return _place(error, folder) + _reason(error)


def failed_in_user_code(error: BaseException) -> bool:
    """Return whether an error comes from a file that was imported here, or from one beside it."""
    return bool(_imported) and bool(_place(error, None))


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the program; put what it does under `{_GUARD}`"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__


def _place(error: BaseException, folder: Path | None) -> str:
    if isinstance(error, SyntaxError) and error.filename is not None:
        return _line(error.filename, error.lineno, error.text)
    folders = [folder] if folder is not None else [path.parent for path in _imported]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not _is_installed(place := Path(frame.filename)) and any(place.is_relative_to(each) for each in folders)
    ]
    return _line(frames[-1].filename, frames[-1].lineno, frames[-1].line) if frames else ""


def _line(file: str, number: int | None, code: str | None) -> str:
    return f"{Path(file).name}:{number}: {' '.join((code or '').split())}: "


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises ConfigError where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {system_reason(error)}") from None


def source_of(thing: Any) -> Path | None:
    """Return the user's file in which a class or function is defined; None for a session's or an installed one."""
    try:
        found = inspect.getsourcefile(inspect.unwrap(thing))
    except (TypeError, OSError):
        return None
    path = Path(found).resolve() if found else None
    return path if path is not None and path.is_file() and not _is_installed(path) else None


def forget_files() -> None:
    """Forget what was imported and what was registered, as in a new process."""
    for file in _imported.values():
        sys.modules.pop(file.module.__name__, None)
    _imported.clear()
    _restore({})
