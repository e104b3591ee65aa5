"""`dlw config`: what each setting means, its values and its default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.cli.options import say
from dlworkflow.cli.tables import FORMAT_HELP, Format, print_table
from dlworkflow.config.flags import OUTPUT

if TYPE_CHECKING:
    from dlworkflow.training.explained import Explained


def complete_settings(incomplete: str) -> list[str]:
    """Return the settings that start so."""
    from dlworkflow.config.documentation import fixed_settings

    return [key for key in fixed_settings() if key.startswith(incomplete)]


def config(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="Setting, as optimizer.lr, or section, as data [default: the settings of every run].",
            autocompletion=complete_settings,
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help=FORMAT_HELP, rich_help_panel=OUTPUT)] = Format.table,
) -> None:
    """Explain a setting, or list all of them.

    A section such as `model` also lists the settings that only some of its models have.

    Examples:
    dlw config
    dlw config data
    dlw config model.hidden_units
    """
    from dlworkflow.training.explained import explain, explain_all, sections

    if key is not None and key not in sections():
        _print_one(explain(key), output)
        return
    found = explain_all(key)
    if output is not Format.table:
        rows = [_row(one) for one in found]
        print_table(rows, {name: name for name in rows[0]}, output)
        return
    formatter = context.make_formatter()
    for group in ("", *sections()):
        lines = [(one.setting.key, _line(one)) for one in found if one.setting.key.rpartition(".")[0] == group]
        if lines:
            with formatter.section(group or "any run"):
                formatter.write_dl(lines)
    typer.echo(formatter.getvalue().strip())
    if key is None:
        say("`dlw config data` and `dlw config model` also list the settings of single data sets and models")


def _line(found: Explained) -> str:
    setting = found.setting
    return f"{setting.about.rstrip('.')} [default: {setting.default}]." if setting.default else setting.about


def _print_one(found: Explained, output: Format) -> None:
    row = _row(found)
    if output is not Format.table:
        print_table([row], {name: name for name in row}, output)
        return
    for name, value in row.items():
        if value:
            typer.echo(f"{name:<8}  {value}")


def _row(found: Explained) -> dict[str, str]:
    setting = found.setting
    same = bool(setting.default)  # the things that have it agree on the default
    owners = [name if same or not default else f"{name} ({default})" for name, default in found.owners.items()]
    return {
        "setting": setting.key,
        "about": setting.about,
        "values": setting.values,
        "default": setting.default,
        "set by": found.example,
        "only of": ", ".join(owners),
    }
