"""On what a run is bad: the slices and the corruptions that `dlw evaluate` has stored. Nothing is scored for it."""

from __future__ import annotations

from functools import partial

from dlworkflow.analysis.figures import Material
from dlworkflow.analysis.found_text import (
    corruption_columns,
    corruption_rows,
    robustness_sentences,
    slice_columns,
    slice_rows,
    slice_sentences,
)
from dlworkflow.analysis.report.document import Block, Fold, Points, Section, Table
from dlworkflow.analysis.report.of_scores import picture_of
from dlworkflow.runs.found import Found
from dlworkflow.runs.robustness import RobustnessScores
from dlworkflow.runs.slices import SliceScores
from dlworkflow.runs.stored import unless_damaged


def parts_section(material: Material, faults: list[str]) -> Section | None:
    """Return what is stored of slices and corruptions of the test split; None where nothing is."""
    run = material.run
    blocks: list[Block] = []
    slices = unless_damaged(partial(run.found, SliceScores), faults)
    robustness = unless_damaged(partial(run.found, RobustnessScores), faults)
    if slices is not None:
        blocks.append(Points([*slice_sentences(slices), *_stale(material, slices)]))
        blocks += [picture for kind in _figures(slices) if (picture := picture_of(material, kind)) is not None]
        blocks.append(Fold("All slices", [Table("Slices", slice_columns(slices.metric), slice_rows(slices))]))
    if robustness is not None:
        blocks.append(Points([*robustness_sentences(robustness), *_stale(material, robustness)]))
        blocks += [picture for picture in [picture_of(material, "robustness")] if picture is not None]
        table = Table("Corruptions", corruption_columns(robustness.metric), corruption_rows(robustness))
        blocks.append(Fold("All corruptions", [table]))
    return Section("Where it is weak", blocks) if blocks else None


def _figures(slices: SliceScores) -> list[str]:
    return ["slices", *(["clusters"] if any(row["examples"] for row in slices.slices) else [])]


def _stale(material: Material, found: Found) -> list[str]:
    """Return a sentence where training has gone on since."""
    if found.is_of(material.run.summary()):
        return []
    flag = f"--{found.file}"
    return [f"These are of epoch {found.epoch:g}: `dlw evaluate {material.run.name} {flag}` scores the weights of now."]
