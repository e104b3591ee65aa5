"""`dlw list`: all that a user can name, with a line of help each; knows registries as text, imported when listed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlworkflow.cli.command import takes_code
from dlworkflow.cli.options import say
from dlworkflow.cli.tables import Format, FormatOption, print_table
from dlworkflow.errors import ConfigError, unknown

if TYPE_CHECKING:
    from dlworkflow.registry import Registry

KINDS = {  # name a user types -> where its registry is, and what it is for
    "models": ("dlworkflow.models:REGISTRY", "networks: dlw train MODEL"),
    "data": ("dlworkflow.data:REGISTRY", "data sets: dlw train MODEL --data NAME"),
    "augmentations": (
        "dlworkflow.data.images.augmentations:AUGMENTATIONS",
        "random changes of training images: --set data.transform=NAME",
    ),
    "optimizers": ("dlworkflow.engine.optimizers:OPTIMIZERS", "optimizers: --optimizer NAME"),
    "schedules": ("dlworkflow.engine.schedules:SCHEDULES", "schedules of the learning rate: --schedule NAME"),
    "losses": ("dlworkflow.engine.losses:LOSSES", "training losses: --set loss=NAME"),
    "metrics": ("dlworkflow.metrics.functions:METRICS", "metrics of an evaluation: dlw evaluate RUN"),
    "trackers": ("dlworkflow.training.trackers:TRACKERS", "where curves and results are reported: --track NAME"),
    "figures": ("dlworkflow.analysis.run_figures:FIGURES", "figures of a run: dlw plot RUN NAME"),
    "formats": ("dlworkflow.inference.export.formats:FORMATS", "formats of exported models: dlw export --format NAME"),
    "methods": ("dlworkflow.analysis.explanation:METHODS", "methods of an explanation: dlw explain --method NAME"),
    "rules": ("dlworkflow.analysis.diagnosis:RULES", "rules of a diagnosis: dlw diagnose RUN"),
}
COMMANDS = "commands"


@takes_code
def list_(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help=f"{', '.join(KINDS)} or {COMMANDS} [default: the kinds].",
            autocompletion=lambda: [*KINDS, COMMANDS],
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Those of torchvision or torch.optim too [default: off]."),
    ] = False,
    output: FormatOption = Format.table,
) -> None:
    """List all that can be named, with one line of help each.

    Examples:
    dlw list schedules
    dlw list optimizers --all
    """
    if kind is None:
        rows = [{"kind": name, "about": about} for name, (_, about) in KINDS.items()]
        rows.append({"kind": COMMANDS, "about": "commands: dlw COMMAND --help"})
    elif kind == COMMANDS:
        tree: Any = context.find_root().command
        rows = [{"name": name, "about": tree.commands.about(name)} for name in tree.commands]
    elif kind in KINDS:
        rows = _rows(kind, everything)
    else:
        raise ConfigError(f"list: {unknown('kind', kind, [*KINDS, COMMANDS])}")
    print_table(rows, {key: key for key in rows[0]}, output)


def _rows(kind: str, everything: bool) -> list[dict[str, str]]:
    module, _, attribute = KINDS[kind][0].partition(":")
    registry: Registry[Any] = getattr(import_module(module), attribute)
    names = registry.names()
    if registry.others is not None and everything:
        names += [name for name in registry.others.names("") if name not in names]
    elif registry.others is not None:
        say(f"and {registry.others.called}; `dlw list {kind} --all` lists them")
    return [{"name": name, "about": registry.about(name)} for name in names]
