"""`dlw config`: what each setting means."""

from typing import Annotated

import typer


def config(key: Annotated[str | None, typer.Argument(metavar="KEY", help="Setting.")] = None) -> None:
    """Explain the settings."""
