"""The same image more than once, by its pixels or by how it looks, within a split or across splits; reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dlworkflow.data.check.facts import Facts
from dlworkflow.data.check.near_duplicates import alike
from dlworkflow.errors import few

Place = tuple[str, str, Path]
"""Where an image is: split, class, file."""


def copies_among(images: Iterable[tuple[Place, Facts]]) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield (kind of finding, sentence, files) of each group of copies; images that were not decoded have none."""
    same: dict[str, list[Place]] = {}
    looks: dict[str, str] = {}
    for place, facts in images:
        if facts.digest:
            same.setdefault(facts.digest, []).append(place)
            looks[facts.digest] = facts.look
    for places in same.values():
        if len(places) > 1:
            yield _finding(places, "duplicate", "leakage")
    different = [*same.values()]
    for group in alike(looks.values()):
        yield _finding([place for index in group for place in different[index]], "alike", "alike_in_splits")


def _finding(places: Sequence[Place], in_one: str, in_several: str) -> tuple[str, str, list[Path]]:
    splits = list(dict.fromkeys(split for split, _, _ in places))
    labels = sorted({name for _, name, _ in places})
    text = f"in {' and '.join(splits)}" if splits != ["all"] else "a split by chance may put them on both sides"
    text += f", under different classes: {few(labels)}" if len(labels) > 1 else ""
    return in_several if len(splits) > 1 else in_one, text, [path for _, _, path in places]
