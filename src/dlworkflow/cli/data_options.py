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


def layout_of(settings: list[str] | None) -> Any:
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
