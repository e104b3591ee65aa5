"""A command of `dlw`: help in groups with examples at its end, hints for unknown options, the options of settings.

Knows the table of flags and the settings' lines of documentation, and no single command.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dlworkflow.cli.options import CodeOption, complete_data
from dlworkflow.config.flags import FLAGS, HINTS, PANELS, Flag
from dlworkflow.errors import ConfigError, nearest, unknown

if TYPE_CHECKING:
    from dlworkflow.config import Layer

Given = dict[str, tuple[str, Any]]
"""What was typed of the options of settings: {dotted key: (option, value or None)}."""


_TYPES = {"int": "N", "float": "NUMBER"}
_TYPE = re.compile(r"<(int|float)(?: range)?>")  # what Typer writes after an option without a metavar


class _Options:
    """What commands and groups of them have in common: options in groups, and hints for those that there are not."""

    params: list[Any]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options."""
        typers: Any = super()
        parameters: list[Any] = typers.get_params(ctx)
        for parameter in parameters:
            parameter.get_runtime_param = partial(_Conversion, parameter)
        return parameters

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, those of a group together, with the documentation of their settings."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{panel: [] for panel in PANELS}, "Options": []}
        command: Any = self
        for parameter in command.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
            flag = FLAGS.get(parameter.opts[0])
            if flag is not None and not parameter.help:
                parameter.help = documentation(flag)
            if (record := parameter.get_help_record(ctx)) is not None:
                name, text = record
                name = _argument_name(parameter) if is_argument else _TYPE.sub(lambda found: _TYPES[found[1]], name)
                groups[panel].append((name, text))
        for panel, records in groups.items():
            if records:
                with formatter.section(panel if panel in ("Arguments", "Options") else f"{panel} options"):
                    formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments. Raises ConfigError for an option that is unknown, or given twice for its one value."""
        self._refuse_repeated(args)
        typers: Any = super()
        try:
            return list(typers.parse_args(ctx, args))
        except typer.TyperException as error:
            if type(error).__name__ != "NoSuchOption":
                raise
            raise self.unknown_option(error.option_name, ctx.command_path) from None  # type: ignore[attr-defined]

    def unknown_option(self, given: str, path: str) -> ConfigError:
        """Return the error for an option that there is not, with the one that was most likely meant."""
        known = [name for parameter in self.params for name in parameter.opts if name.startswith("-")]
        name = given.partition("=")[0].replace("_", "-")
        hint = name if name in known else HINTS.get(name, "")
        if hint.split(",")[0].split(" ")[0] in (*known, *(str(parameter.name).upper() for parameter in self.params)):
            return ConfigError(f"unknown option {given!r}; did you mean {hint}? (see `{path} --help`)")
        if "--set" in known and not nearest(name, known) and (key := _setting_called(name)):
            return ConfigError(f"unknown option {given!r}; did you mean --set {key}=VALUE? (see `dlw config {key}`)")
        return ConfigError(f"{unknown('option', given, known)} (see `{path} --help`)")

    def _refuse_repeated(self, args: Sequence[str]) -> None:
        """Raise ConfigError for an option that takes one value and was given two: the first would be dropped unseen."""
        rest = list(args[: args.index("--")] if "--" in args else args)
        options = {name: option for option in self.params for name in option.opts if name.startswith("-")}
        seen: dict[str | None, str] = {}
        while rest:
            name, equals, value = rest.pop(0).partition("=")
            option: Any = options.get(name)
            if option is None or option.is_flag:
                continue
            value = value if equals or not rest else rest.pop(0)
            if option.name in seen and not option.multiple:
                raise ConfigError(f"{name}: given twice, {seen[option.name]!r} and {value!r}; leave one out")
            seen[option.name] = value


class _Conversion:
    """Makes the value of a parameter as Typer does, but leaves alone what is one already, as texts are.

    Typer imports pydantic for each, which takes a quarter of the time of a short command. This reads what Typer knows
    of a parameter, which is not documented: of a version that lacks it, Typer converts all of them.
    """

    def __init__(self, parameter: Any) -> None:
        self._of_typer = partial(type(parameter).get_runtime_param, parameter)

    def coerce(self, value: Any, **given: Any) -> Any:
        """Return the value. Raises BadParameter for a wrong one."""
        with suppress(AttributeError, KeyError):
            if (found := _unconverted(value, given["param"])) is not _OTHER:
                return found
        return self._of_typer().coerce(value, **given)


_OTHER = object()


def _unconverted(value: Any, param: Any) -> Any:
    """Return the value of a parameter where that is what was typed, else _OTHER."""
    kind, is_several = param.type_descriptor, param.multiple or param.nargs == -1
    if value is None:
        return () if is_several else None
    if kind.parameter_info.parser is None:
        if kind.annotation in (str, list[str]) and is_several == kind.is_list:
            return list(value) if is_several else value
        if not is_several and value in (kind.choices or ()):
            return next(choice for choice in kind.choices if choice == value)
    return _OTHER


class Command(_Options, TyperCommand):
    """A command whose docstring may end in `Examples:`."""

    def __init__(self, name: str | None, *, help: str | None = None, **options: Any) -> None:
        help, _, examples = (help or "").partition("\n\nExamples:\n")
        self.examples = examples.splitlines()
        super().__init__(name, help=help, **options)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the line of usage; an argument that may be left out is in brackets."""
        command: Any = super()
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        usual = {piece: _usage(argument) for argument in arguments for piece in argument.get_usage_pieces(ctx)}
        return [usual.get(piece, piece) for piece in command.collect_usage_pieces(ctx)]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Click's own signature
        """Write the examples, a line each."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {example}\n")


class Group(_Options, TyperGroup):
    """A command with commands of its own."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called. Raises ConfigError for one that there is not."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise ConfigError(f"{unknown('command', args[0], self.commands)} (see `{ctx.command_path} --help`)")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


def _argument_name(argument: Any) -> str:
    """Return an argument's name: `RUN`, and `RUN...` for several; a metavar of two words is there as it is."""
    name = str(argument.metavar or argument.name.upper())
    return name if " " in name else name.strip("[].") + "..." * (argument.nargs != 1)


def _usage(argument: Any) -> str:
    name = _argument_name(argument)
    return name if argument.required or " " in name else f"[{name}]"


class Commands(typer.Typer):
    """A group of commands that are `Command`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": Group, "rich_markup_mode": None, "add_completion": False, **options})

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Add a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **options})


def _setting_called(option: str) -> str | None:
    """Return the dotted key of the setting that an option names: `mixup` of --mixup, `data.sampler` of --sampler."""
    from dlworkflow.config.documentation import fixed_settings

    name = option.strip("-").replace("-", "_")
    keys = [key for key in fixed_settings() if key.rpartition(".")[2] == name and not key.startswith("sweep.")]
    return keys[0] if keys else None


def documentation(flag: Flag) -> str:
    """Return the help of a flag: the line of documentation of its setting, and its default."""
    from dlworkflow.config.documentation import fixed_settings, split_default

    setting = fixed_settings().get(flag.key)
    about, default = split_default(flag.about)
    if setting is not None:
        about, default = setting.about or about, default or setting.default
    default = "off" if flag.kind == "switch" and default != "auto" else default
    recipes = _recipe_keys()
    if any(flag.key in keys for keys in recipes):
        always = all(flag.key in keys for keys in recipes)
        default = "set by the recipe" if always or not default else f"{default}, or set by the recipe"
    return f"{about.rstrip('.')} [default: {default}]." if default else about


@cache
def _recipe_keys() -> list[set[str]]:
    """Return of each recipe the dotted keys that it sets."""
    from dlworkflow.config.command_line import flat
    from dlworkflow.models.recipes import RECIPES

    kinds = [by_looks for by_model in RECIPES.values() for by_looks in by_model.values()]
    return [set(flat(recipe)) for by_looks in kinds for recipe in by_looks.values()]


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `FLAGS` of these names; what was typed of them is its argument `given`."""
    flags = {f"{name.strip('-').replace('-', '_')}_": FLAGS[name] for name in names}  # MODEL and --model are two

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            typed = {flag.key: (flag.name, _value(flag, values.pop(name))) for name, flag in flags.items()}
            command(given=typed, **values)

        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != "given"]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(flag))
            for name, flag in flags.items()
        ]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined] # what Typer reads
            parameters=[parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + added
        )
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *added)}
        return run

    return decorate


def takes_code(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--code`, which names files of the user's own code that it may import."""

    @wraps(command)
    def run(*, code: list[str] | None = None, **values: Any) -> None:
        from dlworkflow.registry.user_code import use_code

        use_code(*code or ())
        command(**values)

    signature = inspect.signature(command, eval_str=True)
    added = inspect.Parameter("code", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=CodeOption)
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=[*own, added])  # type: ignore[attr-defined] # what Typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, added)}
    return run


def typed_words(context: typer.Context, *, without: Collection[str]) -> list[str]:
    """Return the options of a command as they were typed, but for those of the parameters `without`."""
    words: list[str] = []
    for parameter in context.command.params:
        name, option = str(parameter.name), parameter.opts[0]
        source = context.get_parameter_source(name)
        if parameter.param_type_name != "option" or name in without or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append(option if value else parameter.secondary_opts[0])
            continue
        for each in value if isinstance(value, (list, tuple)) else [value]:
            words += [option, str(getattr(each, "value", each))]
    return words


def named_model(model: str | None, given: Given) -> Given:
    """Return what was typed with the model, MODEL or `--model`. Raises ConfigError for two of them."""
    option, typed = given.get("model.name", ("--model", None))
    if None not in (model, typed) and model != typed:
        raise ConfigError(f"{option}: {typed!r} contradicts MODEL {model!r}; leave one out")
    return {**given, "model.name": ("MODEL", model) if typed is None else (option, typed)}


def _option(flag: Flag) -> Any:
    """Return the annotation from which Typer makes the option; its help is filled in when it is asked for."""
    completed = complete_data if flag.key == "data.name" else None
    if flag.kind == "switch":
        either = f"{flag.name}/--no-{flag.name.removeprefix('--')}"
        return Annotated[bool | None, typer.Option(either, rich_help_panel=flag.panel)]
    if flag.kind == "names":
        return Annotated[list[str] | None, typer.Option(flag.name, metavar=flag.metavar, rich_help_panel=flag.panel)]
    return Annotated[
        str | None,
        typer.Option(flag.name, metavar=flag.metavar, rich_help_panel=flag.panel, autocompletion=completed),
    ]


def _value(flag: Flag, text: Any) -> Any:
    """Read a number; leave `full`, `auto` and whatever is wrong to the check of all settings.

    Names that were not given are None.
    """
    if flag.kind == "names":
        return list(text) if text else None
    for number in (int, float) if flag.kind == "number" and text is not None else ():
        try:
            return number(text)
        except ValueError:
            continue
    return text


def typed_layers(files: Sequence[str], settings: Sequence[str] | None, given: Given) -> list[Layer]:
    """Return the layers of what was typed: files of settings, and over them --set and the options together."""
    from dlworkflow.config import Layer, from_flags, from_overrides, over_notes, read_file, together
    from dlworkflow.data import locate
    from dlworkflow.files.paths import user_path
    from dlworkflow.registry.user_code import is_code, use_code_named_in

    dataset = given.get("data.name", ("", None))[1]
    flags = from_flags({key: value for key, value in given.items() if key != "data.name"})
    if dataset is not None:
        use_code_named_in(dataset)  # of a file of code, what is wrong is reported with all else
        located = {"name": dataset} if is_code(dataset) else locate(dataset)
        values = flags.values | {"data": {**located, **flags.values.get("data", {})}}
        flags = Layer(values, {**flags.labels, **{f"data.{key}": "--data" for key in located}})
    read = over_notes([read_file(user_path(path)) for path in files])
    return [*read, together(from_overrides(settings or ()), flags)]
