"""The columns of a table as rows: what each is, what it is used for, its values; knows no terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlworkflow.data.columns import MISSING
from dlworkflow.data.tables.roles import Roles
from dlworkflow.errors import few


def describe(roles: Roles) -> list[dict[str, Any]]:
    """Return a row per column: column, use (input, target, split, group, left out), kind, missing, values."""
    uses = {roles.target_name: "target", roles.split: "split", roles.group: "group"}
    return [
        {
            "column": name,
            "use": uses.get(name) or ("left out" if name in roles.left_out else "input"),
            "kind": _kind(roles, name),
            "missing": sum(cell.casefold() in MISSING for cell in cells),
            "values": _values(roles, name, cells),
        }
        for name, cells in roles.table.cells.items()
    ]


def _kind(roles: Roles, name: str) -> str:
    if name == roles.target_name:
        return "number" if roles.task == "regression" else f"{len(roles.classes)} classes"
    return "number" if name in roles.numbers else "category" if name in roles.categories else ""


def _values(roles: Roles, name: str, cells: Sequence[str]) -> str:
    numbers = roles.numbers.get(name)
    if name == roles.target_name and roles.task == "regression":
        numbers = roles.target
    if numbers is not None:
        return f"mean {np.nanmean(numbers):.4g}, {np.nanmin(numbers):g} to {np.nanmax(numbers):g}"
    counts = Counter(cell for cell in cells if cell.casefold() not in MISSING)
    return few((f"{cell} ({n:,})" for cell, n in counts.most_common()), 4, quoted=False)
