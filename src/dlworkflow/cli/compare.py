"""`dlw compare`: runs side by side, from their folders alone; torch is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlworkflow.cli.options import RUN_HELP, AtOption, OverwriteOption, RunsDirOption, complete_runs, figure_file, say
from dlworkflow.cli.runs import explain_marks
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.errors import ConfigError, RunError, few, unknown
from dlworkflow.files.text import json_text
from dlworkflow.runs.cells import headings, pretty, pretty_seeds, shown_columns

if TYPE_CHECKING:
    from dlworkflow.analysis.differences import Differences

_NO_SETTINGS = ("run", "seeds", "status", "model", "data", "best_epoch", "baseline", "parameters", "seconds", "letters")
_COSTS = ("size_mb", "mult_adds", "ms", "ms_in_batch", "memory_mb")


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help=f"{RUN_HELP} A sweep stands for all its runs [default: all runs].",
            autocompletion=complete_runs,
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column to sort by: accuracies from the highest, losses from the lowest [default: order of the runs].",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Metric that selects the best epoch of each run, as test_acc [default: validation loss, else "
            "test loss].",
        ),
    ] = None,
    at: AtOption = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Only runs with this value of a column or setting, or with this tag (tag=good); may be repeated.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Columns to print; any setting is one. `all` prints all that differ, at any width [default: those "
            "that fit the terminal].",
        ),
    ] = None,
    over_seeds: Annotated[
        bool,
        typer.Option(
            "--over-seeds",
            help="One row for runs that differ only in their seed: mean and standard deviation [default: off].",
        ),
    ] = False,
    test: Annotated[
        bool | None,
        typer.Option(
            "--test/--no-test",
            help="Test whether the runs differ by more than chance: by the answers that `dlw evaluate` stored, or over "
            "seeds [default: for two to six runs that are named].",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", help="Split whose stored answers are tested: that of `dlw evaluate`.")
    ] = "test",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save a figure of all runs: .png, .svg or .pdf [default: none].")
    ] = None,
    overwrite: OverwriteOption = False,
    plot_kind: Annotated[
        Literal["curves", "bars", "tradeoff", "robustness"],
        typer.Option(
            "--plot-kind",
            help="Figure of --plot: curves of losses and accuracies, bars of accuracies, accuracy by the time of a "
            "prediction (tradeoff), which `dlw costs` measures, or scores on corrupted images (robustness).",
        ),
    ] = "curves",
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Compare runs in one table.

    Best epoch, losses and accuracies there, the majority baseline, parameters, seconds, the settings that differ. Two
    to six runs that are named are tested, too: rows that share a letter do not differ significantly.
    """
    from dlworkflow.cli.tested import is_by_itself, needs_two, print_tests, run_names, tests_of, with_letters
    from dlworkflow.runs import list_runs, runs_folder
    from dlworkflow.runs.cells import row_names
    from dlworkflow.runs.comparison import (
        all_columns,
        compare_runs,
        compare_seeds,
        read_runs,
        seed_scores,
        sort_rows,
    )
    from dlworkflow.training.sweep.folder import find_runs

    target = figure_file("--plot", plot, overwrite)
    if at not in (None, "best", "last"):
        raise ConfigError(f"--at: {unknown('value', at, ('best', 'last'))}")
    if at == "last" and by is not None:
        raise ConfigError(f"--by {by}: chooses an epoch, and --at last takes the last; leave one out (--sort sorts)")
    is_whole, columns = columns is not None, None if columns == "all" else columns
    conditions = _conditions(where or ())
    named = [run for name in names for run in find_runs(name, runs_dir)] if names else list_runs(runs_dir)
    if not named:
        raise RunError(f"no runs in {str(runs_folder(runs_dir))!r} yet; make one with `dlw train MODEL`")
    epoch: Any = {"by": by, "at": at or "best"}
    found = read_runs(dict.fromkeys(named), **epoch)
    rows = compare_runs(found, where=conditions, **epoch)
    if not rows:
        raise RunError(f"none of {len(found)} runs fits {', '.join(where or ())}")
    seeds = compare_seeds(found, where=conditions, **epoch)
    if over_seeds and not seeds:
        raise RunError(f"none of {len(rows)} runs has finished: there is nothing to average")
    tested = None
    if test or (test is None and is_by_itself(rows, names or (), output)):

        def scores_of(metric: str) -> Sequence[Mapping[int, float]]:
            return seed_scores(found, metric, where=conditions, **epoch)

        tested = tests_of(found, rows, seeds, scores_of, sort=sort, split=split, only_seeds=over_seeds)
        rows, seeds = with_letters(rows, run_names(rows), tested), with_letters(seeds, row_names(seeds), tested)
    table: Any = {"sort": sort, "output": output, "is_whole": is_whole, "tested": tested}
    if over_seeds:
        _print(seeds, columns, pretty_seeds, row_names(seeds), **table)
    else:
        if columns is not None:
            settings = all_columns(found, where=conditions)
            rows = [every | row for every, row in zip(settings, rows, strict=True)]
        _print(rows, columns, pretty, run_names(rows), **table)
        if output is Format.table and columns is None and any(row["seeds"] > 1 for row in seeds):
            typer.echo("\nover seeds, mean and standard deviation:")
            several = [row for row in seeds if row["seeds"] > 1]
            names_of = dict(zip(map(id, seeds), row_names(seeds), strict=True))
            own = [names_of[id(row)] for row in several]
            _print(several, None, pretty_seeds, own, **table | {"sort": None})
    if tested is not None:
        if test and not tested.pairs:
            raise RunError(f"--test: {'; '.join(tested.left_out) or needs_two(rows, over_seeds=over_seeds)}")
        print_tests(tested, output)
    on_test = [row["run"] for row in rows if by is None and row.get("chosen_on") == "test"]
    if on_test:
        which = "" if len(on_test) == len(rows) else f" (of {few(on_test, quoted=False)})"
        why = "as there is no validation split; expect a little less on new data"
        say(f"best epoch{which}: the lowest test loss, {why}")
    if len({row["measured_on"] for row in rows if "measured_on" in row}) > 1:
        say("note    times are of several machines, devices or numbers of threads; `dlw costs` measures them anew")
    if target is not None:
        from dlworkflow.analysis.comparison_figures import draw_runs

        kept = [row["path"] for row in (sort_rows(rows, sort) if sort else rows) if row.get("best_epoch") is not None]
        by_path = {str(run.path): run for run in found}
        say(f"figure {target.save(draw_runs([by_path[path] for path in kept], kind=plot_kind, **epoch))}")


def _chosen(rows: Sequence[dict[str, Any]], columns: str | None) -> list[str]:
    """Return the keys to show: those named, or all but what a person does not compare by."""
    if columns is None:
        return shown_columns(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    chosen = [name.strip().replace(" ", "_") for name in columns.split(",")]
    for name in chosen:
        if name not in keys:
            raise ConfigError(f"--columns: {unknown('column', name, keys)}")
    return chosen


def _print(
    rows: Sequence[dict[str, Any]],
    chosen: str | None,
    cells: Callable[[dict[str, Any]], dict[str, Any]],
    names: Sequence[str],
    *,
    sort: str | None,
    output: Format,
    is_whole: bool,
    tested: Differences | None,
) -> None:
    """Print the `chosen` columns of rows; `names` are what the tests call them."""
    from dlworkflow.cli.tested import highlighted, shows_letters
    from dlworkflow.runs.comparison import sort_rows

    keys = _chosen(rows, chosen)
    if chosen is None and not shows_letters(names, tested):
        keys = [key for key in keys if key != "letters"]
    best = highlighted(rows, names, tested) if tested is not None else []
    column = ""
    if sort is not None:
        column = sort.replace(" ", "_")
        known = list(dict.fromkeys(key for row in rows for key in row))
        if column not in known:
            raise ConfigError(f"--sort: {unknown('column', column, known)}")
        rows = sort_rows(rows, column)
    apart = _with_deviations(rows, keys)
    if "over_batches" not in apart and any(row.get("over_batches") for row in rows):
        apart.append("over_batches")
    raw = [{key: row.get(key) for key in apart} for row in rows]
    if tested is not None and output is Format.json:
        typer.echo(json_text({"rows": raw, "tests": tested.to_data()}, indent=1))
        return
    columns = headings(keys if output in (Format.table, Format.md) else apart)
    look: Any = {"first": [column, *_important(keys)], "whole": is_whole}
    look["best"] = [index for index, row in enumerate(rows) if any(row is one for one in best)]
    print_table([cells(row) for row in rows], columns, output, raw, **look, every="`--columns all` prints every column")
    if output in (Format.table, Format.md):
        explain_marks(row for row in rows if set(row.get("over_batches", "").split()) & set(keys))


def _important(keys: Sequence[str]) -> list[str]:
    """Return the columns that a narrow terminal shows first: held-out scores, and settings where few differ."""
    held_out = [key for key in keys if key.startswith(("val_", "test_"))]
    settings = [
        key for key in keys if key not in (*_NO_SETTINGS, *_COSTS) and not key.startswith(("val_", "test_", "train_"))
    ]
    return ["status", "letters", *held_out, "best_epoch", *(settings if len(settings) <= 3 else ())]


def _with_deviations(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[str]:
    """Put each metric's deviation beside it where the rows have one: a program reads them apart."""
    have = {key for row in rows for key in row}
    return [name for key in keys for name in (key, f"{key}_sd") if name == key or name in have]


def _conditions(where: Sequence[str]) -> dict[str, str]:
    """Return {key: value} of the filters; of tags all, separated by commas."""
    found: dict[str, str] = {}
    for text in where:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise ConfigError(f"--filter {text}: write it as key=value, for example --filter model=tinyvgg")
        if key in found and key != "tag":
            raise ConfigError(f"--filter {key}: given twice, {found[key]!r} and {value!r}; leave one out")
        found[key] = f"{found[key]},{value}" if key in found else value
    return found
