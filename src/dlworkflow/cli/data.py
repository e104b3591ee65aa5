"""`dlw data list`, `info`, `show`, `check`, `shard`, `labels` and `get`: what data there is and what is in it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dlworkflow.cli.command import Commands, takes_code
from dlworkflow.cli.data_labels import labels
from dlworkflow.cli.data_options import DataSetOption, check_settings_of, load_data, settings_of
from dlworkflow.cli.data_shard import shard
from dlworkflow.cli.data_text import class_rows, constant_line, head_cells, image_lines, place_text, report_lines
from dlworkflow.cli.options import (
    DataDirOption,
    LimitOption,
    OfflineOption,
    OverwriteOption,
    complete_data,
    count,
    count_in_grid,
    echo_path,
    figure_file,
    file_bar,
    save_under_free_name,
    say,
)
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.data.images.formats import is_image
from dlworkflow.files.paths import user_path

app = Commands(help="List, inspect, check, shard and fetch data sets, and find wrong labels.", no_args_is_help=True)


@app.command("list")
def list_(data_dir: DataDirOption = None, output: FormatOption = Format.table) -> None:
    """List the data sets and where they are stored."""
    from dlworkflow.data import entries

    rows = []
    for name, entry in entries().items():
        there = place_text(name, data_dir) if entry.files else "yes"
        rows.append({"data": name, "task": entry.task, "about": entry.about, "there": there})
    rows = [row | {"there": "--data PATH"} if row["about"].startswith("your ") else row for row in rows]
    print_table(rows, {key: key for key in rows[0]}, output)


@app.command()
@takes_code
def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH",
            help="Data set: a name of `dlw data list`, or a path; or an image file.",
            autocompletion=complete_data,
        ),
    ],
    head: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=count,
            help="Print the first N samples instead, in the order before the data was split, or of --split.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="train|test|val", help="With --head: one split alone.")] = None,
    settings: DataSetOption = None,
    limit: LimitOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
    output: FormatOption = Format.table,
) -> None:
    """Describe a data set or an image.

    Splits, shapes, classes and how many samples of each; with --head, its first samples. Of a table, its columns. Of
    an image file, its size, and its values in the file and as a tensor.

    Examples:
    dlw data info circles --head 10
    dlw data info photo.jpg
    """
    from dlworkflow.errors import ConfigError

    given = {"--head": head, "--split": split, "--set": settings, "--limit": limit}
    if is_image(name) and user_path(name).is_file():
        if used := [option for option, value in given.items() if value is not None]:
            raise ConfigError(f"{used[0]}: only for data sets; {name!r} is one image")
        _print_image(name, output)
        return
    if split is not None and head is None:
        raise ConfigError("--split: only with --head N")
    named = settings_of(name, settings)
    splits = load_data(named, data_dir, offline, limit)
    if head is not None:
        from dlworkflow.data.first_rows import first_rows

        rows = first_rows(splits, head, split)
        print_table(head_cells(rows), {key: key for key in rows[0]}, output, rows)
        return
    if splits.columns is not None and output is not Format.table:
        _print_columns(named, output)
        return
    rows = class_rows(splits)
    if output is Format.table:
        sizes = ", ".join(f"{len(part):,} {split}" for split, part in splits.parts().items())  # type: ignore[arg-type]
        typer.echo(f"{splits.name}: {splits.task}, {sizes} samples of {'x'.join(map(str, splits.in_shape))}")
        typer.echo(f"from {splits.source}")
        if splits.target is not None:
            typer.echo(f"training values: mean {splits.target.mean:.6g}, standard deviation {splits.target.std:.6g}")
        for note in splits.notes:
            say(f"note: {note}")
        if splits.columns is not None:
            _print_columns(named, output)
            typer.echo("\n" + constant_line(splits) + "\n")
    if rows or output is not Format.table:
        print_table(rows, {key: key for key in ("label", "class", *splits.parts())}, output)


def _print_columns(given: dict[str, Any], output: Format) -> None:
    from dlworkflow.data.tables.describe import describe
    from dlworkflow.data.tables.loading import roles_of

    rows = describe(roles_of(**given))
    print_table([row | {"missing": f"{row['missing']:,}"} for row in rows], {key: key for key in rows[0]}, output, rows)


def _print_image(name: str, output: Format) -> None:
    from dlworkflow.data.images.one_image import describe_image

    facts = describe_image(user_path(name))
    if output is Format.table:
        typer.echo("\n".join(image_lines(facts)))
        if facts.note:
            say(f"note: no tensor: {facts.note}")
        return
    kept = {key: value for key, value in vars(facts).items() if key not in ("path", "values", "note")}
    rows = [{"file": name, **kept, **row} for row in facts.values]
    print_table(rows, {key: key for key in rows[0]}, output)


class What(StrEnum):
    """What to draw of a data set."""

    samples = "samples"
    balance = "balance"
    transforms = "transforms"


@app.command()
@takes_code
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH", help="Data set: a name of `dlw data list`, or a path.", autocompletion=complete_data
        ),
    ],
    what: Annotated[
        What,
        typer.Option(
            help="Figure of samples, of class counts per split, or of images before and after the training transform."
        ),
    ] = What.samples,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of the figure: .png, .svg or .pdf [default: NAME-WHAT.png, numbered if it exists].",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    settings: DataSetOption = None,
    n: Annotated[
        int | None,
        typer.Option(metavar="N", parser=count_in_grid, help="Images to draw, up to 25 [default: 10; transforms: 3]."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="train|test|val", help="Split to draw [default: train; points: all splits]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed that chooses the images.")] = 42,
    limit: LimitOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Save a figure of a data set: points, a line, or images.

    Examples:
    dlw data show circles
    dlw data show fashion_mnist --n 16 --split test --seed 1
    dlw data show pizza_steak_sushi --what transforms --set data.transform=trivial_augment
    """
    from dlworkflow.data import input_files

    given = settings_of(name, settings)
    target = figure_file("--out", out, overwrite, input_files({"data_dir": data_dir, **given}))
    splits = load_data(given, data_dir, offline, limit)

    from dlworkflow.analysis.data_figures import draw_data

    figure = draw_data(splits, what=what.value, n=n, split=split, seed=seed)
    echo_path(target.save(figure) if target else save_under_free_name(figure, f"{splits.name}-{what.value}"))


@app.command()
def check(
    path: Annotated[
        str,
        typer.Argument(metavar="DIR|CSV|SHARDS", help="Folder of images, CSV file of images, or folder of shards."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON [default: text].")] = False,
    settings: DataSetOption = None,
    trust_cache: Annotated[
        bool,
        typer.Option(
            "--trust-cache",
            help="Skip files whose size and times are as in an earlier check [default: read every file].",
        ),
    ] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=count,
            help="Largest number of pixels of an image [default: DLW_MAX_PIXELS or 89,478,485].",
        ),
    ] = None,
) -> None:
    """Check every image of a folder, a CSV or shards.

    Exit code 1 for an error, such as the same image in training and test; images that only look the same (copies of
    another size or format, most likely) are warnings. Nothing in the folder is changed. Every file is read, unless
    --trust-cache takes what was found earlier in files whose size, inode and times are the same. Shards are read
    whole, every time: against their index, sample by sample.
    """
    from dlworkflow.data.images.cache import rechecked
    from dlworkflow.data.shards.names import shards_path

    chosen = check_settings_of(settings)
    with file_bar() as on_progress, rechecked(not trust_cache):
        if (shards := shards_path(path, "DIR|CSV|SHARDS")) is not None:
            from dlworkflow.data.shards.checking import check_shards

            report = check_shards(shards, on_progress=on_progress, max_pixels=max_pixels)
        else:
            from dlworkflow.data.check.folder import check_folder

            report = check_folder(path, **chosen, on_progress=on_progress, max_pixels=max_pixels)
    if as_json:
        import json

        typer.echo(json.dumps(report.to_data(), indent=1))  # in ASCII: a name may hold bytes that are no text
    else:
        typer.echo("\n".join(report_lines(report)))
    if report.faults:
        raise typer.Exit(1)


app.command()(shard)
app.command()(labels)


@app.command()
def get(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Data set that is stored in files.", autocompletion=complete_data)
    ],
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Download a data set, or print where it is stored.

    It comes into the data folder whole and checked, or not at all.
    """
    from dlworkflow import data

    typer.echo(str(data.get(name, data_dir, offline=offline)))
