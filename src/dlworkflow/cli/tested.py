"""What `dlw compare` prints of tests: letters in the tables, sentences below them, what could not be tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.cli.options import say
from dlworkflow.cli.tables import Format, print_table

if TYPE_CHECKING:
    from dlworkflow.analysis.differences import Differences
    from dlworkflow.runs import Run

Row = dict[str, Any]

MOST_BY_ITSELF = 6
"""Runs that are named are tested unasked, up to this many."""


def is_by_itself(rows: Sequence[Row], names: Sequence[str], output: Format) -> bool:
    """Return whether runs are tested unasked: two to six that were named, of one data set, in a table for people."""
    from dlworkflow.runs.comparison import are_alike

    return bool(names) and output is Format.table and 2 <= len(rows) <= MOST_BY_ITSELF and are_alike(rows)


def tests_of(
    runs: Sequence[Run],
    rows: Sequence[Row],
    groups: Sequence[Row],
    scores_of: Callable[[str], Sequence[Mapping[int, float]]],
    *,
    sort: str | None,
    split: str,
    only_seeds: bool,
) -> Differences:
    """Return the tests of the rows of `compare_seeds` where seeds allow them, else those of the runs' answers.

    `scores_of` returns a metric of each group by seed.
    """
    from dlworkflow.analysis.differences import Differences, compare_answers

    has_several = sum(row["seeds"] > 1 for row in groups) > 1
    over_seeds = _over_seeds(groups, scores_of, sort) if has_several or only_seeds else Differences("accuracy")
    if over_seeds.pairs or only_seeds:
        return over_seeds
    finished = {row["path"] for row in rows if row.get("best_epoch") is not None}
    found = compare_answers([run for run in runs if str(run.path) in finished], split)
    return replace(found, left_out=over_seeds.left_out + found.left_out)


def _over_seeds(
    groups: Sequence[Row], scores_of: Callable[[str], Sequence[Mapping[int, float]]], sort: str | None
) -> Differences:
    from dlworkflow.analysis.differences import FEWEST_SEEDS, compare_over_seeds
    from dlworkflow.runs.cells import row_names
    from dlworkflow.runs.comparison import higher_is_better

    enough = [row for row in groups if row["seeds"] >= FEWEST_SEEDS]
    metric = seed_metric(enough or groups, sort)
    if refused := not_comparable(enough, metric):
        return refused
    of_each = {name: scores for name, scores in zip(row_names(groups), scores_of(metric), strict=True) if scores}
    lowest, split = not higher_is_better(metric), metric.partition("_")[0]
    return compare_over_seeds(of_each, measure=metric, lowest=lowest, split=split)


def not_comparable(rows: Sequence[Row], metric: str) -> Differences | None:
    """Return that rows are not tested by a metric, None where they may be: see `unlike_in`."""
    from dlworkflow.analysis.differences import Differences
    from dlworkflow.runs.comparison import unlike_in

    if (key := unlike_in(rows, metric)) is None:
        return None
    reason = f"rows that differ in {key} are not compared over seeds by their {metric.replace('_', ' ')}"
    return Differences(metric, left_out=(f"{reason}; test those of one with: dlw compare ... --filter {key}=VALUE",))


def seed_metric(rows: Sequence[Row], sort: str | None) -> str:
    """Return the metric by which rows are tested over seeds: that of --sort, else test accuracy, else test loss."""
    column = (sort or "").replace(" ", "_")
    chosen = [column] if column.startswith(("test_", "val_")) else []
    return next((key for key in [*chosen, "test_acc"] if all(row.get(key) is not None for row in rows)), "test_loss")


FEWEST_WITH_LETTERS = 3
"""Rows that are tested; of two a sentence has it all."""


def with_letters(rows: Sequence[Row], names: Sequence[str], found: Differences) -> list[Row]:
    """Return rows with their letters beside the score that was tested, None of a row that was not."""
    column = found.measure if found.n is None else "test_acc" if found.measure.endswith("accuracy") else "test_loss"
    return [_with_letter(row, column, found.letters.get(name)) for row, name in zip(rows, names, strict=True)]


def shows_letters(names: Sequence[str], found: Differences | None) -> bool:
    """Return whether a table of these rows has a column of letters without being asked."""
    return found is not None and len({*names} & {*found.names}) >= FEWEST_WITH_LETTERS


def _with_letter(row: Row, column: str, letter: str | None) -> Row:
    keys = list(row)
    place = keys.index(column) + 1 if column in row else len(keys)
    return {key: row[key] for key in keys[:place]} | {"letters": letter} | {key: row[key] for key in keys[place:]}


def needs_two(rows: Sequence[Row], *, over_seeds: bool) -> str:
    """Return what a test needs that runs with these rows of `compare_runs` or `compare_seeds` do not give."""
    if over_seeds:
        return (
            "needs two rows of several seeds each; train more with: dlw sweep ... --seeds 6, or leave out --over-seeds"
        )
    if len({row["path"] for row in rows}) < 2:
        return f"needs two runs, and {rows[0]['run']} is the only one; name another (`dlw runs` lists them)"
    return "needs two runs that have finished an epoch"


def run_names(rows: Sequence[Row]) -> list[str]:
    """Return what the tests call the runs: by name, of two with the same by path."""
    times = Counter(row["run"] for row in rows)
    return [row["run"] if times[row["run"]] == 1 else row["path"] for row in rows]


def highlighted(rows: Sequence[Row], names: Sequence[str], found: Differences) -> list[Row]:
    """Return the rows that no other is better than by more than chance; none where that is all of them, or untested."""
    best = found.best if len(found.best) < len(found.names) else []
    return [row for row, name in zip(rows, names, strict=True) if name in best]


def print_tests(found: Differences, output: Format, *, with_pairs: bool = True) -> None:
    """Print what the tests found for people: sentences, of a few runs a table of the pairs; what was not tested."""
    from dlworkflow.analysis.difference_text import MOST_PAIRS, pair_columns, pair_rows, sentences

    is_read = output in (Format.table, Format.md)
    if found.pairs and is_read:
        typer.echo("\n" + "\n".join(sentences(found)))
    if is_read and with_pairs and 1 < len(found.pairs) <= MOST_PAIRS:
        typer.echo()
        print_table(pair_rows(found), pair_columns(found), output)
    for reason in found.left_out:
        say(f"not tested: {reason}")
