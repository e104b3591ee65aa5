"""A callable's signature as the schema of its settings: which there are, of what type, in what range.

Knows no names of things, no files and no torch.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dlworkflow.errors import IN_QUOTES, plain, unknown


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


def required_of(function: Callable[..., Any], supplied: Collection[str]) -> list[str]:
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
        hint = type_of(function, parameter)
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
        elif fault := _fault(value, type_of(function, parameters[name])):
            faults[name] = fault
    return faults


def type_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
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
