"""`dlw data labels`: which labels of a data set are probably wrong, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import Given, takes_code, typed_layers, with_settings
from dlworkflow.cli.crossval import FoldLines, finish_folds, say_folds
from dlworkflow.cli.options import (
    OfflineOption,
    OverwriteOption,
    RunsDirOption,
    SetOption,
    complete_data,
    count,
    file_bar,
    say,
)
from dlworkflow.cli.sweep import found_to_resume, refuse_settings
from dlworkflow.cli.tables import FORMAT_HELP, Format, print_table
from dlworkflow.cli.train import completed
from dlworkflow.config.flags import DATA, OF_LABELS, OUTPUT, RUN
from dlworkflow.errors import ConfigError
from dlworkflow.files.numbers import short
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import json_text, shell_command
from dlworkflow.metrics.multilabel import NO_LABELS
from dlworkflow.registry.user_code import named_files
from dlworkflow.runs import Run
from dlworkflow.training.sweep.folder import FINISHED, Sweep

if TYPE_CHECKING:
    from dlworkflow.analysis.label_errors import LabelErrors
    from dlworkflow.config import Layer, SweepSettings
    from dlworkflow.data.splits import Splits
    from dlworkflow.runs.labels import Suspect

SHOWN = 20
"""Suspects that a table shows by default."""


@takes_code
@with_settings(*OF_LABELS)
def labels(
    given: Given,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="DATA|RUN",
            help="Data: a name of `dlw data list`, or a path. Or a run or a cross-validation: a path, a name or the "
            "start of one, last or best.",
            autocompletion=complete_data,
        ),
    ],
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=count, help="Folds of the training data, at least 2 [default: 5].", rich_help_panel=DATA
        ),
    ] = None,
    all_splits: Annotated[
        bool,
        typer.Option(
            "--all-splits",
            help="Check the test split too, by the mean of all models [default: the training data].",
            rich_help_panel=DATA,
        ),
    ] = False,
    settings: SetOption = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Pretrained model, whose weights are on this machine, in whose features outliers are looked for "
            "[default: the model of the first fold].",
            rich_help_panel=RUN,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="With an unfinished cross-validation: train failed folds again.", rich_help_panel=RUN
        ),
    ] = False,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", metavar="N", parser=count, help=f"Suspects in the table [default: {SHOWN}].", rich_help_panel=OUTPUT
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP, rich_help_panel=OUTPUT)] = Format.table,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="CSV file of all suspects [default: none].", rich_help_panel=OUTPUT),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Page with the images of the suspects: .html or .md [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file of the whole data with the suggested labels, never inside the data [default: none].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    accept: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --out: file of --csv of which you have kept the rows to be corrected [default: all that are "
            "predicted otherwise].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name of the cross-validation's folder; a number is appended [default: MODEL-labels].",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    runs_dir: RunsDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """List the labels that are probably wrong, worst first.

    Each training sample is predicted by a model that was not trained on it (`dlw crossval`); confident learning ranks
    the labels by these predictions. Of images, copies with different labels and outliers are listed too. DATA is
    cross-validated with a model that suits it, or --model; a run with its own settings; of a cross-validation that has
    finished, the stored predictions are taken, and one that was stopped is finished first. Your data is not changed.
    Needs cleanlab: pip install 'dlworkflow[labels]'.

    Examples:
    dlw data labels path/to/images --page suspects.html
    dlw data labels digits --model tinyvgg --epochs 10 --csv suspects.csv
    dlw data labels tinyvgg-labels-001 --accept suspects.csv --out corrected.csv
    """
    from dlworkflow.analysis.label_errors import check_extra, label_errors_of, subject_of
    from dlworkflow.config import from_flags

    check_extra()
    files = _Files(csv, page, out, accept, overwrite)
    of_the_sweep = from_flags({key: value for key, value in given.items() if key.startswith("sweep.")})
    of_runs = {key: value for key, value in given.items() if not key.startswith("sweep.")}
    layers = [*typed_layers((), settings, completed(of_runs, None, runs_dir)), of_the_sweep]
    what = subject_of(subject, runs_dir)
    again = [*files.words(), *(["--all-splits"] if all_splits else []), *(["--backbone", backbone] if backbone else [])]
    if isinstance(what, Sweep):
        refuse_settings(layers, {"--folds": folds, "--name": name})
        sweep = _finished(what, of_the_sweep, files, again, retry_failed=retry_failed)
    elif retry_failed:
        raise ConfigError("--retry-failed: only with an unfinished cross-validation")
    else:
        sweep = _trained(what, layers, folds or 5, runs_dir, name, offline, files, again)
    if sweep is None:
        return
    device = str(sweep.read().base.get("device", "auto"))
    with file_bar() as on_files:
        result = label_errors_of(sweep, all_splits=all_splits, backbone=backbone, device=device, on_progress=on_files)
    try:  # a folder of runs that cannot be written costs no result
        files.write(result)
        result.store(*([what] if isinstance(what, Run) else []))
    finally:
        _print(result, output, n)
    for note in result.found.notes:
        say(f"warning: {note}")
    if result.suspects and not files.page:
        code = [word for file in named_files() for word in ("--code", file)]
        command = shell_command(["dlw", "data", "labels", str(sweep.path), "--page", "suspects.html", *code])
        say(f"look at them, nothing is predicted again: {command}")


@dataclass(frozen=True)
class _Files:
    """The files that a user asks for, refused before the work where they must not be written."""

    csv: Path | None
    page: Path | None
    out: Path | None
    accept: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        if self.accept is not None and self.out is None:
            raise ConfigError("--accept: only with --out FILE")
        if self.overwrite and not self._named():
            raise ConfigError("--overwrite: only with --csv, --page or --out FILE")
        places = dict[Path, str]()
        for option, path in self._typed().items():
            if (other := places.setdefault(user_path(path).resolve(), option)) != option:
                raise ConfigError(f"{option}: {str(path)!r} is the file of {other}, too; name another for one of them")

        self._check_alone()

    def _check_alone(self) -> None:
        """Raise ConfigError or DataError where one of them cannot be, whatever the data."""
        from dlworkflow.analysis.label_errors.correcting import accepted_rows
        from dlworkflow.analysis.report.writing import report_file
        from dlworkflow.files.writing import is_device

        if self.page is not None:
            report_file(self.page, None, option="--page")
        if self.accept is not None and not is_device(user_path(self.accept)):  # a pipe is read once, when it is needed
            accepted_rows(user_path(self.accept))

    def _named(self) -> dict[str, Path]:
        named = {"--csv": self.csv, "--page": self.page, "--out": self.out}
        return {option: path for option, path in named.items() if path is not None}

    def _typed(self) -> dict[str, Path]:
        return self._named() | ({"--accept": self.accept} if self.accept is not None else {})

    def words(self) -> list[str]:
        """Return the options as they are typed."""
        words = [word for option, path in self._typed().items() for word in (option, str(path))]
        return words + (["--overwrite"] if self.overwrite else [])

    def check(self, config: dict[str, Any], splits: Splits | None = None) -> None:
        """Raise ConfigError or DataError where one of them cannot be, for data with these settings."""
        from dlworkflow.analysis.label_errors.correcting import check_correctable
        from dlworkflow.data import input_files
        from dlworkflow.files.outside import check_outside

        inputs = [*input_files(config)]
        for option, path in self._named().items():
            check_outside(path, inputs, option=option, overwrite=self.overwrite)
        if self.out is not None and splits is not None:
            check_correctable(splits, config)

    def write(self, result: LabelErrors) -> None:
        """Write them; a line on stderr says how many labels are others, and how many samples are left out."""
        if self.csv is not None:
            say(f"wrote {result.write_csv(self.csv, overwrite=self.overwrite)}")
        if self.page is not None:
            say(f"wrote {result.write_page(self.page, overwrite=self.overwrite)}")
        if self.out is not None:
            made = result.write_corrected(self.out, accept=self.accept, overwrite=self.overwrite)
            labels = "1 label differs" if made.changed == 1 else f"{made.changed:,} labels differ"
            if made.left_out:
                labels += f", {made.left_out:,} {'sample is' if made.left_out == 1 else 'samples are'} left out"
            say(f"wrote {made.file}: {labels}; the data itself is as it was")


class _LabelLines(FoldLines):
    """The lines of a cross-validation that is to check labels."""

    def __init__(self, found: Sweep, settings: SweepSettings, resumed: bool, again: Sequence[str]) -> None:
        super().__init__(found, settings, resumed)
        self._again = again

    def to_resume(self, *more: str) -> str:
        """Return the command that trains what is left and then checks the labels."""
        code = [word for file in named_files() for word in ("--code", file)]
        return shell_command(["dlw", "data", "labels", str(self._sweep.path), *self._again, *more, *code])


def _trained(
    what: str | Run,
    layers: list[Layer],
    folds: int,
    runs_dir: str | None,
    name: str | None,
    offline: bool,
    files: _Files,
    again: Sequence[str],
) -> Sweep | None:
    """Cross-validate data or a run's settings; None where that was stopped early."""
    from dlworkflow.analysis.label_errors import plan_check

    plan, settings, job, note = plan_check(what, layers, folds=folds, offline=offline)
    files.check(job.config.to_tree()["data"], job.splits)
    for line in filter(None, (note, *job.splits.selected[:-1])):
        say(f"note    {line}")
    say_folds(job, folds)
    sweep = Sweep.create(runs_dir, name or plan.stem("labels"), plan)
    return sweep if finish_folds(_LabelLines(sweep, settings, False, again)) is not None else None


def _finished(
    sweep: Sweep, of_the_sweep: Layer, files: _Files, again: Sequence[str], *, retry_failed: bool
) -> Sweep | None:
    """Train what is left of a cross-validation, if anything; None where that was stopped early."""
    plan = sweep.read()
    files.check(plan.base.get("data", {}))
    if all(point.status == FINISHED for point in plan.points):
        return sweep
    _, settings = found_to_resume(str(sweep.path), None, of_the_sweep, folds=True)
    lines = _LabelLines(sweep, settings, True, again)
    return sweep if finish_folds(lines, retry_failed=retry_failed) is not None else None


def _print(result: LabelErrors, output: Format, n: int | None) -> None:
    """Print the worst suspects as a table below what was found, or all of them for programs."""
    from dlworkflow.analysis.label_errors.correcting import csv_rows
    from dlworkflow.analysis.report.of_labels import about, name_of

    rows = result.suspects[: n or (SHOWN if output in (Format.table, Format.md) else None)]
    if output is Format.json:
        typer.echo(json_text(result.found.to_data() | {"suspects": rows}, indent=1))
        return
    if output not in (Format.table, Format.md):
        raw = csv_rows(rows)
        print_table(raw, {key: key for key in raw[0]} if raw else {"label": "label"}, output, raw)
        return
    if output is Format.table:
        typer.echo("\n".join(about(result.found)) + ("\n" if rows else ""))
    if rows:
        cells = [
            {"sample": name_of(row), "label": row["label"] or NO_LABELS, "suggested": _suggested(row)}
            | {"score": short(row["score"]), "reason": row["reason"]}
            for row in rows
        ]
        print_table(cells, {key: key for key in cells[0]}, output, first=("sample", "label", "suggested", "score"))
    if (more := len(result.suspects) - len(rows)) > 0:
        say(f"{more:,} more: --n {len(result.suspects)} prints all, --csv FILE writes them")


def _suggested(row: Suspect) -> str:
    return "" if row["suggested"] is None else row["suggested"] or NO_LABELS
