"""JSON files as dataclasses: the annotations check what each key holds. Knows no file of a run.

Keys that a class does not have are kept in `others` and written back.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from dlworkflow.errors import RunError, first_line, short
from dlworkflow.files.paths import parse_json

Size = Annotated[int, lambda value: value >= 0]
Count = Annotated[int, lambda value: value >= 1]
Fraction = Annotated[float, lambda value: 0 <= value <= 1]
EpochNumber = Annotated[float, lambda value: 0 <= value < 2**63 and value == int(value)]

T = TypeVar("T")
_Check = Callable[[Any], bool]
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The content of a JSON file; a field without a default must be in the file."""

    others: dict[str, Any] = field(default_factory=dict)
    """What a newer version, or somebody else, added."""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the class with the values of `data`, which are checked already or new."""
        known = {key: data[key] for key in _field_names(cls) if key in data}
        return cls(**known, others={key: value for key, value in data.items() if key not in known})

    def to_data(self) -> dict[str, Any]:
        """Return all values by key, as JSON holds them."""
        return {key: getattr(self, key) for key in _field_names(type(self))} | self.others


def _field_names(cls: type[Stored]) -> list[str]:
    return [part.name for part in fields(cls) if part.name != "others"]


class Layout:
    """What a file of class `cls` holds by dotted key: its fields, then what is `needed` and `possible` within them."""

    def __init__(self, cls: type[Stored], needed: Mapping[str, Any], possible: Mapping[str, Any]) -> None:
        required = {part.name for part in fields(cls) if part.default is part.default_factory is MISSING}
        self._cls, self._within = cls, {**needed, **possible}
        self._needed = required | needed.keys()

    @cached_property
    def _checks(self) -> list[tuple[str, list[str], _Check]]:
        """Each key, its parts and its check; made on first use, as a list of runs in an index needs none."""
        hints = get_type_hints(self._cls, include_extras=True)
        every = {key: hints[key] for key in _field_names(self._cls)} | self._within
        return [(key, key.split("."), check_of(hint)) for key, hint in every.items()]

    def fault(self, data: Mapping[str, Any]) -> str:
        """Return what is missing or of the wrong kind, or nothing."""
        found = [(key, _value(data, parts), is_valid) for key, parts, is_valid in self._checks]
        for key, value, is_valid in reversed(found):  # a value within a section before the section
            if value is not _NOTHING and not is_valid(value):
                return is_wrong(key, value)
        missing = [key for key, value, _ in found if value is _NOTHING and key in self._needed]
        return f"it lacks {', '.join(missing)}" if missing else ""


def read_object(text: str, *, source: str, name: str, newest: int) -> dict[str, Any]:
    """Return the JSON object of a versioned file (`format`, 0 where it has none).

    Raises RunError that names `source` where the text is damaged, and run `name` where its format is newer.
    """
    try:
        found = parse_json(text)
    except ValueError as error:
        raise damaged(source, first_line(error)) from None
    if not isinstance(found, dict):
        raise damaged(source, "it is no JSON object")
    version = found.get("format", 0)
    if not _is_whole(version):
        raise damaged(source, is_wrong("its format", version))
    if version > newest:
        raise RunError(f"{name} was written by a newer dlworkflow (format {version}); update to read it")
    return found


def is_wrong(key: str, value: object) -> str:
    """Return the sentence for a key with a wrong value."""
    return f"{key} is {short(repr(value), 60)}"


def damaged(source: str, fault: str) -> RunError:
    """Return the error for a file `source` whose content is wrong."""
    return RunError(f"{source} is damaged: {fault}")


def unless_damaged(read: Callable[[], T], faults: list[str]) -> T | None:
    """Return what `read` reads of a file that a run may lack, such as what a command found; None of a damaged one.

    What is wrong with it is added to `faults`: whoever shows the rest of the run warns of it.
    """
    try:
        return read()
    except RunError as error:
        faults.append(str(error))
        return None


def as_json(value: Any) -> str:
    """Return a value as the text of a JSON file."""
    return json.dumps(without_nan(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """Return a value with null for nan and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


_PLAIN: dict[Any, _Check] = {Any: lambda _: True, int: _is_whole, float: is_number}


def check_of(hint: Any) -> _Check:
    """Return the function that checks whether a JSON value is of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, holds = check_of(arguments[0]), arguments[1]
        return lambda value: inner(value) and bool(holds(value))
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in arguments
    if origin in (Union, types.UnionType):
        checks = [check_of(part) for part in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is list:
        inner = check_of(arguments[0])
        return lambda value: isinstance(value, list) and all(map(inner, value))
    if origin is dict:
        inner = check_of(arguments[1])
        return lambda value: isinstance(value, dict) and all(map(inner, value.values()))
    if is_typeddict(hint):
        keys = {key: check_of(inner) for key, inner in get_type_hints(hint, include_extras=True).items()}
        return lambda value: isinstance(value, dict) and all(key in value and keys[key](value[key]) for key in keys)
    if is_dataclass(hint):
        return lambda value: isinstance(value, dict)
    return _PLAIN.get(hint) or (lambda value: isinstance(value, hint))


def _value(data: Mapping[str, Any], parts: list[str]) -> Any:
    """Return the value at a dotted key, or _NOTHING."""
    found: Any = data
    for part in parts:
        if not isinstance(found, dict) or part not in found:
            return _NOTHING
        found = found[part]
    return found
