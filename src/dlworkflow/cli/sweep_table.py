"""The table of a sweep: a row a combination, and which rows differ by more than chance over their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.options import say
from dlworkflow.cli.runs import explain_marks
from dlworkflow.cli.tables import Format, print_table
from dlworkflow.cli.tested import highlighted, not_comparable, print_tests, shows_letters, with_letters
from dlworkflow.files.numbers import number, percent
from dlworkflow.runs.cells import headings, pretty

if TYPE_CHECKING:
    from dlworkflow.analysis.differences import Differences
    from dlworkflow.cli.options import FigureFile
    from dlworkflow.config import SweepSettings
    from dlworkflow.training.sweep.folder import Plan, Sweep

Row = dict[str, Any]


def print_sweep(found: Sweep, plan: Plan, settings: SweepSettings, target: FigureFile | None, output: Format) -> None:
    """Print a row a combination with the letters of the tests over seeds, and what they and the order are worth."""
    from dlworkflow.runs.comparison import higher_is_better
    from dlworkflow.training.sweep.table import first_run, sweep_rows

    rows, metric = sweep_rows(found, plan, by=settings.by, at=settings.at)
    names = [_named(row, plan.keys) for row in rows]
    tested = _tests(found, plan, settings, dict(zip(names, rows, strict=True)), metric)
    rows = with_letters(rows, names, tested) if tested.pairs else rows
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if not key.endswith("_sd")]
    if not shows_letters(names, tested):
        keys = [key for key in keys if key != "letters"]
    if output in (Format.table, Format.md):
        keys = [key for key in keys if key not in ("runs", "over_batches")]
        if all(row["status"] == "finished" for row in rows):
            keys = [key for key in keys if key not in ("status", "reason")]
        elif not any(row["reason"] for row in rows):
            keys.remove("reason")
        columns = headings(keys)
    else:
        columns = headings(dict.fromkeys(key for row in rows for key in row))
    raw = rows if output is Format.json else [row | {"runs": " ".join(row["runs"])} for row in rows]
    best = [place for place, row in enumerate(rows) if any(row is one for one in highlighted(rows, names, tested))]
    print_table([_cells(row) for row in rows], columns, output, raw, first=(metric, "letters"), best=best)
    if output in (Format.table, Format.md):
        explain_marks(rows)
    print_tests(tested, output, with_pairs=False)
    if (name := first_run(found, rows, metric, settings.by)) is not None:
        which = "highest" if higher_is_better(metric) else "lowest"
        say(f"{which} {metric.replace('_', ' ')} in the first row: {found.run(name).path}")
    _say_what_chose(found, rows, metric, settings)
    if target is not None:
        from dlworkflow.plotting import plot_sweep

        say(f"figure {target.save(plot_sweep(rows, plan.keys, metric))}")


def _named(row: Row, keys: Sequence[str]) -> str:
    """Return what a combination is called: the name of its variant, else its settings."""
    if list(keys) == ["variant"]:
        return str(row["variant"])
    return " ".join(f"{key.rpartition('.')[2]}={pretty({key: row[key]})[key]}" for key in keys)


def _tests(found: Sweep, plan: Plan, settings: SweepSettings, rows: dict[str, Row], metric: str) -> Differences:
    """Return the tests of the combinations that have several seeds; of fewer than two there are none."""
    from dlworkflow.analysis.differences import Differences, compare_over_seeds
    from dlworkflow.runs.comparison import compare_runs, higher_is_better

    several = {name: row["runs"] for name, row in rows.items() if row["n"] > 1}
    if len(several) < 2:
        return Differences(metric)
    runs = [found.run(name) for names in several.values() for name in names]
    scored = compare_runs(runs, by=settings.by, at=settings.at)
    if refused := not_comparable(scored, metric):
        return refused
    values = {row["run"]: row.get(metric) for row in scored}
    seeds = {point.run: point.seed for point in plan.points}
    scores = {
        name: {seeds[run]: value for run in names if (value := values[run]) is not None and math.isfinite(value)}
        for name, names in several.items()
    }
    known = {name: of_seeds for name, of_seeds in scores.items() if of_seeds}
    lowest, split = not higher_is_better(metric), metric.partition("_")[0]
    return compare_over_seeds(known, measure=metric, lowest=lowest, split=split)


def _say_what_chose(found: Sweep, rows: Sequence[Row], metric: str, settings: SweepSettings) -> None:
    """Print what the test split has chosen, and how much better the first of several rows looks for it."""
    if not metric.startswith("test_"):
        return
    if settings.at == "last":
        say("scores of each run's last epoch: none was chosen by the test data, only the order of the rows is")
    else:
        why = "as there is no validation split" if settings.by is None else f"as --by {settings.by} asks for"
        say(f"chosen on the test split, {why}: expect a little less on new data")
    accuracies = [row["test_acc"] for row in rows if row.get("test_acc") is not None]
    if len(accuracies) < 3:
        return
    from dlworkflow.metrics.significance import optimism_of_draws

    n = found.run(next(name for row in rows for name in row["runs"])).summary().samples["test"]
    points = 100 * optimism_of_draws(accuracies, n)
    if points >= 0.05:
        say(
            f"the highest accuracy of {len(accuracies)} rows on the same {n:,} test samples looks up to {points:.1f} "
            "points better than it is, because it was chosen on them; a validation split "
            "(--set data.val_fraction=0.2) chooses by others"
        )


def _cells(row: Row) -> Row:
    """Write mean and deviation in one cell."""
    cells = pretty({key: value for key, value in row.items() if key != "runs"})
    for key in row:
        deviation = row.get(f"{key}_sd")
        if deviation is not None:
            cells[key] += f" ± {percent(deviation) if key.endswith('_acc') else number(deviation)}"
    return cells
