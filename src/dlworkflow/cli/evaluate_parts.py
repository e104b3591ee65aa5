"""`dlw evaluate --slices` and `--robustness`: on what a run is bad, as tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dlworkflow.cli.options import file_bar, say
from dlworkflow.cli.predict_model import chosen_weights, warn_of_mirroring
from dlworkflow.cli.tables import Format, print_table
from dlworkflow.errors import ConfigError
from dlworkflow.files.text import json_text

if TYPE_CHECKING:
    from dlworkflow.runs import Run
    from dlworkflow.runs.found import Found


def evaluate_parts(
    runs: Sequence[Run],
    split: str,
    output: Format,
    *,
    slices: bool,
    by: Sequence[str] | None,
    robustness: bool,
    plots: bool,
    refused: Mapping[str, bool],
    options: Mapping[str, Any],
    scoring: Mapping[str, Any],
) -> None:
    """Print what one run scores on slices or on corrupted images, after both are written into its folder.

    `refused` are flags that neither takes, and whether they were given. Raises ConfigError for these, for both at once
    and for several runs.
    """
    flag = "--slices" if slices or by else "--robustness"
    if robustness and flag == "--slices":
        raise ConfigError("--slices and --robustness: give one of them at a time")
    if wrong := [name for name, given in refused.items() if given]:
        raise ConfigError(f"{wrong[0]}: not with {flag}; give one of them at a time")
    if len(runs) > 1:
        raise ConfigError(f"{flag}: one run at a time; name one of the {len(runs)} runs")
    [run] = runs
    from dlworkflow.runs.naming import of_split

    say(f"run {run.path} {chosen_weights(scoring['weights'], scoring['tta'])}")
    warn_of_mirroring(run, scoring["tta"])
    show = _robustness if robustness else _slices
    found, kind = show(run, split, by, output, dict(options), dict(scoring)), flag.removeprefix("--")
    written = [of_split(f"{kind}.{suffix}", found.split) for suffix in ("json", "csv")]
    if plots and found.split == "test":
        from dlworkflow.analysis.figures import draw
        from dlworkflow.plotting import save_figure

        written.append(save_figure(draw(run, kind), run.plot_path(kind)).name)
    say(f"wrote {', '.join(written)} in {run.path}")


def _slices(
    run: Run, split: str, by: Sequence[str] | None, output: Format, options: dict[str, Any], scoring: dict[str, Any]
) -> Found:
    from dlworkflow.analysis.found_text import slice_columns, slice_rows, slice_sentences
    from dlworkflow.analysis.slices.of_run import slices_of_run, write_slices

    found = slices_of_run(run, split, by=by, store=False, **scoring, **options)
    raw = [{key: value for key, value in row.items() if key != "examples"} for row in found.slices]
    shown = (slice_rows(found), slice_columns(found.metric), raw, output, slice_sentences(found))
    _write_and_print(run, found, write_slices, *shown)
    return found


def _robustness(
    run: Run, split: str, _: object, output: Format, options: dict[str, Any], scoring: dict[str, Any]
) -> Found:
    from dlworkflow.analysis.found_text import corruption_columns, corruption_rows, robustness_sentences
    from dlworkflow.analysis.robustness import robustness_of_run, write_robustness

    with file_bar() as on_progress:
        found = robustness_of_run(run, split, **scoring, on_progress=on_progress, store=False, **options)
    rows, columns = corruption_rows(found), corruption_columns(found.metric)
    shown = (rows, columns, found.corruptions, output, [*robustness_sentences(found)])
    _write_and_print(run, found, write_robustness, *shown)
    return found


def _write_and_print(run: Run, found: Any, write: Callable[[Run, Any], object], *shown: Any) -> None:
    try:  # before it is printed, as `dlw evaluate` does; a folder that cannot be written costs no result
        write(run, found)
    finally:
        _print(found, *shown)
    for note in found.notes:
        say(f"note: {note}")


def _print(
    found: Found,
    rows: Sequence[Mapping[str, str]],
    columns: Mapping[str, str],
    raw: Sequence[Any],
    output: Format,
    sentences: Sequence[str],
) -> None:
    if output is Format.json:
        from dlworkflow.runs import without_nan

        typer.echo(json_text(without_nan(found.to_data()), indent=1))
        return
    keys = columns if output in (Format.table, Format.md) else {key: key for key in raw[0]}
    print_table(rows, keys, output, raw if output not in (Format.table, Format.md) else ())
    for line in ["", *sentences] if output is Format.table else ():
        typer.echo(line)
