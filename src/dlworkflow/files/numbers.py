"""Numbers as people read them in a table or a sentence. Knows no table."""

from __future__ import annotations

import math

from dlworkflow.files.text import printable


def percent(fraction: float | None) -> str:
    """Return 0.7916 as 79.16 %, an empty text for None and nan."""
    return "" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f} %"


def number(value: object) -> str:
    """Return a value as a cell: floats with five decimals, integers with thousands separators, None empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return printable(value)
    return f"{value:,}" if isinstance(value, int) else loss(value)


def loss(value: float) -> str:
    """Return a loss with five decimals; a huge one in powers of ten."""
    return f"{value:.5f}" if abs(value) < 1e6 else f"{value:.5e}"


def short(value: float) -> str:
    """Return a number with four decimals, or in powers of ten where that would hide it."""
    return f"{value + 0.0:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def file_size(size: int) -> str:
    """Return a number of bytes as 31.4 kB, 12.3 MB or 1.2 GB: multiples of a thousand, as disks have them."""
    for power, unit in ((9, "GB"), (6, "MB")):
        if size >= 10**power:
            return f"{size / 10**power:,.1f} {unit}"
    return f"{size / 1000:.1f} kB"


def is_number(cell: str) -> bool:
    """Return whether a cell is a number or empty."""
    return not cell or cell[0].isdigit() or (cell[0] == "-" and cell[1:2].isdigit())
