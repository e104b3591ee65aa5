"""What each setting means: its line of documentation, its values, its default; from its field or its signature.

Knows no model and no data set; a registry gives it the signatures.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dlworkflow.config.settings import SweepSettings, TrainConfig
from dlworkflow.registry import OneOf, Range, Registry

_LARGE = 1e6  # an upper bound above this is not worth a word


@dataclass(frozen=True)
class Setting:
    """A setting by its dotted key: one line of documentation, the values that it takes, its default, all as text."""

    key: str
    about: str
    values: str
    default: str


@cache
def fixed_settings() -> dict[str, Setting]:
    """Return the settings of the classes in `settings` by dotted key, sections first, in their order."""
    return {setting.key: setting for setting in (*_settings(TrainConfig, ""), *_settings(SweepSettings, "sweep."))}


def _settings(settings: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in settings.model_fields.items():
        sections = [*_sections(field.annotation)]
        for section in sections:
            yield from _settings(section, f"{prefix}{name}.")
        if not sections:
            values = values_of(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
            about, default = split_default(field.description or "")
            yield Setting(f"{prefix}{name}", about, values, default or _default(field))


def split_default(about: str) -> tuple[str, str]:
    """Return a line of documentation and the default that it states: `No bound [default: none].`."""
    about, _, default = about.rstrip("].").partition(" [default: ")
    return f"{about}." if about else "", default


def _sections(hint: Any) -> Iterator[type[BaseModel]]:
    """Return the classes of settings in a type: one for a section, several where its name chooses among them."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for part in get_args(hint):
        yield from _sections(part)


def settings_of_thing(registry: Registry[Any], name: str) -> dict[str, Setting]:
    """Return the settings of a thing's own signature, by their names; a text noted in a type is its documentation."""
    defaults, found = registry.settings(name), {}
    for key, hint in registry.types(name).items():
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        about = next((note for note in notes if isinstance(note, str)), registry.documented.get(key, ""))
        about, default = split_default(about)
        found[key] = Setting(key, about, values_of(hint), default or shown(defaults[key]))
    return found


def _default(field: FieldInfo) -> str:
    return "" if field.is_required() or field.default_factory else shown(field.default)


def shown(default: object) -> str:
    """Return a default as a user writes it; nothing for none."""
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def values_of(hint: Any, notes: Iterable[Any] = ()) -> str:
    """Return in words which values a type takes, bounds among them: `whole number, at least 1, or full`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return values_of(arguments[0], [*notes, *arguments[1:]])
    for note in notes:
        if isinstance(note, OneOf):
            return _listed(note.names)
    if origin in (Union, types.UnionType):
        parts = [values_of(part, notes) for part in arguments if part is not type(None)]
        return ", or ".join(filter(None, parts))
    if origin is Literal:
        return _listed(map(str, arguments))
    named = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", tuple: "list"}
    words = named.get(hint if origin is None else origin, "")
    return words + _bounds(notes) if hint in (int, float) else words


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _bounds(notes: Iterable[Any]) -> str:
    """Return the bounds that notes of a type hold: pydantic's, or a `Range`."""
    found: dict[str, float] = {}
    for note in notes:
        if isinstance(note, Range):
            found |= {"gt": note.low, "lt": note.high} if note.open else {"ge": note.low, "le": note.high}
        for part in note.metadata if isinstance(note, FieldInfo) else [note]:
            found |= {
                name: limit for name in ("gt", "ge", "lt", "le") if (limit := getattr(part, name, None)) is not None
            }
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    parts = [f"{words[name]} {found[name]:g}" for name in words if math.fabs(found.get(name, math.inf)) <= _LARGE]
    return f", {' and '.join(parts)}" if parts else ""
