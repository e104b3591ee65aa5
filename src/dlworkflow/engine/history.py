"""A history of training in its two forms: by column, as `train` returns it, and by epoch, as a run stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlworkflow.errors import DlwError

History = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


def by_column(history: History) -> dict[str, list[Any]]:
    """Return a history as {column: one value per epoch}; pandas' DataFrames are read, too.

    Raises DlwError for what is no history.
    """
    if hasattr(history, "to_dict"):  # a DataFrame of pandas
        history = history.to_dict("list")
    if isinstance(history, Mapping):
        return {str(name): _listed(values) for name, values in history.items()}
    if not isinstance(history, Sequence) or not all(isinstance(row, Mapping) for row in history):
        way_out = "; run.history() of a run is one" if hasattr(history, "history") else ""
        raise DlwError(
            "a history is a dictionary of lists, as `train` returns it, or a list of rows, as Run.history() has them, "
            f"not {type(history).__name__}{way_out}"
        )
    names = dict.fromkeys(name for row in history for name in row)
    return {name: [row.get(name) for row in history] for name in names}


def _listed(values: Any) -> list[Any]:
    """Return a column as a list: of a list, an array or a tensor (n,); a number alone is one epoch."""
    if isinstance(values, str) or not hasattr(values, "__iter__") or getattr(values, "ndim", 1) == 0:
        return [values]
    return list(values)
