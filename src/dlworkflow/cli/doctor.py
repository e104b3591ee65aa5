"""`dlw doctor`: what this machine has and what is missing, for a person and for a bug report."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from dlworkflow.cli.data_text import place_text
from dlworkflow.cli.options import DataDirOption, RunsDirOption
from dlworkflow.cli.tables import Format, FormatOption, print_table

PACKAGES = ("torch", "torchvision", "scikit-learn", "numpy", "pillow", "matplotlib", "typer", "pydantic")


def _fault(folder: Path) -> str:
    if not folder.is_dir():
        return f"{str(folder)!r} is no folder"
    return "" if os.access(folder, os.W_OK) else f"{str(folder)!r} cannot be written"


def doctor(
    data_dir: DataDirOption = None,
    runs_dir: RunsDirOption = None,
    output: FormatOption = Format.table,
) -> None:
    """Report what this machine has and what is missing.

    Versions, devices, data sets, folders. Exit code 1 when something is wrong.
    """
    from importlib.metadata import PackageNotFoundError, version

    from dlworkflow._version import __version__
    from dlworkflow.data import data_folder, entries
    from dlworkflow.engine.device import available_devices, choose_device, describe_device
    from dlworkflow.runs import runs_folder

    rows: list[dict[str, str]] = []

    def add(what: str, found: str, wrong: str = "") -> None:
        rows.append({"what": what, "found": found, "wrong": wrong})

    add("dlworkflow", __version__)
    add("python", sys.version.split()[0])
    for package in PACKAGES:
        try:
            add(package, version(package))
        except PackageNotFoundError:
            add(package, "", f"not installed: pip install {package}")
    add("cores", str(os.cpu_count()))
    add("devices", ", ".join(describe_device(choose_device(name)) for name in available_devices()))
    add("auto means", describe_device(choose_device("auto")))
    add("data folder", str(data_folder(data_dir).resolve()))
    for name, entry in entries().items():
        if entry.files:
            add(f"data {name}", place_text(name, data_dir))
    folder = runs_folder(runs_dir).resolve()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    add("runs folder", str(folder), _fault(nearest))
    columns = {"what": "what", "found": "found"} | ({"wrong": "wrong"} if any(row["wrong"] for row in rows) else {})
    print_table(rows, columns, output)
    if any(row["wrong"] for row in rows):
        raise typer.Exit(1)
