"""The report of one run: its sections in the order in which a colleague asks."""

from __future__ import annotations

from dlworkflow.analysis.diagnosis.of_run import diagnose_run
from dlworkflow.analysis.figures import Material
from dlworkflow.analysis.report.document import Block, Points, Section, Table, Text
from dlworkflow.analysis.report.of_calibration import calibration_section
from dlworkflow.analysis.report.of_costs import costs_section
from dlworkflow.analysis.report.of_data import data_section
from dlworkflow.analysis.report.of_labels import labels_of_run
from dlworkflow.analysis.report.of_parts import parts_section
from dlworkflow.analysis.report.of_samples import samples_section
from dlworkflow.analysis.report.of_scores import (
    headline,
    picture_of,
    score,
    scores_section,
    warnings_of,
    warnings_section,
)
from dlworkflow.analysis.report.of_settings import repeat_section, settings_section
from dlworkflow.errors import CodeError, DlwError
from dlworkflow.runs import Run, shows_batch_means, trained_epochs
from dlworkflow.runs.notes import SEPARATOR, Notes
from dlworkflow.runs.stored import unless_damaged


def lead_and_sections(run: Run, *, data_dir: str | None = None) -> tuple[list[str], list[Section]]:
    """Return what matters most of a run in sentences, and the sections of its report.

    What cannot be known any more, as its data is gone or a file of it damaged, is left out, and a sentence says so.
    Raises RunError for a damaged run and CodeError where code of the user's own must be named first.
    """
    material, faults = Material(run, data_dir=data_dir), list[str]()
    scored, notes = score(material), unless_damaged(run.notes, faults) or Notes()
    sections = [
        data_section(material),
        _training(material),
        scores_section(material, scored),
        calibration_section(run, faults),
        samples_section(material, scored),
        labels_of_run(run, faults, data_dir=data_dir),
        parts_section(material, faults),
        _diagnosis(run),
        costs_section(run, faults),
        settings_section(run),
        repeat_section(run),
    ]
    sections = [warnings_section([*warnings_of(material, scored), *faults]), *sections]
    return [*headline(run.summary(), scored), *_kept(notes)], [section for section in sections if section is not None]


def _kept(notes: Notes) -> list[str]:
    tags = [f"Tags: {SEPARATOR.join(notes.tags)}."] if notes.tags else []
    return ([f"Note: {notes.note}"] if notes.note else []) + tags


def _training(material: Material) -> Section | None:
    """Return how a run was trained and its curves; None where no epoch has ended."""
    run, summary = material.run, material.run.summary()
    rows = run.history()
    if not trained_epochs(rows):
        return None
    seconds = summary.seconds or sum(row["seconds"] for row in rows)
    sentences = [
        f"{len(rows):,} of {summary.config['epochs']:,} epochs in {seconds:,.{0 if seconds >= 100 else 1}f} s on "
        f"{summary.device}; {summary.parameters:,} parameters."
    ]
    if summary.best:
        sentences.append(f"The best is epoch {int(summary.best['epoch'])}, of the lowest {summary.chosen_on} loss.")
        if summary.chosen_on == "test":
            sentences.append("There is no validation split: expect a little less on new data.")
    if summary.stopped_early:
        sentences.append("Early stopping ended it.")
    blocks: list[Block] = [Text(" ".join(sentences))]
    if shows_batch_means(summary):
        blocks.append(Text("Losses and accuracies by epoch are means over batches (averaging: batch)."))
    kinds = ["curves", *(["lr"] if len({row["lr"] for row in rows}) > 1 else [])]
    blocks += [picture for kind in kinds if (picture := picture_of(material, kind)) is not None]
    return Section("Training", blocks)


def _diagnosis(run: Run) -> Section | None:
    """Return what the curves mean and what to try next; None where there is nothing to diagnose."""
    try:
        found = diagnose_run(run)
    except CodeError:
        raise
    except DlwError as error:
        return Section("Diagnosis", [Text(f"{error}.")])
    reason, *evidence = found.diagnosis.evidence
    blocks: list[Block] = [
        Text(f"{found.diagnosis.verdict.replace('_', ' ').capitalize()}: {reason[:1].lower()}{reason[1:]}."),
        Points([*evidence, *found.notes]),
    ]
    if found.suggestions:
        rows = [{"why": why, "command": command} for why, command in found.suggestions]
        columns = {"why": "to try, one at a time", "command": "command"}
        blocks.append(Table("What to try, most promising first", columns, rows))
    return Section("Diagnosis", blocks)
