"""`dlw data list`, `info`, `show`, `check`, `shard` and `get`: what data there is and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from dlworkflow.cli.command import Commands
from dlworkflow.cli.options import (
    DataDirOption,
    OfflineOption,
    OverwriteOption,
    complete_data,
    count,
    echo_path,
    figure_file,
    file_bar,
    save_under_free_name,
    say,
)
from dlworkflow.cli.tables import Format, FormatOption, number, print_table, render
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import printable, shell_command

if TYPE_CHECKING:
    from dlworkflow.data.check.report import Finding, FolderReport
    from dlworkflow.data.splits import Splits

MOST_REMARKS = 10
"""A report names this many warnings of a kind and counts the others; it names all errors."""

app = Commands(help="List, inspect, check, shard and fetch data sets.", no_args_is_help=True, rich_markup_mode=None)

DataSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting of the data, as data.image_size=32; may be repeated."),
]


@app.command("list")
def list_(data_dir: DataDirOption = None, output: FormatOption = Format.table) -> None:
    """List the data sets and where they are stored."""
    from dlworkflow.data import entries, find

    rows = []
    for name, entry in entries().items():
        where = find(name, data_dir) if entry.files else None
        there = str(where or f"not here; `dlw data get {name}`") if entry.files else "yes"
        rows.append({"data": name, "task": entry.task, "about": entry.about, "there": there})
    rows = [row | {"there": "--data PATH"} if row["data"].startswith("image_") else row for row in rows]
    print_table(rows, {key: key for key in rows[0]}, output)


@app.command()
def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH", help="Data set: a name of `dlw data list`, or a path.", autocompletion=complete_data
        ),
    ],
    settings: DataSetOption = None,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
    output: FormatOption = Format.table,
) -> None:
    """Describe a data set.

    Splits, shapes, classes and how many samples of each.
    """
    splits = _load(_settings(name, settings), data_dir, offline)
    rows = _class_rows(splits)
    if output is Format.table:
        sizes = ", ".join(f"{len(part):,} {split}" for split, part in splits.parts().items())  # type: ignore[arg-type]
        typer.echo(f"{splits.name}: {splits.task}, {sizes} samples of {'x'.join(map(str, splits.in_shape))}")
        typer.echo(f"from {splits.source}")
        for note in splits.notes:
            say(f"note: {note}")
    if rows or output is not Format.table:
        print_table(rows, {key: key for key in ("label", "class", *splits.parts())}, output)


class What(StrEnum):
    """What to draw of a data set."""

    samples = "samples"
    balance = "balance"
    transforms = "transforms"


@app.command()
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
    seed: Annotated[int, typer.Option(help="Seed of the drawn samples.")] = 42,
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Save a figure of a data set: points, a line, or images.

    Examples:
    dlw data show circles
    dlw data show pizza_steak_sushi --what transforms --set data.transform=trivial_augment
    """
    from dlworkflow.data import input_files

    given = _settings(name, settings)
    target = figure_file("--out", out, overwrite, input_files({"data_dir": data_dir, **given}))
    splits = _load(given, data_dir, offline)

    from dlworkflow.analysis.data_figures import draw_data

    figure = draw_data(splits, what=what.value, seed=seed)
    echo_path(target.save(figure) if target else save_under_free_name(figure, f"{splits.name}-{what.value}"))


@app.command()
def check(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DIR|CSV|SHARDS", help="Folder of images, CSV of path,label[,split], or folder of shards."
        ),
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

    layout = _layout(settings)
    with file_bar() as on_progress, rechecked(not trust_cache):
        if (shards := shards_path(path, "DIR|CSV|SHARDS")) is not None:
            from dlworkflow.data.shards.checking import check_shards

            report = check_shards(shards, on_progress=on_progress, max_pixels=max_pixels)
        else:
            from dlworkflow.data.check.folder import check_folder

            report = check_folder(path, layout=layout, on_progress=on_progress, max_pixels=max_pixels)
    if as_json:
        import json

        typer.echo(json.dumps(report.to_data(), indent=1))  # in ASCII: a name may hold bytes that are no text
    else:
        typer.echo("\n".join(_report_lines(report)))
    if report.faults:
        raise typer.Exit(1)


@app.command()
def shard(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DIR|CSV",
            help="Folder of images, or CSV of path,label[,split].",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the shards.")] = Path("shards"),
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="N", parser=count, help="Number of training shards; other splits get shards of the same size."
        ),
    ] = None,
    shard_size: Annotated[
        float | None, typer.Option(metavar="MB", help="Megabytes per shard, instead of --shards [default: 100].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the samples.")] = 42,
    on_bad: Annotated[
        str | None,
        typer.Option(
            metavar="error|skip", help="Images that cannot be read: error stops, skip leaves them out [default: error]."
        ),
    ] = None,
    settings: DataSetOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a folder of images to tar shards, which are read as a stream.

    For data too large for memory, or for a folder walk at each start. The shards are of WebDataset's convention
    (key.jpg and key.cls, the label as a number), with an index beside them: class names, and of each shard its split,
    samples and digest. Images are decoded once, as a check; their bytes go in unchanged, shuffled once by
    --seed. Images in class folders alone are split into train and test as by `dlw train`
    (--set data.test_fraction=0.1). The folder is whole or not there; nothing else is changed.

    Examples:
    dlw data shard food --out food-shards --shards 32
    """
    from dlworkflow.data import input_files
    from dlworkflow.data.shards.writing import SHARD_MEGABYTES, check_apart, check_free, write_shards
    from dlworkflow.errors import ConfigError

    if shards is not None and shard_size is not None:
        raise ConfigError("--shards, --shard-size: one says what the other would; leave one out")
    if shard_size is not None and not 0.001 <= shard_size <= 1e6:
        raise ConfigError(f"--shard-size: must be from 0.001 to 1,000,000 megabytes, not {shard_size:g}")
    out = user_path(out)
    check_free(out)
    settings = [*(settings or ()), *([f"data.on_bad={on_bad}"] if on_bad is not None else [])]
    given = _settings(path, settings)
    check_apart(out, input_files(given))
    splits = _load(given, data_dir, offline=True)
    for note in splits.notes:
        say(f"note: {note}")
    with file_bar() as on_check, file_bar() as on_write:
        made = {"on_check": on_check, "on_write": on_write}
        written = write_shards(splits, out, shards=shards, megabytes=shard_size or SHARD_MEGABYTES, seed=seed, **made)
    for split in splits.parts():
        own = [shard for shard in written if shard.split == split]
        n, size = sum(shard.samples for shard in own), sum(shard.n_bytes for shard in own)
        typer.echo(f"{split}: {_counted(len(own), 'shard')}, {n:,} samples, {size / 1e6:,.1f} MB")
    say(f"train on them with: {shell_command(['dlw', 'train', 'MODEL', '--data', str(out)])}")


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="Data set that is stored in files.", autocompletion=complete_data)],
    data_dir: DataDirOption = None,
    offline: OfflineOption = False,
) -> None:
    """Download a data set, or print where it is stored.

    It comes into the data folder whole and checked, or not at all.
    """
    from dlworkflow import data

    typer.echo(str(data.get(name, data_dir, offline=offline)))


def _report_lines(report: FolderReport) -> Iterator[str]:
    """Return a report as lines: what there is, then errors and warnings by kind."""
    from dlworkflow.data.check.report import FAULTS, REMARKS

    yield printable(f"{report.path}: {report.n_files:,} files, of which {report.n_read:,} were read now")
    classes = sorted({name for counts in report.counts.values() for name in counts})
    rows = [{"class": name, **{s: counts.get(name) for s, counts in report.counts.items()}} for name in classes]
    yield render(
        [{key: number(value) for key, value in row.items()} for row in rows],
        {key: key for key in ("class", *report.counts)},
    )
    yield ""
    for split, ratio in report.ratios.items():
        yield f"{split}: the largest class has {ratio:.2f} times the images of the smallest"
    for side in ("width", "height"):
        if spread := getattr(report, side):
            yield f"{side}: {spread.min:,} to {spread.max:,} pixels, median {spread.median:,}"
    for what in ("modes", "formats"):
        if counts := getattr(report, what):
            yield f"{what}: {', '.join(f'{printable(name)} {n:,}' for name, n in counts.items())}"
    for kinds, findings, most in ((FAULTS, report.faults, None), (REMARKS, report.remarks, MOST_REMARKS)):
        for kind, heading in kinds.items():
            found = [finding for finding in findings if finding.kind == kind]
            if found:
                yield f"\n{'error' if most is None else 'warning'}: {heading}: {len(found):,}"
            yield from (f"  {_finding_line(finding)}" for finding in found[:most])
            if most is not None and len(found) > most:
                yield f"  and {len(found) - most:,} more (--json lists all)"
    yield f"\n{_counted(len(report.faults), 'error')}, {_counted(len(report.remarks), 'warning')}"


def _finding_line(finding: Finding) -> str:
    """Return where and what; names are harmless to a terminal."""
    return printable(": ".join(filter(None, (" = ".join(finding.paths), finding.text))))


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _load(given: dict[str, Any], data_dir: str | None, offline: bool) -> Splits:
    from dlworkflow.data import load

    return load(**given, data_dir=data_dir, offline=offline)


def _settings(name: str, settings: list[str] | None) -> dict[str, Any]:
    """Return the settings of a data set as a user names it, with `--set data.*`. Raises ConfigError for wrong ones."""
    from dlworkflow.config import from_overrides
    from dlworkflow.data import faults, locate
    from dlworkflow.errors import ConfigError

    layer = from_overrides(settings or ())
    extra = [key for key in layer.values if key != "data"]
    if extra:
        raise ConfigError(f"--set {extra[0]}: only data.* settings matter here")
    given = locate(name, "NAME|PATH") | layer.values.get("data", {})
    wrong = faults(given["name"], {key: value for key, value in given.items() if key != "name"})
    if wrong:
        raise ConfigError(*(f"--set data.{key}: {sentence}" for key, sentence in wrong.items()))
    return given


def _layout(settings: list[str] | None) -> Any:
    """Return `data.layout`, the only setting that matters to a check."""
    from dlworkflow.config import from_overrides
    from dlworkflow.data.folders.layout import FolderLayout
    from dlworkflow.errors import ConfigError, unknown

    given = from_overrides(settings or ()).values
    of_data = given.pop("data", {})
    layout = of_data.pop("layout", "auto")
    if given or of_data:
        raise ConfigError("--set: a check takes data.layout alone")
    if layout not in get_args(FolderLayout):
        raise ConfigError(f"--set data.layout: {unknown('value', layout, get_args(FolderLayout))}")
    return layout


def _class_rows(splits: Splits) -> list[dict[str, Any]]:
    """Return a row a class with its samples in each split."""
    from dlworkflow.data.splits import class_counts

    counts = class_counts(splits)
    return [
        {"label": label, "class": name, **{split: counts[split][label] for split in counts}}
        for label, name in enumerate(splits.classes)
    ]
