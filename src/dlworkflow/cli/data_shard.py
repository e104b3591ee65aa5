"""`dlw data shard`: a folder of images as tar shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlworkflow.cli.data_options import DataSetOption, load_data, settings_of
from dlworkflow.cli.data_text import counted
from dlworkflow.cli.options import DataDirOption, count, file_bar, say
from dlworkflow.files.paths import user_path
from dlworkflow.files.text import shell_command


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
    from dlworkflow.data.shards.writing import SHARD_MEGABYTES, check_apart, write_shards
    from dlworkflow.errors import ConfigError
    from dlworkflow.files.writing import check_new_folder

    if shards is not None and shard_size is not None:
        raise ConfigError("--shards, --shard-size: one says what the other would; leave one out")
    if shard_size is not None and not 0.001 <= shard_size <= 1e6:
        raise ConfigError(f"--shard-size: must be from 0.001 to 1,000,000 megabytes, not {shard_size:g}")
    out = user_path(out)
    check_new_folder(out, option="--out")
    settings = [*(settings or ()), *([f"data.on_bad={on_bad}"] if on_bad is not None else [])]
    given = settings_of(path, settings)
    check_apart(out, input_files(given))
    splits = load_data(given, data_dir, offline=True)
    for note in splits.notes:
        say(f"note: {note}")
    with file_bar() as on_check, file_bar() as on_write:
        made = {"on_check": on_check, "on_write": on_write}
        written = write_shards(splits, out, shards=shards, megabytes=shard_size or SHARD_MEGABYTES, seed=seed, **made)
    for split in splits.parts():
        own = [shard for shard in written if shard.split == split]
        n, size = sum(shard.samples for shard in own), sum(shard.n_bytes for shard in own)
        typer.echo(f"{split}: {counted(len(own), 'shard')}, {n:,} samples, {size / 1e6:,.1f} MB")
    say(f"train on them with: {shell_command(['dlw', 'train', 'MODEL', '--data', str(out)])}")
