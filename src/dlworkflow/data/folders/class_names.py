"""Class names: compared in one Unicode form, noted where they differ in case alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from dlworkflow.errors import DataError, few


def nfc(name: str) -> str:
    """Return a name in the form in which two that look the same are the same (Unicode NFC)."""
    return unicodedata.normalize("NFC", name)


def one_form(names: Iterable[str], where: object) -> None:
    """Raise DataError for two names that look the same and are written with other characters."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(nfc(name), name)) != name:
            raise DataError(
                f"{str(where)!r} has two classes that look the same, {other!a} and {name!a} (a letter with its accent, "
                "and both apart); give them one name"
            )


def alike_in_case(classes: Sequence[str]) -> list[str]:
    """Return a note on classes that differ in upper and lower case alone, or none."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(folded(name), []).append(name)
    twice = [f"{few(names)}" for names in groups.values() if len(names) > 1]
    return [f"classes differ in upper and lower case alone: {'; '.join(twice[:6])}"] if twice else []


def match_classes(train: Sequence[str], other: Sequence[str], train_name: object, other_name: object) -> None:
    """Raise DataError with both lists when the other split has a class that the training split lacks."""
    if not (extra := [name for name in other if name not in train]):
        return
    known = {folded(name): name for name in train}
    alike = next(((name, known[folded(name)]) for name in extra if folded(name) in known), None)
    hint = f"; {alike[0]!r} and {alike[1]!r} differ in upper and lower case alone" if alike else ""
    raise DataError(
        f"classes only in {str(other_name)!r}: {few(extra)}; {str(train_name)!r} has {few(train)}, "
        f"the other {few(other)}{hint}"
    )


def folded(name: str) -> str:
    """Return a name as it compares where upper and lower case are the same."""
    return nfc(name).casefold()
