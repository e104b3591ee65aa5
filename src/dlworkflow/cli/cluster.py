"""The options of commands whose work is done on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlworkflow.cli.options import count, say
from dlworkflow.config.flags import RUN
from dlworkflow.errors import ConfigError, few

if TYPE_CHECKING:
    from dlworkflow.training.sweep.cluster import Cluster

ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://HOST:8786, tls://HOST:8786 or a scheduler file [default: this machine].",
        rich_help_panel=RUN,
    ),
]
TaskCoresOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=count,
        help="With --cluster: cores of a task, of a worker's --resources CPU=N [default: its threads].",
        rich_help_panel=RUN,
    ),
]
TaskGpuOption = Annotated[
    bool,
    typer.Option(
        "--task-gpu",
        help="With --cluster: a task takes a GPU, of a worker's --resources GPU=1 [default: no].",
        rich_help_panel=RUN,
    ),
]


def named_cluster(address: str | None, cores: int | None, gpu: bool) -> Cluster | None:
    """Return the cluster that was typed, not connected yet; None where none was.

    Raises ConfigError for options without a cluster, and as `Cluster` does.
    """
    if address is None:
        given = {"--task-cores": cores is not None, "--task-gpu": gpu}
        if used := [flag for flag, is_given in given.items() if is_given]:
            raise ConfigError(f"{few(used, quoted=False)}: only with --cluster ADDRESS")
        return None
    from dlworkflow.training.sweep.cluster import Cluster

    return Cluster(address, cores, gpu, on_note=lambda note: say(f"cluster {note}"))


def cluster_words(cluster: Cluster | None) -> list[str]:
    """Return the words of a command that name a cluster again."""
    if cluster is None:
        return []
    cores = ["--task-cores", str(cluster.cores)] if cluster.cores is not None else []
    return ["--cluster", cluster.address, *cores, *(["--task-gpu"] if cluster.gpu else [])]
