"""A report as a file: whole or not at all, and over another file only where the user says so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Literal

from dlworkflow.analysis.report.document import Document
from dlworkflow.analysis.report.rendering import as_html, as_markdown, picture_names
from dlworkflow.data import input_files
from dlworkflow.errors import ConfigError, DlwError, RunError, system_reason
from dlworkflow.files.paths import user_path
from dlworkflow.files.writing import check_output, is_device, write_output, write_whole
from dlworkflow.runs import Run, RunLike, as_run

Form = Literal["html", "md"]

_SUFFIXES: dict[str, Form] = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


def write_report(
    runs: RunLike | Sequence[RunLike],
    out: str | os.PathLike[str] | None = None,
    *,
    form: Form | None = None,
    overwrite: bool = False,
    data_dir: str | None = None,
) -> Path:
    """Write a report of runs as one HTML file, or as Markdown with its pictures in a folder `NAME_files` beside it.

    `out` is by default `report.html`, or `report.md` for `form` "md"; without `form` its name says which. The best
    weights of each run are scored on its test split; where that cannot be done, the report has what is stored. Nothing
    is written into a run. Raises ConfigError for a file that is there (without `overwrite`) or a name that is neither,
    RunError for a run that is damaged or a file that cannot be written, DlwError without jinja2.
    """
    every = [runs] if isinstance(runs, Run | str | os.PathLike) else runs
    found = list(map(as_run, every))
    if not found:
        raise RunError("no runs to report")
    path, form = report_file(out, form)
    check_report_file(path, form, inputs=[file for run in found for file in _inputs(run)], overwrite=overwrite)
    from dlworkflow.analysis.report.of_runs import document_of  # all else needs no torch, and fails at once

    return write_document(document_of(found, data_dir=data_dir), path, form, overwrite=overwrite)


def write_document(document: Document, path: Path, form: Form, *, overwrite: bool = False) -> Path:
    """Write a document to a path that `check_report_file` allows. Raises DlwError without jinja2."""
    text = as_html(document) if form == "html" else _with_pictures(document, _folder(path))
    return write_output(path, partial(_write, text.encode(errors="backslashreplace")), overwrite=overwrite)


def check_report_file(
    path: Path, form: Form, *, option: str = "--out", inputs: Iterable[Path] = (), overwrite: bool = False
) -> None:
    """Raise ConfigError, naming the option, unless a report may be written at `path`; see `check_output`."""
    check_output(path, option=option, overwrite=overwrite, inputs=inputs)
    folder = _folder(path) if form == "md" else None
    if folder is not None and os.path.lexists(folder) and not overwrite:
        raise ConfigError(
            f"{option}: {str(folder)!r} exists already; name another file, or replace it with --overwrite"
        )


def report_file(out: str | os.PathLike[str] | None, form: Form | None, *, option: str = "--out") -> tuple[Path, Form]:
    """Return the path of a report and its format. Raises ConfigError where the name is of none, or of another."""
    path = user_path(out if out is not None else f"report.{form or 'html'}")
    if is_device(path):
        return path, form or "html"
    named = _SUFFIXES.get(path.suffix.casefold())
    if named is None:
        hint = "; print the .html in a browser for a PDF" if path.suffix.casefold() == ".pdf" else ""
        raise ConfigError(f"{option}: a report is *.html or *.md, not {str(path)!r}{hint}")
    if form is not None and form != named:
        raise ConfigError(f"--format {form}: contradicts {option} {str(path)!r}; leave one out")
    return path, named


def _inputs(run: Run) -> list[Path]:
    """Return the files that a run's data is read from; none where that is not known."""
    try:
        return list(input_files(run.summary().config["data"]))
    except DlwError:
        return []


def _folder(path: Path) -> Path | None:
    """Return the folder of the pictures of a Markdown file; None of a device, which has none beside it."""
    return None if is_device(path) else path.with_name(f"{path.stem}_files")


def _with_pictures(document: Document, folder: Path | None) -> str:
    """Write the pictures into a folder and return the Markdown; without a folder they are left out."""
    if folder is None:
        return as_markdown(document, {})
    names = picture_names(document)
    text = as_markdown(document, {picture: f"{folder.name}/{name}" for picture, name in names.items()})
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {str(folder)!r}: {system_reason(error)}") from None
    for picture, name in names.items():
        write_whole(folder / name, partial(_write, picture.content))
    return text


def _write(content: bytes, stream: IO[bytes]) -> None:
    stream.write(content)
