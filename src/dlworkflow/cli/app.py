"""The command tree and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer

from dlworkflow._version import __version__
from dlworkflow.cli.command import Command, Group
from dlworkflow.cli.imports import end_without_search
from dlworkflow.cli.options import CLOSED_PIPE, say
from dlworkflow.cli.streams import is_a_reader_gone, output_is_lost, replace_closed_streams
from dlworkflow.errors import CodeError, ConfigError, DlwError, first_line, naming_options
from dlworkflow.files.text import shell_command
from dlworkflow.registry import entry_points_of

LOST = "standard output is closed: what was to be printed there is lost"
_BUG = "unexpected {what} (a bug; --debug shows where)"


COMMANDS = {  # name a user types -> "module of this room:function", or ":app" for several; its line in `dlw --help`
    "train": ("train:train", "Train a model and save it in a run folder."),
    "sweep": ("sweep:sweep", "Train a model with many settings, and compare means over seeds."),
    "crossval": ("crossval:crossval", "Cross-validate a model on its training data."),
    "lr-find": ("lr_find:lr_find", "Suggest a learning rate from a range test."),
    "predict": ("predict:predict", "Predict classes of images, or of rows of numbers."),
    "explain": ("explain:explain", "Explain predictions: what in an image or a row made the answer."),
    "serve": ("serve:serve", "Serve the predictions of a run over HTTP, with a web page."),
    "evaluate": ("evaluate:evaluate", "Evaluate a run: metrics, classes, baseline and figures."),
    "calibrate": ("calibrate:calibrate", "Calibrate a run: probabilities that say how often it is right."),
    "export": ("export:export", "Export a run's model for other programs."),
    "compare": ("compare:compare", "Compare runs in one table."),
    "costs": ("costs:costs", "Measure what predictions of runs cost: size, multiplications, time, memory."),
    "runs": ("runs:app", "List the runs, oldest first, and remove, rename, tag them or write a note."),
    "show": ("runs:show", "Show one run: its settings and its epochs, or its weights."),
    "plot": ("plot:plot", "Save the figures of a run."),
    "diagnose": ("diagnose:diagnose", "Diagnose the learning curves of a run."),
    "report": ("report:report", "Write a report of runs to be sent to others."),
    "trace": ("trace:trace", "Work out an example step by step, with all its numbers."),
    "list": ("list:list_", "List all that can be named, with one line of help each."),
    "models": ("models:models", "List the models."),
    "summary": ("models:summary", "Print a model layer by layer."),
    "data": ("data:app", "List, inspect, check, shard and fetch data sets, and find wrong labels."),
    "config": ("config:config", "Explain a setting, or list all of them."),
    "doctor": ("doctor:doctor", "Report what this machine has and what is missing."),
    "guide": ("guide:guide", "List the pages of the guide, print one, or search them."),
}


class _Commands(Mapping[str, Any]):
    """The commands of the table and those of other packages by their names; each is imported when it is asked for."""

    def __init__(self) -> None:
        self._imported: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*COMMANDS, *_plugins()]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Any:
        if name not in self._imported:
            self._imported[name] = _own(name) if name in COMMANDS else _of_another_package(_plugins()[name])
        return self._imported[name]

    def about(self, name: str) -> str:
        """Return a command's line of help, that of the table without importing the command."""
        return COMMANDS[name][1] if name in COMMANDS else str(self[name].get_short_help_str(200))


class _Tree(Group):
    """`dlw`, of which a command is imported when it is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: _Commands = _Commands()  # type: ignore[assignment] # which is only read

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's own signature
        """Write each command with its line of help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands.about(name)) for name in self.commands])


def _own(name: str) -> Any:
    module, _, attribute = COMMANDS[name][0].partition(":")
    room = import_module(f"dlworkflow.cli.{module}")
    return _built(name, getattr(room, attribute), getattr(room, "COMMAND", None))


def _built(name: str, command: Any, cls: type | None = None) -> Any:
    """Return what Typer makes of a function or of a Typer app; the class of a command is `Command` by default."""
    if isinstance(command, typer.Typer):
        return typer.main.get_command(command)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=cls or Command)(command)
    return typer.main.get_command(alone)


def _plugins() -> dict[str, Any]:
    return {point.name: point for point in entry_points_of("commands")}


def _of_another_package(point: Any) -> Any:
    """Return the command of another package; what cannot be imported or is none reports that when it is called."""
    try:
        return _built(point.name, point.load())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - another package may fail in any way
        fault = f"{point.name}: cannot import {point.value}: {type(error).__name__}: {first_line(error)}"

        def loaded() -> None:
            raise ConfigError(fault)

        loaded.__doc__ = f"(cannot be imported: {first_line(error)})"
        return _built(point.name, loaded)


app = typer.Typer(
    name="dlw",
    cls=_Tree,
    help="Train, predict and compare PyTorch models; a run folder holds all that belongs to a model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlw {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    """Train, predict and compare PyTorch models; a run folder holds all that belongs to a model."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `dlw` and exit: 0, 1 for a failure, 2 for wrong usage, 129 and up when a signal or a closed pipe ended it."""
    if arguments is None:  # the process is ours
        replace_closed_streams()
        os.environ["MPLBACKEND"] = "agg"  # a notebook's `!dlw` hands on one that this environment may lack
    try:
        with naming_options():
            _run(arguments)
    finally:
        if arguments is None:  # the process ends: a further Ctrl-C has nothing left to stop
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            end_without_search()


def _run(arguments: Sequence[str] | None) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still gets the rest
    given = list(sys.argv[1:] if arguments is None else arguments)
    rest, debug = _take_debug(given)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what Pillow says of odd metadata is nothing to act on
    command = _command_tree()
    log = logging.getLogger("dlworkflow")
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(_Stderr())
    try:
        if any(".tar" in word.casefold() for word in rest):
            from dlworkflow.data.shards.names import refuse_expanded

            refuse_expanded(rest)
        code = command.main(args=rest, prog_name="dlw", standalone_mode=False, obj=given)
        sys.stdout.flush()
        if output_is_lost():
            _fail(LOST, 1, debug)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message())
            sys.exit(2)
        _fail(_usage(error, rest), getattr(error, "exit_code", 2), debug)
    except (KeyboardInterrupt, typer.Abort):
        if arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _fail("interrupted", 130, debug)
    except CodeError as error:
        _fail(f"{error}: {_with_code(rest, error.files)}", error.exit_code, debug)
    except DlwError as error:
        _fail(str(error), error.exit_code, debug)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer's own answer to a closed pipe
            if not is_a_reader_gone():
                _fail(_BUG.format(what="BrokenPipeError: a pipe between processes broke"), 1, debug)
            _leave_a_closed_pipe(error.code if error.code == CLOSED_PIPE else 0)
        if not error.code and output_is_lost(by_others=True):
            _fail(LOST, 1, debug)
        raise
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_a_reader_gone():
            _leave_a_closed_pipe()
        _fail(first_line(error), 1, debug)
    except Exception as error:  # noqa: BLE001 - a bug of ours is one line too; --debug shows it whole
        if any(word in str(error).lower() for word in ("out of memory", "allocate memory")) or isinstance(
            error, MemoryError
        ):
            _fail(f"out of memory: {first_line(error)}; lower --batch-size or data.image_size", 1, debug)
        from dlworkflow.registry.user_files import failed_in_user_code, where

        if failed_in_user_code(error):
            _fail(where(error), 1, debug)
        _fail(_BUG.format(what=f"{type(error).__name__}: {first_line(error)}"), 1, debug)
    if code == 130:  # typer's own answer to Ctrl-C
        _fail("interrupted", 130, debug)
    sys.exit(code if isinstance(code, int) else 0)


@cache
def _command_tree() -> Any:
    """Build `dlw` from its signature, once per process."""
    return typer.main.get_command(app)


def _leave_a_closed_pipe(code: int = 0) -> NoReturn:
    """Leave quietly when whoever read the output has gone (`dlw runs | head`), and keep Python quiet at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _with_code(arguments: Sequence[str], files: Sequence[str]) -> str:
    """Return a command with `--code FILE` for these files, to be typed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [word for file in files for word in ("--code", file)]
    return shell_command(["dlw", *arguments[:end], *options, *arguments[end:]])


class _Stderr(logging.Handler):
    """Shows what the library reports (a download, say) as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of the arguments wherever it stands before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest = [argument for argument in arguments[:end] if argument != "--debug"]
    return rest + arguments[end:], len(rest) < end


def _usage(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Return a usage error as one line, with the command whose help explains more."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    path = context.command_path if context is not None else _command_path(arguments)
    message = message[:1].lower() + message[1:] if message[1:2].islower() else message
    return f"{message} (see `{path} --help`)"


def _command_path(arguments: Sequence[str]) -> str:
    """Return the command that arguments start with: `dlw train`, `dlw data get`."""
    path = ["dlw"]
    command = _command_tree()
    for name in arguments:
        command = getattr(command, "commands", {}).get(name)
        if command is None:
            break
        path.append(name)
    return " ".join(path)


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug and sys.exc_info()[0] is not None and code != 130:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    say(f"dlw: {message}")
    sys.exit(code)
