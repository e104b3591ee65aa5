"""Options that several commands share, and what a shell completes them with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlworkflow.cli.colours import echo, with_painted_start
from dlworkflow.config.flags import DATA, OUTPUT, RUN
from dlworkflow.errors import ConfigError, FileTakenError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLOSED_PIPE = 141
"""Exit code of a training whose reader has gone: 128 + SIGPIPE, as a shell says of any program."""


def complete_models(incomplete: str) -> list[str]:
    """Return the model names that start so."""
    from dlworkflow.models import names

    return [name for name in [*names(), *complete_code(incomplete)] if name.startswith(incomplete)]


def complete_data(incomplete: str) -> list[str]:
    """Return the data set names that start so."""
    from dlworkflow.data import names

    return [name for name in [*names(), *complete_code(incomplete)] if name.startswith(incomplete)]


def complete_code(incomplete: str) -> list[str]:
    """Return the Python files here or, after `file.py:`, what is defined in that one, which is not imported."""
    import ast

    file, colon, _ = incomplete.partition(".py:")
    with suppress(OSError, SyntaxError, ValueError):
        if not colon:
            return [str(path) for path in Path().glob("*.py")]
        body = ast.parse(Path(f"{file}.py").read_bytes()).body
        return [f"{file}.py:{part.name}" for part in body if isinstance(part, ast.ClassDef | ast.FunctionDef)]
    return []


def complete_runs(incomplete: str) -> list[str]:
    """Return the run names that start so."""
    from dlworkflow.runs import list_runs

    return [name for name in ("last", "best", *(run.name for run in list_runs())) if name.startswith(incomplete)]


def typed_model(name: str) -> str:
    """Return the name of a model as it was typed; of one in a file of code, the name that the models have for it."""
    from dlworkflow.registry.user_code import is_code, use_code_named_in

    if not is_code(name):
        return name
    from dlworkflow.models import REGISTRY

    use_code_named_in(name)
    return REGISTRY.resolved(name)


class Weights(StrEnum):
    """Which weights of a run."""

    best = "best"
    last = "last"


RUN_HELP = "Run: a path, a name or the start of one, last or best."

CodeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--code",
        metavar="FILE.py",
        help="Python file of your own that this command may import, as the run needs it; may be repeated "
        "[default: none].",
        rich_help_panel=RUN,
    ),
]
ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="Model: a name of `dlw models`, or FILE.py:CLASS.", autocompletion=complete_models
    ),
]

RunArgument = Annotated[str | None, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)]
RunOption = Annotated[str | None, typer.Option("--run", metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)]
RunsDirOption = Annotated[
    str | None,
    typer.Option(
        "--runs-dir",
        metavar="DIR",
        help="Folder in which runs are stored [default: DLW_RUNS_DIR or runs].",
        rich_help_panel=OUTPUT,
    ),
]
DataDirOption = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder in which data sets are stored [default: DLW_DATA_DIR or data].",
        rich_help_panel=DATA,
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option("--offline", help="Download nothing [default: off, or on with DLW_OFFLINE=1].", rich_help_panel=RUN),
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file of settings; may be repeated, the last one wins [default: none].",
        rich_help_panel=RUN,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting of `dlw config`, as model.hidden_units=32; may be repeated.",
        rich_help_panel=RUN,
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="best|last", help="Epoch of each run: its best or its last [default: best]."),
]
TextFormatOption = Annotated[
    Literal["table", "json"], typer.Option("--format", help="Format: a text to read, or JSON.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps [default: auto].")
]
TtaOption = Annotated[
    Literal["flip"] | None,
    typer.Option(
        "--tta",
        help="Test-time augmentation: flip averages the probabilities of each image and its mirror image "
        "[default: none].",
    ),
]
BackendOption = Annotated[
    Literal["auto", "torch", "onnx"] | None,
    typer.Option(
        "--backend",
        help="Library that predicts: torch, onnx (the run's model.onnx, see `dlw export`), or auto: onnx where that "
        "file has the weights asked for [default: auto].",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an existing file of that name, never an input [default: off, which is an error].",
        rich_help_panel=OUTPUT,
    ),
]


UncalibratedOption = Annotated[
    bool,
    typer.Option(
        "--uncalibrated",
        help="Leave out the temperature that `dlw calibrate` found [default: off, the run's is used].",
    ),
]


def fraction(text: str) -> float:
    """Read an option's share, as 0.05 or 5%: more than nothing and less than all."""
    given = str(text).strip()
    try:
        number = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        guess = f"; did you mean {given}%?" if 1 < number < 100 and not given.endswith("%") else ""
        raise typer.BadParameter(f"must be a share between 0 and 1, as 0.05 or 5%, not {given!r}{guess}")
    return number


MinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        metavar="P",
        parser=fraction,
        help="Answer only from this probability on, as 0.8 or 80%; what is below is unsure [default: every answer].",
    ),
]
MaxErrorOption = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        metavar="P",
        parser=fraction,
        help="Answer only where at most this share of the answers is wrong, as 5%, by the validation split; after "
        "`dlw calibrate` [default: every answer].",
    ),
]
RejectUnknownOption = Annotated[
    bool,
    typer.Option(
        "--reject-unknown",
        help="Be unsure of inputs that are farther from the training data than 95 % of the validation split, in "
        "features; after `dlw calibrate`, with torch [default: off].",
    ),
]


class FigureFile:
    """The file that an option names for a figure, refused before the work where it must not be written.

    What is there stays without --overwrite. An input of the command stays always.
    """

    def __init__(self, option: str, given: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
        from dlworkflow.files.paths import user_path
        from dlworkflow.plotting.style import check_format

        self.path, self._option, self._overwrite = check_format(user_path(given)), option, overwrite
        self.check(inputs)

    def check(self, inputs: Iterable[Path] = ()) -> None:
        """Raise ConfigError where the file must not be written, because of one of these inputs or of what is there."""
        from dlworkflow.files.writing import check_output

        check_output(self.path, option=self._option, overwrite=self._overwrite, inputs=inputs)

    def save(self, figure: Figure) -> Path:
        """Write the figure; what has appeared there meanwhile stays, too."""
        from dlworkflow.plotting import save_figure

        return save_figure(figure, self.path, overwrite=self._overwrite)


def figure_file(option: str, given: Path | None, overwrite: bool, inputs: Iterable[Path] = ()) -> FigureFile | None:
    """Return where the figure goes that a user asked for, None where none was. Raises as `FigureFile` does."""
    if given is not None:
        return FigureFile(option, given, overwrite, inputs)
    if overwrite:
        raise ConfigError(f"--overwrite: only with {option} FILE")
    return None


def save_under_free_name(figure: Figure, name: str) -> Path:
    """Write a figure that has no name of the user's into the working folder, beside what is there."""
    from dlworkflow.files.writing import free_name
    from dlworkflow.plotting import save_figure
    from dlworkflow.runs import safe_name

    while True:
        path = free_name(Path(f"{safe_name(name)}.png"))
        try:
            return save_figure(figure, path, overwrite=False)
        except FileTakenError:  # another process was faster
            continue


def echo_path(path: Path) -> None:
    """Print where something was written: on stdout, unless that is where it went."""
    from dlworkflow.files.writing import is_device

    typer.echo(str(path), err=is_device(path))


def share(text: str) -> float:
    """Read an option's number of samples, or fraction of them: a whole number of at least 1, or one of 0 to 1."""
    try:
        number = int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number as 100 or a fraction as 0.1, not {text!r}") from None
    if not (number >= 1 if isinstance(number, int) else 0 < number <= 1):
        raise typer.BadParameter(f"must be a whole number of at least 1 or a fraction up to 1, not {text}")
    return number


LimitOption = Annotated[
    float | None,
    typer.Option(
        "--limit",
        metavar="N|F",
        parser=share,
        help="Some samples of each split, by class: a number or a fraction [default: all].",
        rich_help_panel=DATA,
    ),
]


def count(text: str) -> int:
    """Read an option's whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, not {text!r}") from None
    if number < 1:
        raise typer.BadParameter(f"must be at least 1, not {number}")
    return number


def count_or_all(text: str) -> int:
    """Read an option's whole number of at least 1, or `all`."""
    if str(text).casefold() == "all":  # the default comes as a number
        return sys.maxsize
    try:
        return count(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, or all for every class") from None


def count_in_grid(text: str) -> int:
    """Read an option's number of images in a figure: at least 1, at most what a grid shows."""
    from dlworkflow.plotting.grid import MOST_IMAGES

    if (number := count(text)) > MOST_IMAGES:
        raise typer.BadParameter(f"must be at most {MOST_IMAGES}, not {number}")
    return number


def say(text: str) -> None:
    """Print a line for people on stderr, where it is in nobody's way; that nobody is left to read it is no failure."""
    from dlworkflow.files.text import printable

    with suppress(OSError):  # the terminal was closed, or the pipe
        echo(with_painted_start(printable(text), sys.stderr), sys.stderr)


@contextmanager
def file_bar() -> Iterator[Callable[[int, int], object] | None]:
    """Show files as they are done: a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bars: list[Any] = []  # made when it is known how many files there are

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, unit="file", leave=False, dynamic_ncols=True, file=sys.stderr))
        bars[0].update(done - bars[0].n)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()
