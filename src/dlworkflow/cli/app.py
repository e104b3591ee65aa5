"""The command tree and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from dlworkflow._version import __version__
from dlworkflow.cli.command import Command, Commands
from dlworkflow.cli.options import CLOSED_PIPE, say
from dlworkflow.cli.streams import is_a_reader_gone, output_is_lost, replace_closed_streams
from dlworkflow.data.shards.names import refuse_expanded
from dlworkflow.errors import CodeError, ConfigError, DlwError, first_line, naming_options
from dlworkflow.files.text import shell_command
from dlworkflow.registry import entry_points_of
from dlworkflow.registry.user_files import failed_in_user_code, where

LOST = "standard output is closed: what was to be printed there is lost"
_BUG = "unexpected {what} (a bug; --debug shows where)"


class _Tree(TyperGroup):
    """The commands of the table and those of other packages, which are imported when they are called or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(dict.fromkeys([*super().list_commands(ctx), *_plugins()]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        return found if found is not None or cmd_name not in _plugins() else _plugin_command(_plugins()[cmd_name])


def _plugins() -> dict[str, Any]:
    return {point.name: point for point in entry_points_of("commands")}


def _plugin_command(point: Any) -> Any:
    """Return the command of another package, a function or a Typer app; one that cannot be imported reports that."""
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - another package may fail in any way
        fault = f"{point.name}: cannot import {point.value}: {type(error).__name__}: {first_line(error)}"

        def loaded() -> None:
            raise ConfigError(fault)

        loaded.__doc__ = f"(cannot be imported: {first_line(error)})"
    if isinstance(loaded, typer.Typer):
        return typer.main.get_command(loaded)
    alone = Commands(context_settings=app.info.context_settings, rich_markup_mode=None)
    alone.command(point.name)(loaded)
    return typer.main.get_command(alone)


app = Commands(
    name="dlw",
    cls=_Tree,
    help="Train, predict and compare PyTorch models; a run folder holds all that belongs to a model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = {  # name a user types -> "module of this room:function", or ":app" for a group of commands
    "train": "train:train",
    "sweep": "sweep:sweep",
    "crossval": "crossval:crossval",
    "lr-find": "lr_find:lr_find",
    "predict": "predict:predict",
    "evaluate": "evaluate:evaluate",
    "compare": "compare:compare",
    "runs": "runs:runs",
    "show": "runs:show",
    "plot": "plot:plot",
    "diagnose": "diagnose:diagnose",
    "trace": "trace:trace",
    "list": "list:list_",
    "models": "models:models",
    "summary": "models:summary",
    "data": "data:app",
    "config": "config:config",
    "doctor": "doctor:doctor",
    "guide": "guide:guide",
}

for _name, _place in COMMANDS.items():
    _module, _, _function = _place.partition(":")
    _room = import_module(f"dlworkflow.cli.{_module}")
    _command = getattr(_room, _function)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name, cls=getattr(_room, "COMMAND", Command))(_command)


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
        if failed_in_user_code(error):
            _fail(where(error), 1, debug)
        _fail(_BUG.format(what=f"{type(error).__name__}: {first_line(error)}"), 1, debug)
    if code == 130:  # typer's own answer to Ctrl-C
        _fail("interrupted", 130, debug)
    sys.exit(code if isinstance(code, int) else 0)


@cache
def _command_tree() -> Any:
    """Build the commands from their signatures, once per process: it takes as long as most commands that only look."""
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
