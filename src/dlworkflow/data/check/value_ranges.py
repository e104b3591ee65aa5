"""By which range of values all images of a data set that hold more than 8 bits are scaled to these.

One range for all of them, that of the training images: scaled one by one, images that differ in brightness alone would
become the same. Images of 8 bits stay as they are, and a data set of these has no range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dlworkflow.data.check.facts import Facts, examine
from dlworkflow.data.images.decoding import mode_of
from dlworkflow.data.images.modes import ValueRange, is_deep
from dlworkflow.data.images.pipeline import Pipeline


def with_range(pipeline: Pipeline, root: Path, splits: Mapping[str, Sequence[Path]]) -> tuple[Pipeline, list[str]]:
    """Return the pipeline with the range that it lacks, and notes on it; takes {split: images}.

    Images of more than 8 bits are read for it, unless they have not changed since (see `facts`); of others no more than
    the header.
    """
    if pipeline.value_range == "each":
        return pipeline, []
    deep = {split: [path for path in paths if is_deep(mode_of(path))] for split, paths in splits.items()}
    if not any(deep.values()):
        return pipeline, []
    found, _ = examine([path for paths in deep.values() for path in paths], root)
    value_range, notes = judge_range(
        {split: [found[path] for path in paths] for split, paths in deep.items()}, pipeline.value_range
    )
    return replace(pipeline, value_range=value_range), notes


def judge_range(splits: Mapping[str, Sequence[Facts]], given: ValueRange = None) -> tuple[ValueRange, list[str]]:
    """Return the range of what the training images hold, None where none has more than 8 bits, or the one `given`.

    With it come sentences on the levels that are lost and the values that are clipped.
    """
    deep = {
        split: [facts for facts in found if facts.digest and is_deep(facts.mode)] for split, found in splits.items()
    }
    trained = deep.get("train") or deep.get("all") or []
    if isinstance(given, tuple):
        low, high = given
    elif trained:
        low, high = min(facts.low for facts in trained), max(facts.high for facts in trained)
        high = high if high > low else low + 1
    else:
        return given, []
    step = (high - low) / 255
    lost = f", about {step:,.0f} values to a level" if step >= 2 and any(facts.mode != "F" for facts in trained) else ""
    n = sum(map(len, deep.values()))
    notes = [f"{n:,} image(s) hold more than 8 bits: values from {low:g} to {high:g} become 0 to 255{lost}"]
    for split, found in deep.items():
        if beyond := [facts for facts in found if facts.low < low or facts.high > high]:
            least, most = min(facts.low for facts in beyond), max(facts.high for facts in beyond)
            notes.append(
                f"{len(beyond):,} {split} image(s) hold values from {least:g} to {most:g}; what is outside {low:g} to "
                f"{high:g} is clipped (data.range sets another range)"
            )
    return (low, high), notes
