"""The options of `dlw data` that name a data set, and the data set that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from dlworkflow.data.splits import Splits

DataSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting of the data, as data.image_size=32; may be repeated."),
]


def load_data(given: dict[str, Any], data_dir: str | None, offline: bool, limit: float | None = None) -> Splits:
    """Return a data set with these settings, loaded; with a `limit` some of its samples."""
    from dlworkflow.data import load
    from dlworkflow.data.selection import select

    return select(load(**given, data_dir=data_dir, offline=offline), limit=limit)


def settings_of(name: str, settings: list[str] | None) -> dict[str, Any]:
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


def check_settings_of(settings: list[str] | None) -> dict[str, Any]:
    """Return the layout of a folder and the columns of a CSV file, all that matters to a check."""
    from dlworkflow.config import from_overrides
    from dlworkflow.data import faults
    from dlworkflow.data.folders.image_table import Columns
    from dlworkflow.data.folders.layout import FolderLayout
    from dlworkflow.errors import ConfigError, unknown

    given = from_overrides(settings or ()).values
    of_data = dict(given.pop("data", {}))
    layout = of_data.pop("layout", "auto")
    known = ("path_column", "label_column", "task", "empty_labels", "group")
    if given or of_data.keys() - {*known}:
        raise ConfigError(
            f"--set: a check takes data.layout, and of a CSV file {', '.join(f'data.{key}' for key in known)}"
        )
    if layout not in get_args(FolderLayout):
        raise ConfigError(f"--set data.layout: {unknown('value', layout, get_args(FolderLayout))}")
    if of_data and (wrong := faults("image_csv", {"path": "", **of_data})):
        raise ConfigError(*(f"--set data.{key}: {sentence}" for key, sentence in wrong.items()))
    named: dict[str, Any] = {key: of_data.get(f"{key}_column") for key in ("path", "label")}
    chosen = {key: of_data[key] for key in ("task", "empty_labels") if key in of_data}
    other = [of_data["group"]] if of_data.get("group") else []
    return {"layout": layout, "columns": Columns(**named, **chosen, other=other)}
