"""A file that is made of data is never written inside that data. Knows no data set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dlworkflow.errors import ConfigError
from dlworkflow.files.paths import user_path
from dlworkflow.files.writing import check_output


def check_outside(path: str | os.PathLike[str], data: Iterable[Path], *, option: str, overwrite: bool = False) -> Path:
    """Return the path of a file that may be written.

    Raises ConfigError for one inside the folders of the data, by whatever names they are reached, or inside those that
    links in them lead to, for one of its files, and for a file that is there, without `overwrite`.
    """
    file, inputs = user_path(path), [*data]
    check_output(file, option=option, overwrite=overwrite, inputs=inputs)
    where = file.resolve().parent
    for folder in _folders_of(inputs):
        if any(_is_same(above, folder) for above in (where, *where.parents)):
            raise ConfigError(
                f"{option}: {str(file)!r} would be inside the data, {str(folder)!r}, which stays as it is; name a file "
                "elsewhere"
            )
    return file


def _folders_of(inputs: Sequence[Path]) -> set[Path]:
    """Return the folders of data that is read from these files: that of a data set; those of the images of a CSV file.

    A CSV file's own folder is none of them, unless images are beside it.
    """
    if not inputs or inputs[0].is_dir():
        return {*inputs[:1], *(linked for folder in inputs[:1] for linked in _linked_in(folder))}
    table, *images = inputs
    parents = {image.parent.resolve() for image in images}
    with suppress(ValueError):  # there are none, or they are on several drives
        whole = Path(os.path.commonpath(parents))
        parents |= set() if table.resolve().is_relative_to(whole) else {whole}
    return parents


def _linked_in(folder: Path) -> Iterator[Path]:
    """Yield the folders that links in a folder lead to: a class may be stored elsewhere."""
    for where, folders, _ in os.walk(folder):
        yield from (path.resolve() for name in folders if (path := Path(where, name)).is_symlink())


def _is_same(above: Path, folder: Path) -> bool:
    try:
        return above.samefile(folder)
    except OSError:
        return False
