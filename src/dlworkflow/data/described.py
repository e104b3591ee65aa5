"""What a data set of the library says of itself, by the names of torchvision's data sets; knows no file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

from dlworkflow.errors import few


class Described:
    """Gives a data set `classes`, `class_to_idx`, `targets`, `data` and a `repr`, as torchvision's have them.

    `targets` are its `labels`. `data` are all inputs as they are in memory: images of one channel (n, h, w) uint8,
    of three (n, 3, h, w), numbers (n, *in_shape). What is not in memory is an AttributeError that says where it is.
    """

    classes: list[str]
    """The class names in the order of their labels; empty where there are none or they are not known."""
    groups: Sequence[Hashable] | None = None
    """What each sample belongs to, see `protocol`."""
    table_rows: Any = None
    """The rows of a table that the samples are, see `protocol`."""

    def named(self, classes: Sequence[str]) -> Self:
        """Set the class names and return the data set."""
        object.__setattr__(self, "classes", list(classes))  # one of the data sets is a frozen dataclass
        return self

    @property
    def class_to_idx(self) -> dict[str, int]:
        """{class name: label}."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    def targets(self) -> Any:
        """The labels of all samples, (n, ...)."""
        return self._held("labels", "targets")

    @property
    def data(self) -> Any:
        """All inputs as they are in memory, see the class."""
        return self._held("_all_inputs", "data")

    def _held(self, name: str, asked: str) -> Any:
        found = getattr(self, name, None)
        if found is None:
            name = type(self).__name__
            raise AttributeError(
                f"{name} has no .{asked} in memory: its files are read sample by sample; [0] is the first"
            )
        return found

    def _facts(self) -> Mapping[str, object]:
        """Return what else the `repr` shows, {heading: value}."""
        return {}

    def __repr__(self) -> str:
        facts: dict[str, object] = {"Number of datapoints": len(self)}  # type: ignore[arg-type] # whoever is described is a data set
        facts |= {"Classes": few(self.classes, quoted=False)} if self.classes else {}
        lines = [f"{heading}: {value}" for heading, value in {**facts, **self._facts()}.items()]
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])
