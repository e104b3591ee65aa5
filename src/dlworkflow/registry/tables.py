"""The table of one kind of thing: what a user names, of the library, of a session, of a file or of another package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from importlib import import_module
from typing import Any, Generic, TypeVar

from dlworkflow.errors import ConfigError, DlwError, few, first_line, nearest, unknown
from dlworkflow.registry.plugins import entry_points_of
from dlworkflow.registry.signatures import choices_of, faults_of, required_of, settings_of, type_of
from dlworkflow.registry.user_code import is_code, take
from dlworkflow.registry.user_files import KINDS, where

Thing = TypeVar("Thing", bound=Callable[..., Any])


def callable_as_it_is(thing: Any) -> Any:
    """Return a thing of a user's file as it is. Raises ConfigError for what is no function or class."""
    if not callable(thing):
        raise ConfigError(f"is a value of type {type(thing).__name__}, not a function or class")
    return thing


def factory_of(function: Any, inputs: int) -> Any:
    """Return a factory for what takes its inputs itself: called with the other parameters as settings, it returns that.

    `function` takes `inputs` first; a class, or a function that has other parameters, is a factory already and comes
    back as it is. Of an object that is no function, the factory takes no settings. Raises ConfigError for what cannot
    be called.
    """
    callable_as_it_is(function)
    if inspect.isclass(function):
        return function
    parameters = list(inspect.signature(function).parameters.values()) if inspect.isroutine(function) else []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = [each for each in parameters[:inputs] if each.kind in positional and each.default is each.empty]
    if inspect.isroutine(function) and len(first) < inputs:
        return function

    @wraps(function)
    def make(**settings: Any) -> Any:
        return partial(function, **settings) if settings else function

    rest = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters[inputs:]]
    make.__signature__ = inspect.Signature(rest)  # type: ignore[attr-defined] # what the settings are read from
    return make


@dataclass(frozen=True)
class Others(Generic[Thing]):
    """Things of other libraries that a registry knows besides its own, and how one is made.

    `names` returns all names of the library that the one asked for would be of.
    """

    names: Callable[[str], Iterable[str]]
    get: Callable[[str], Thing]
    called: str
    """What the message for an unknown name says of them: "any of torchvision's"."""


@dataclass
class Registry(Generic[Thing]):
    """Things of one `kind` by the names that a user types: the library's, registered ones, those of other packages.

    `table` maps a name to the thing itself, to "module:attribute" in `package` (imported on first use), or to an entry
    with this text as `target` and, if it likes, one line of help as `about`. Other packages add theirs through the
    entry-point group `dlworkflow.<group>`. `supplied` are parameters that are no settings: the caller gives them.
    `section` is the part of the settings that the name is in: `kind` by default, "" for a name that is no setting.
    `hint` ends the message for an unknown name. `adopt` makes a thing of what a user names in a file of code, or raises
    ConfigError with what is wrong with it: "is a class, but no torch.nn.Module". `documented` is a line of
    documentation per setting; a text noted in a parameter's type (`Annotated[int, "..."]`) is one, too.
    """

    kind: str
    table: Mapping[str, Any]
    group: str
    package: str = ""
    section: str | None = None
    hint: str = ""
    supplied: Collection[str] = ()
    others: Others[Thing] | None = None
    documented: Mapping[str, str] = field(default_factory=dict)
    registered: dict[str, Thing] = field(default_factory=dict)
    adopt: Callable[[Any], Thing] = callable_as_it_is

    def __post_init__(self) -> None:
        KINDS[self.kind] = self

    def register(self, name: str, thing: Thing) -> None:
        """Add a thing of your own. Raises ConfigError for a name that the library has."""
        if name in self.table:
            raise ConfigError(f"{self.kind} {name!r} is the library's own; register yours under another name")
        self.registered[name] = thing

    def names(self) -> list[str]:
        """Return all names but those of `others`, the library's own first."""
        return list(dict.fromkeys([*self.table, *self.registered, *self._plugins()]))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.names() or self.is_other(name))

    def __getitem__(self, name: str) -> Thing:
        """Return a thing; imports it on first use. Raises ConfigError for an unknown name."""
        self.check_name(name)
        if name not in self.registered:
            name = self.resolved(name)
        if name in self.registered:
            return self.registered[name]
        if name in self.table:
            found: Thing = _import(target) if (target := self._target(name)) else self.table[name]
            return found
        if (point := self._plugins().get(name)) is not None:
            return self._load(point)
        assert self.others is not None
        return self.others.get(name)

    def is_own(self, name: str) -> bool:
        """Return whether a thing is a user's own: registered in this process, or of a file of code."""
        return name in self.registered or is_code(name)

    def is_other(self, name: str) -> bool:
        """Return whether a name is only known as one of `others`."""
        return self.others is not None and name not in self.names() and name in self.others.names(name)

    def resolved(self, name: str) -> str:
        """Return the name that a thing of a user's file has here, `file.py:Name`; any other name as it is.

        The file is imported. Raises ConfigError for what is not there, CodeError for a file that was not named.
        """
        return take(name, self) if is_code(name) else name

    def check_name(self, name: str) -> None:
        """Raise ConfigError, with the nearest name, unless `name` is known."""
        known = self.names()
        section = self.kind if self.section is None else self.section
        key = f"{section}.name: " if section else ""
        if name not in known and is_code(name):
            try:
                self.resolved(name)
            except ConfigError as error:
                raise ConfigError(f"{key}{error}") from error
            return
        if name in known or self.is_other(name):
            return
        if self.others is not None:
            every = [*known, *self.others.names(str(name))]
            known = every if nearest(str(name), every) else [*known, self.others.called]
        raise ConfigError(f"{key}{unknown(self.kind, name, known)}{self.hint and f' ({self.hint})'}")

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings that a thing takes, with their defaults; None for one without a default."""
        return settings_of(self[name], supplied=self.supplied)

    def choices(self, name: str) -> dict[str, tuple[Any, ...]]:
        """Return the settings of a thing that take one of a few values, with those, the default first."""
        return choices_of(self[name])

    def faults(self, name: str, given: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with the settings `given` for a thing: {setting: sentence}."""
        owner = f"{self.section or self.kind} {name!r}"
        missing = [key for key in required_of(self[name], self.supplied) if key not in given]
        way_out = "; set it, or give it a default in the signature" if self.is_own(name) else ""
        if way_out and self.supplied:
            way_out += f"; filled in are {few(self.supplied, 20, quoted=False)}"
        return dict.fromkeys(missing, f"{owner} needs it{way_out}") | faults_of(
            self[name], given, supplied=self.supplied, owner=owner
        )

    def needs(self, name: str) -> set[str]:
        """Return those of the `supplied` parameters that a thing takes."""
        return set(inspect.signature(self[name]).parameters) & set(self.supplied)

    def types(self, name: str) -> dict[str, Any]:
        """Return the type of each setting of a thing, with the bounds and the line of documentation noted in it."""
        parameters = inspect.signature(self[name]).parameters
        return {key: type_of(self[name], parameters[key]) for key in self.settings(name)}

    def build(self, name: str, settings: Mapping[str, Any], **supplied: Any) -> Any:
        """Call a thing with its settings, and with those of `supplied` that it has a parameter for."""
        thing = self[name]
        taken = inspect.signature(thing).parameters
        given = {key: value for key, value in supplied.items() if key in taken}
        try:
            return thing(**settings, **given)
        except Exception as error:
            if isinstance(error, DlwError) or not self.is_own(name):
                raise
            raise ConfigError(f"{self.kind} {name!r} fails: {where(error)}") from error

    def about(self, name: str) -> str:
        """Return one line of help: the entry's own, else the first line of the docstring, read without importing."""
        entry = self.table.get(name) if name not in self.registered else self.registered[name]
        if about := getattr(entry, "about", ""):
            return str(about)
        if name in self.table and (target := self._target(name)):
            return _docstring_at(target)
        if entry is not None:
            return _first_sentence(inspect.getdoc(entry))
        if (point := self._plugins().get(name)) is not None:
            return f"of the package {point.dist.name}" if point.dist is not None else f"of {point.value}"
        return _first_sentence(inspect.getdoc(self[name]))

    def origin(self, name: str) -> str:
        """Return where a thing comes from, as "module:attribute"."""
        if name in self.registered:
            thing = self.registered[name]
            return f"{thing.__module__}:{getattr(thing, '__qualname__', name)}"
        return self._target(name) if name in self.table else str(self._plugins()[name].value)

    def _target(self, name: str) -> str:
        """Return where an entry of the table says that its thing is; nothing where it is the thing."""
        entry = self.table[name]
        target = entry if isinstance(entry, str) else getattr(entry, "target", "")
        return f"{self.package}.{target}" if target and self.package else str(target)

    def _plugins(self) -> dict[str, Any]:
        return {point.name: point for point in entry_points_of(self.group)}

    def _load(self, point: Any) -> Thing:
        try:
            found: Thing = point.load()
        except Exception as error:  # another package may fail in any way
            raise ConfigError(
                f"{self.kind} {point.name!r}: cannot import {point.value}: {type(error).__name__}: {first_line(error)}"
            ) from error
        return found


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _docstring_at(target: str) -> str:
    """Return the first sentence of what "module:attribute" says of itself; the module is read, not imported."""
    import ast
    from importlib.util import find_spec

    module, _, attribute = target.partition(":")
    spec = find_spec(module)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_source"):
        return ""
    for node in ast.parse(spec.loader.get_source(module) or "").body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == attribute:
            return _first_sentence(ast.get_docstring(node))
    return ""


def _first_sentence(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].removesuffix(".")
