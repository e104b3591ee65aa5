"""What is imported on first use: names of a package, so that importing it costs nothing, and packages that draw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any


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


@contextmanager
def pyplot_left_alone() -> Iterator[None]:
    """Import in the block what loads pyplot for figures of its own: captum, torchmetrics.

    Where nothing has imported pyplot before, it counts as not imported afterwards: the course's figures are pyplot's
    only where a script asks for it.
    """
    was_there = "matplotlib.pyplot" in sys.modules
    yield
    if not was_there and sys.modules.pop("matplotlib.pyplot", None) is not None:
        del sys.modules["matplotlib"].pyplot  # `from matplotlib import pyplot` looks there
