"""Names that a user types and the things they stand for; a thing's signature is the schema of its settings.

Knows no model, no data set and no file.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from dlworkflow.errors import IN_QUOTES, ConfigError, first_line, nearest, plain, unknown

Thing = TypeVar("Thing", bound=Callable[..., Any])


@dataclass(frozen=True)
class Others(Generic[Thing]):
    """Things of another library that a registry knows besides its own: their names, and how one is made."""

    names: Callable[[], Iterable[str]]
    get: Callable[[str], Thing]
    called: str
    """What the message for an unknown name says of them: "any of torchvision's"."""


@dataclass
class Registry(Generic[Thing]):
    """Things of one `kind` by the names that a user types: the library's, registered ones, those of other packages.

    `table` maps a name to the thing itself, to "module:attribute" in `package` (imported on first use), or to an entry
    with this text as `target` and, if it likes, one line of help as `about`. Other packages add theirs through the
    entry-point group `dlworkflow.<group>`. `supplied` are parameters that are no settings: the caller gives them.
    `section` is the part of the settings that the name is in; `hint` ends the message for an unknown name. `documented`
    is a line of documentation per setting; a text noted in a parameter's type (`Annotated[int, "..."]`) is one, too.
    """

    kind: str
    table: Mapping[str, Any]
    group: str
    package: str = ""
    section: str = ""
    hint: str = ""
    supplied: Collection[str] = ()
    others: Others[Thing] | None = None
    documented: Mapping[str, str] = field(default_factory=dict)
    registered: dict[str, Thing] = field(default_factory=dict)

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
        if name in self.registered:
            return self.registered[name]
        if name in self.table:
            found: Thing = _import(target) if (target := self._target(name)) else self.table[name]
            return found
        if (point := self._plugins().get(name)) is not None:
            return self._load(point)
        assert self.others is not None
        return self.others.get(name)

    def is_other(self, name: str) -> bool:
        """Tell whether a name is only known as one of `others`."""
        return self.others is not None and name not in self.names() and name in self.others.names()

    def check_name(self, name: str) -> None:
        """Raise ConfigError, with the nearest name, unless `name` is known."""
        known = self.names()
        if name in known or self.is_other(name):
            return
        if self.others is not None:
            every = [*known, *self.others.names()]
            known = every if nearest(str(name), every) else [*known, self.others.called]
        where = f"{self._section}.name: " if self._section else ""
        raise ConfigError(f"{where}{unknown(self.kind, name, known)}{self.hint and f' ({self.hint})'}")

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings that a thing takes, with their defaults; None for one without a default."""
        return settings_of(self[name], supplied=self.supplied)

    def choices(self, name: str) -> dict[str, tuple[Any, ...]]:
        """Return the settings of a thing that take one of a few values, with those, the default first."""
        return choices_of(self[name])

    def faults(self, name: str, given: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with the settings `given` for a thing: {setting: sentence}."""
        owner = f"{self._section or self.kind} {name!r}"
        missing = [key for key in _required(self[name], self.supplied) if key not in given]
        return dict.fromkeys(missing, f"{owner} needs it") | faults_of(
            self[name], given, supplied=self.supplied, owner=owner
        )

    def needs(self, name: str) -> set[str]:
        """Return those of the `supplied` parameters that a thing takes."""
        return set(inspect.signature(self[name]).parameters) & set(self.supplied)

    def types(self, name: str) -> dict[str, Any]:
        """Return the type of each setting of a thing, with the bounds and the line of documentation noted in it."""
        parameters = inspect.signature(self[name]).parameters
        return {key: _hint(self[name], parameters[key]) for key in self.settings(name)}

    def build(self, name: str, settings: Mapping[str, Any], **supplied: Any) -> Any:
        """Call a thing with its settings, and with those of `supplied` that it has a parameter for."""
        thing = self[name]
        taken = inspect.signature(thing).parameters
        return thing(**settings, **{key: value for key, value in supplied.items() if key in taken})

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

    @property
    def _section(self) -> str:
        return self.section or self.kind

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


def entry_points_of(group: str) -> list[Any]:
    """Return the entry points of other packages in the group `dlworkflow.<group>`."""
    found = _entry_points()
    return list(found.select(group=f"dlworkflow.{group}")) if found is not None else []


@cache
def _entry_points() -> Any:
    """Return all entry points, None where none is in a group of ours; looked for once per process, on the disk.

    `importlib.metadata` takes longer to import than many a command: it is left alone where no file names a group.
    """
    files = (file for folder in sys.path for file in Path(folder).glob("*-info/entry_points.txt"))
    if not any(b"[dlworkflow." in file.read_bytes() for file in files):
        return None
    from importlib.metadata import entry_points

    return entry_points()


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


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included unless `open` is set."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def fault(self, value: float) -> str | None:
        """Return what is wrong with `value`, or None."""
        low, high = (self.low < value, value < self.high) if self.open else (self.low <= value, value <= self.high)
        if low and high:
            return None
        if self.high < MOST and self.low > -math.inf:
            ends = f"{plain(self.low)} and {plain(self.high)}{', both excluded' if self.open else ''}"
            return f"must be between {ends}, not {plain(value)}"
        if not low:
            return f"must be {'more than' if self.open else 'at least'} {plain(self.low)}, not {plain(value)}"
        return f"must be {'less than' if self.open else 'at most'} {plain(self.high)}, not {plain(value)}"


class OneOf:
    """One of a few names. Unlike a `Literal`, they are no settings that the shapes of weights could tell apart."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def fault(self, value: str) -> str | None:
        """Say what is wrong with `value`, or None."""
        return None if value in self.names else unknown("value", value, self.names)


class Spread:
    """How far something may vary: by up to a number of at least 0 either way, or between [low, high]."""

    def fault(self, value: object) -> str | None:
        """Say what is wrong with `value`, or None."""
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        numbers: list[Any] = list(value) if pair else [0, value]  # type: ignore[call-overload] # a pair is a sequence
        if all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers) and numbers[0] <= numbers[1]:
            return None
        return f"must be a number of at least 0, or [low, high], not {value!r}"


MOST = 2**31 - 1
_LARGEST = 1e30  # of a number that is not whole: its square is finite in double precision

Count = Annotated[int, Range(1, MOST)]
"""How many of something: 1 or more."""
Depth = Annotated[int, Range(1, 1000)]
"""How many layers or blocks, one after the other."""
Size = Annotated[int, Range(0, MOST)]
"""A whole number that may be 0."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""What numpy and scikit-learn take for a seed."""
Positive = Annotated[float, Range(0, open=True), Range(high=_LARGEST)]
NonNegative = Annotated[float, Range(0, _LARGEST)]
Probability = Annotated[float, Range(0, 1)]
Fraction = Annotated[float, Range(0, 1, open=True)]
"""A true part of a whole: more than 0, less than 1."""
BelowOne = Annotated[float, Range(0), Range(high=1, open=True)]
"""At least 0 and less than 1, as a momentum."""


def settings_of(function: Callable[..., Any], *, supplied: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings that `function` takes with their defaults, without those `supplied` by the caller."""
    return {
        name: None if parameter.default is inspect.Parameter.empty else parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in supplied and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _required(function: Callable[..., Any], supplied: Collection[str]) -> list[str]:
    """Return the settings that have no default."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
        and name not in supplied
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def choices_of(function: Callable[..., Any]) -> dict[str, tuple[Any, ...]]:
    """Return the settings that take one of a few values (true or false, a `Literal`) with those, the default first."""
    choices: dict[str, tuple[Any, ...]] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = _hint(function, parameter)
        values = (False, True) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()
        if parameter.default in values:
            choices[name] = tuple(sorted(values, key=lambda value, usual=parameter.default: value != usual))  # type: ignore[misc]
    return choices


def faults_of(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    supplied: Collection[str] = (),
    owner: str,
) -> dict[str, str]:
    """Return what is wrong with the settings `given` for `function`: {setting: sentence}, empty when all is well.

    `supplied` names parameters that come from elsewhere (the data decides a model's width); `owner` is how a user
    calls the thing ("model 'tinyvgg'").
    """
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return {}
    known = settings_of(function, supplied=supplied)
    faults: dict[str, str] = {}
    for name, value in given.items():
        if name not in known:
            sentence = unknown("setting", name, known) if known else f"unknown setting {name!r}; it takes none"
            faults[name] = f"{owner}: {sentence}"
        elif fault := _fault(value, _hint(function, parameters[name])):
            faults[name] = fault
    return faults


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return a parameter's type; object, which takes anything, where it has none or one that only editors can see."""
    if parameter.annotation is parameter.empty:
        return object
    typed = inspect.unwrap(function.__init__ if isinstance(function, type) else function)  # type: ignore[misc]
    alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = get_type_hints(alone, globalns=getattr(typed, "__globals__", {}), include_extras=True)
    except NameError:
        return object
    return hints[parameter.name]


def _fault(value: Any, hint: Any) -> str | None:
    """Say why `value` is not of the type `hint`, or None; types it cannot judge pass."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fault = _fault(value, arguments[0])
        if fault or value is None:
            return fault
        ranges = (note for note in arguments[1:] if isinstance(note, (Range, OneOf, Spread)))
        return next((fault for note in ranges if (fault := note.fault(value))), None)
    if origin in (Union, types.UnionType):
        faults = [_fault(value, part) for part in arguments]
        return None if None in faults else next(filter(None, faults))
    if origin is Literal:
        return None if value in arguments else unknown("value", value, [str(part) for part in arguments])
    if origin is list:
        if not isinstance(value, list):
            return f"must be a list, not {value!r}"
        return next((fault for part in value if (fault := _fault(part, arguments[0]))), None)
    if origin is tuple and Ellipsis not in arguments:
        if not isinstance(value, (list, tuple)) or len(value) != len(arguments):
            return f"must be a list of {len(arguments)}, not {value!r}"
        return next((fault for part, hint in zip(value, arguments, strict=True) if (fault := _fault(part, hint))), None)
    if hint is bool:
        return None if isinstance(value, bool) else f"must be true or false, not {value!r}"
    if hint in (int, float) and isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "must be a number that fits into 64 bits"
    if hint is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole else f"must be a whole number, not {value!r}"
    if hint is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if number and math.isfinite(value) else f"must be a {'finite ' * number}number, not {value!r}"
    if hint is str:
        return None if isinstance(value, str) else f"must be text, not {value!r}; {IN_QUOTES}"
    if hint is type(None):
        return None if value is None else f"must be left out, not {value!r}"
    return None


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]], *, rooms: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on first use.

    `homes` maps a module of the package to the names that the package has from it; `rooms` are modules of the package
    that are names of it themselves.
    """
    home_of = {name: module for module, names in homes.items() for name in names}

    def resolve(name: str) -> Any:
        if name in rooms:
            return import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *rooms, *home_of})

    return resolve, names, [*rooms, *sorted(home_of)]
