"""The typed, frozen settings of one training run, and how they are put together from a recipe, a file and the user.

What a user may set stands in the classes below; the settings of one model or data set stand in its own signature
and are checked where it is known. Nothing here knows torch, a run folder or the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dlworkflow.errors import ConfigError, MissingDataError, first_line, unknown

Tree = dict[str, Any]
"""Settings as nested dictionaries, as YAML and JSON hold them."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _OpenSettings(_Settings):
    """Settings whose further keys belong to the named thing and are checked against its signature."""

    model_config = ConfigDict(extra="allow")

    @property
    def settings(self) -> Tree:
        """The keys beside the fixed ones."""
        return dict(self.model_extra or {})


class ModelSettings(_OpenSettings):
    """Which model, and the settings of its constructor (`hidden_units`, `padding`, `dropout`, ...)."""

    name: str


class DataSettings(_OpenSettings):
    """Which data set, how it is served, and the settings of its loader (`noise`, `image_size`, `transform`, ...)."""

    name: str
    batch_size: Annotated[int, Field(ge=1, le=2**31)] | Literal["full"] = 32
    shuffle: bool = True
    num_workers: Annotated[int, Field(ge=0, le=1024)] = 0
    data_dir: str | None = None
    sampler: Literal["balanced"] | None = None
    val_fraction: float | None = Field(None, gt=0, lt=1)
    val_seed: int = Field(42, ge=0, lt=2**32)


class _Optimizer(_Settings):
    weight_decay: float = Field(0.0, ge=0, le=1e30, allow_inf_nan=False)
    decay_bias_and_norm: bool = True


class SGDSettings(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: float = Field(0.01, gt=0, le=1e30, allow_inf_nan=False)
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False


class AdamSettings(_Optimizer):
    """Adam, with weight decay added to the gradient."""

    name: Literal["adam"]
    lr: float = Field(1e-3, gt=0, le=1e30, allow_inf_nan=False)
    eps: float = Field(1e-8, gt=0, le=1e30, allow_inf_nan=False)


class AdamWSettings(_Optimizer):
    """Adam, with weight decay apart from the gradient."""

    name: Literal["adamw"]
    lr: float = Field(1e-3, gt=0, le=1e30, allow_inf_nan=False)
    eps: float = Field(1e-8, gt=0, le=1e30, allow_inf_nan=False)
    weight_decay: float = Field(0.01, ge=0, le=1e30, allow_inf_nan=False)


class RMSpropSettings(_Optimizer):
    """RMSprop."""

    name: Literal["rmsprop"]
    lr: float = Field(0.01, gt=0, le=1e30, allow_inf_nan=False)
    alpha: float = Field(0.99, gt=0, lt=1)
    momentum: float = Field(0.0, ge=0, lt=1)


class _Schedule(_Settings):
    warmup_epochs: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)


class ConstantSettings(_Schedule):
    """The rate of the optimizer all along, after a warm-up where there is one."""

    name: Literal["constant"]


class StepSettings(_Schedule):
    """The rate times `gamma` every `step_size` epochs."""

    name: Literal["step"]
    step_size: int = Field(10, ge=1)
    gamma: float = Field(0.1, gt=0, lt=1)


class MultiStepSettings(_Schedule):
    """The rate times `gamma` after each of the epochs `milestones`."""

    name: Literal["multi_step"]
    milestones: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    gamma: float = Field(0.1, gt=0, lt=1)


class ExponentialSettings(_Schedule):
    """The rate times `gamma` every epoch."""

    name: Literal["exponential"]
    gamma: float = Field(0.95, gt=0, lt=1)


class CosineSettings(_Schedule):
    """Half a cosine from the rate down to `min_lr` over all epochs; after a warm-up, update by update."""

    name: Literal["cosine"]
    min_lr: float = Field(0.0, ge=0, le=1e30, allow_inf_nan=False)


class OneCycleSettings(_Settings):
    """From a `div_factor`-th of the rate up to it in the first `pct_start` of all updates, then down to almost none."""

    name: Literal["one_cycle"]
    pct_start: float = Field(0.3, gt=0, lt=1)
    div_factor: float = Field(25.0, gt=1, le=1e30, allow_inf_nan=False)
    final_div_factor: float = Field(1e4, ge=1, le=1e30, allow_inf_nan=False)


class PlateauSettings(_Schedule):
    """The rate times `factor` when `patience` epochs went by without a loss lower by the part `threshold`."""

    name: Literal["plateau"]
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(10, ge=0)
    threshold: float = Field(1e-4, ge=0, lt=1)
    min_lr: float = Field(0.0, ge=0, le=1e30, allow_inf_nan=False)


ScheduleSettings = Annotated[
    ConstantSettings
    | StepSettings
    | MultiStepSettings
    | ExponentialSettings
    | CosineSettings
    | OneCycleSettings
    | PlateauSettings,
    Field(discriminator="name"),
]


class EarlyStoppingSettings(_Settings):
    """End training when `patience` epochs went by without a loss lower by more than `min_delta`."""

    patience: int = Field(ge=1)
    min_delta: float = Field(0.0, ge=0, le=1e30, allow_inf_nan=False)


OptimizerSettings = Annotated[SGDSettings | AdamSettings | AdamWSettings | RMSpropSettings, Field(discriminator="name")]


def _checked_weights(given: Any) -> Any:
    """Take `balanced`, or a weight for each class by its name (YAML reads the name 7 as a number)."""
    if given is None or given == "balanced":
        return given
    if not isinstance(given, Mapping):
        raise ValueError("must be 'balanced' or a weight a class, as in {pizza: 2.0, steak: 1.0}")
    for name, weight in given.items():
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not 0 < weight <= 1e30:
            raise ValueError(f"the weight of class {str(name)!r} must be a number above 0")
    return {str(name): float(weight) for name, weight in given.items()}


class TrainConfig(_Settings):
    """Everything that decides what one training run does; `to_tree` and a YAML file of it repeat the run."""

    model: ModelSettings
    data: DataSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings = ConstantSettings(name="constant", warmup_epochs=0.0)
    loss: Literal["l1", "mse", "huber", "smooth_l1", "binary_cross_entropy", "cross_entropy", "multi_margin"] | None = (
        None
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    loss_weights: Annotated[Any, BeforeValidator(_checked_weights)] = None
    epochs: int = Field(5, ge=1)
    seed: int = Field(42, ge=0, lt=2**32)
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    averaging: Literal["sample", "batch"] = "sample"
    init_from: str | None = None
    weights: str | None = None
    freeze: Literal["none", "backbone"] = "none"
    freeze_epochs: int | None = Field(None, ge=1)
    backbone_lr_scale: float = Field(1.0, gt=0, le=1e30, allow_inf_nan=False)
    cache_features: bool = True
    early_stopping: EarlyStoppingSettings | None = None
    accumulate: int = Field(1, ge=1, le=2**31)
    clip_norm: float | None = Field(None, gt=0, le=1e30, allow_inf_nan=False)
    clip_value: float | None = Field(None, gt=0, le=1e30, allow_inf_nan=False)
    ema: float | None = Field(None, gt=0, lt=1)
    mixup: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    cutmix: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    compile: bool = False

    @model_validator(mode="before")
    @classmethod
    def _own_validation_split(cls, values: Any) -> Any:
        """Let `data.val_seed: seed` stand for the number of the run's seed: each seed then chooses by other samples."""
        dataset = values.get("data") if isinstance(values, Mapping) else None
        if not isinstance(dataset, Mapping) or dataset.get("val_seed") != "seed":
            return values
        seed, usual = values.get("seed"), cls.model_fields["seed"].default
        return {**values, "data": {**dataset, "val_seed": seed if isinstance(seed, int) else usual}}

    def to_tree(self) -> Tree:
        """Return the settings as plain nested dictionaries, in the order of the classes."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the settings as a YAML file that `read_file` takes back."""
        return yaml.safe_dump(self.to_tree(), sort_keys=False, allow_unicode=True)


class SweepSettings(_Settings):
    """Which runs a sweep makes of one base of settings, and how: the section `sweep` of its file.

    `grid` is {dotted key: list of values, or a range such as `1e-4..1e-1`}; `random` tries that many combinations
    instead of all. `variants` is {name: settings}: each is tried, with every combination of the grid. `by` names the
    metric that ranks them, `at` each run's best epoch or its last. Budgets hold for one call.
    """

    grid: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any] | None] = Field(default_factory=dict)
    random: int | None = Field(None, ge=1)
    sampler: Literal["random", "tpe"] = "random"
    sampling_seed: int = Field(0, ge=0, lt=2**32)
    seeds: int = Field(1, ge=1)
    by: str | None = None
    at: Literal["best", "last"] = "best"
    vectorize: bool | None = None
    jobs: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    max_runs: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Layer:
    """Settings from one source: nested `values`, and how the user wrote each dotted key (for messages)."""

    values: Tree
    labels: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path) -> Layer:
    """Read a YAML file of settings.

    Raises MissingDataError when it is not there and ConfigError when it is no YAML mapping of settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingDataError(f"--config: no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: cannot read {str(path)!r}: {first_line(error)}") from None
    values = _load_yaml(text, where=str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, not {type(values).__name__}")
    values = _named_sections(values)
    return Layer(values, {key: f"{path}: {key}" for key in _dotted(values)})


def from_overrides(pairs: Iterable[str]) -> Layer:
    """Read `key=value` pairs (`optimizer.lr=1e-3`, `data.transform=flip`); values are YAML scalars or lists."""
    values: Tree = {}
    faults = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            faults.append(f"--set {pair}: write it as key=value, for example --set optimizer.lr=0.01")
            continue
        try:
            _plant(values, key, _load_yaml(text, where=f"--set {key}"))
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(*faults)
    values = _named_sections(values)
    return Layer(values, {key: f"--set {key}" for key in _dotted(values)})


def from_values(settings: Mapping[str, Any], flag: str) -> Layer:
    """Turn {dotted key: value} into a layer whose messages say `flag` before the key."""
    values: Tree = {}
    for key, value in settings.items():
        _plant(values, key, value)
    values = _named_sections(values)
    return Layer(values, {key: f"{flag} {key}" for key in _dotted(values)})


def read_values(text: str, *, where: str) -> list[Any]:
    """Read values with commas between them (`1e-3,1e-2`, `[32, 32],[64, 64]`) as YAML does."""
    found: list[Any] = _load_yaml(f"[{text}]", where=where)
    return found


def from_flags(flags: Mapping[str, tuple[str, Any]]) -> Layer:
    """Turn {dotted key: (flag as typed, value or None when it was not given)} into a layer."""
    values: Tree = {}
    labels = {}
    for key, (flag, value) in flags.items():
        if value is not None:
            _plant(values, key, value)
            labels[key] = flag
    return Layer(values, labels)


def merge(layers: Sequence[Layer]) -> Layer:
    """Lay each layer over those before it.

    A section whose `name` changes starts anew: the learning rate that a recipe chose for SGD is none for Adam.
    `data` keeps what serves any data set (batch size, shuffling, workers, folder).
    """
    values: Tree = {}
    labels: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            below = values.get(key)
            if not isinstance(value, dict) or not isinstance(below, dict):
                values[key] = _copy(value)
                continue
            if "name" in value and below.get("name", value["name"]) != value["name"]:
                kept = set(DataSettings.model_fields) - {"name"} if key == "data" else set()
                below = {name: setting for name, setting in below.items() if name in kept}
            values[key] = below | _copy(value)
        labels |= layer.labels
    return Layer(values, labels)


def together(*layers: Layer) -> Layer:
    """Join layers that the user typed at once: a later value wins, but nothing typed is dropped unseen.

    Raises ConfigError for two names of one thing: settings would be dropped with the name that they belong to.
    """
    values: Tree = {}
    labels: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            below = values.get(key)
            if isinstance(value, dict) and below is not None:
                if not isinstance(below, dict):
                    raise ConfigError(f"{labels.get(key, key)}: must be a name or settings, not {below!r}")
                _refuse_another_name(key, Layer(below, labels), Layer(value, layer.labels))
                values[key] = below | _copy(value)
            else:
                values[key] = _copy(value)
        labels |= layer.labels
    return Layer(values, labels)


def _refuse_another_name(section: str, below: Layer, above: Layer) -> None:
    """Raise ConfigError when two layers name different things in a section."""
    first, second = below.values.get("name"), above.values.get("name")
    if first is not None and second is not None and first != second:
        said, other = (layer.labels.get(f"{section}.name", section) for layer in (below, above))
        raise ConfigError(f"{said}: {first!r} contradicts {other} {second!r}; leave one out")


def build_config(layer: Layer, faults: Mapping[str, str] | None = None) -> TrainConfig:
    """Check a merged layer and return the settings.

    `faults` are those found elsewhere, {dotted key: sentence}. Raises ConfigError with all faults at once.
    """
    found = {key: f"{layer.labels.get(key, key)}: {sentence}" for key, sentence in (faults or {}).items()}
    config = None
    try:
        config = TrainConfig.model_validate(layer.values)
    except ValidationError as error:
        for fault in error.errors():
            key = _key_of(fault["loc"])
            label = layer.labels.get(key) or layer.labels.get(f"{key}.name", key)
            found.setdefault(key, f"{label}: {_sentence(fault, key)}")
    if found or config is None:
        raise ConfigError(*found.values())
    return config


def build_sweep_settings(layer: Layer) -> SweepSettings:
    """Check the section `sweep` of a merged layer. Raises ConfigError with all faults at once."""
    given = layer.values.get("sweep", {})
    label = layer.labels.get("sweep", "sweep")
    if not isinstance(given, dict):
        raise ConfigError(f"{label}: must be a mapping of settings, not {given!r}")
    try:
        return SweepSettings.model_validate(given)
    except ValidationError as error:
        found: dict[str, str] = {}
        for fault in error.errors():
            key = f"sweep.{fault['loc'][0]}"
            known = list(SweepSettings.model_fields)
            extra = fault["type"] == "extra_forbidden"
            sentence = unknown("setting", fault["loc"][0], known) if extra else _sentence(fault, key)
            found.setdefault(key, f"{layer.labels.get(key, key)}: {sentence}")
        raise ConfigError(*found.values()) from None


def right_part(values: Tree) -> tuple[TrainConfig | None, frozenset[str]]:
    """Return the settings with those that are wrong left at their defaults, and the keys of the wrong ones.

    None where even so no settings come out: where the model, the data or the optimizer cannot be made sense of.
    """
    wrong: set[str] = set()
    while True:
        try:
            return TrainConfig.model_validate(values), frozenset(wrong)
        except ValidationError as error:
            faulty = {_key_of(fault["loc"]) for fault in error.errors()}
            values = {key: _copy(value) for key, value in values.items()}
            for key in faulty:
                if not _uproot(values, key):
                    return None, frozenset(wrong)
            wrong |= faulty


def _uproot(tree: Tree, key: str) -> bool:
    """Take a dotted key out of a tree; tell whether it was there."""
    section, _, name = key.rpartition(".")
    branch = tree[section] if section else tree
    return isinstance(branch, dict) and branch.pop(name, branch) is not branch


_NAMED = ("model", "data", "optimizer", "schedule")
_SECTIONS = (*_NAMED, "early_stopping")


def _key_of(location: tuple[int | str, ...]) -> str:
    """Drop from pydantic's location what a user did not write: a union's tag and its branches."""
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[1] in _KINDS.get(parts[0], ()):
        del parts[1]
    return ".".join(parts[:2] if parts[0] in _SECTIONS else parts[:1])


_OPTIMIZERS: dict[str, type[_Optimizer]] = {
    "sgd": SGDSettings,
    "adam": AdamSettings,
    "adamw": AdamWSettings,
    "rmsprop": RMSpropSettings,
}
_SCHEDULES: dict[str, type[_Settings]] = {
    "constant": ConstantSettings,
    "step": StepSettings,
    "multi_step": MultiStepSettings,
    "exponential": ExponentialSettings,
    "cosine": CosineSettings,
    "one_cycle": OneCycleSettings,
    "plateau": PlateauSettings,
}
_KINDS: dict[str, Mapping[str, type[_Settings]]] = {"optimizer": _OPTIMIZERS, "schedule": _SCHEDULES}


def _sentence(fault: Any, key: str) -> str:
    """Say one pydantic fault in a user's words."""
    kind, given, limits = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        section, _, name = key.rpartition(".")
        return unknown("setting", name, _known_settings(section, fault["loc"]))
    if kind == "missing" or kind == "union_tag_not_found":
        return "is missing" if kind == "missing" else "needs a name: " + ", ".join(_KINDS[key])
    if kind == "union_tag_invalid":
        return unknown(key, limits["tag"], _KINDS[key])
    if kind == "literal_error" and key not in _WORDS:
        values = [value.strip("'") for value in limits["expected"].replace(" or ", ", ").split(", ")]
        return unknown("value", given, values)
    bounds = {
        "greater_than": "more than {gt:g}",
        "greater_than_equal": "at least {ge:g}",
        "less_than": "less than {lt:g}",
        "less_than_equal": "at most {le:g}",
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "model_type": "a mapping of settings" if key == "early_stopping" else "a name or a mapping of settings",
        "list_type": "a list",
        "too_short": "a list of at least one",
        "model_attributes_type": "a name or a mapping of settings",
        "literal_error": limits.get("expected", ""),
    }
    if kind == "value_error":
        return f"{limits['error']}, not {given!r}"
    if kind in bounds:
        word = _WORDS.get(key)
        return f"must be {bounds[kind].format(**limits)}{f' or {word!r}' if word else ''}, not {given!r}"
    return f"{fault['msg']}, not {given!r}"


_WORDS = {"data.batch_size": "full", "data.val_seed": "seed", "threads": "auto", "sweep.jobs": "auto"}


def _known_settings(section: str, location: tuple[int | str, ...]) -> list[str]:
    if section in _KINDS:
        return list(_KINDS[section][str(location[1])].model_fields)
    if section == "early_stopping":
        return list(EarlyStoppingSettings.model_fields)
    return list(TrainConfig.model_fields)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-3 as a number and refuses a key that stands twice or a value within itself."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ARG002 - PyYAML's own signature
        return super().construct_object(node, deep=True)  # at once, which refuses an alias within its own anchor

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep=deep)


def _add_float_resolver() -> None:
    import re

    number = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))


_add_float_resolver()


def _load_yaml(text: str, *, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark and "\n" in text else ""
        raise ConfigError(f"{where}{line}: {error.problem or 'is no YAML'}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: is no YAML: {first_line(error)}") from None


def _named_sections(values: Tree) -> Tree:
    """Let `model: tinyvgg` stand for `model: {name: tinyvgg}`."""
    return {
        key: {"name": value} if key in _NAMED and isinstance(value, str) else value for key, value in values.items()
    }


def _plant(tree: Tree, key: str, value: Any) -> None:
    """Set a dotted key in a nested tree."""
    *sections, name = key.split(".")
    branch = tree
    for section in sections:
        below = branch.setdefault(section, {})
        if isinstance(below, str) and branch is tree:
            below = branch[section] = {"name": below}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {section!r} was set to {below!r} and has no settings below it")
        branch = below
    if isinstance(branch.get(name), dict) and isinstance(value, str):
        branch[name]["name"] = value
    else:
        branch[name] = value


def _dotted(tree: Mapping[str, Any]) -> list[str]:
    """Return the keys of a tree, and those one level below, dotted."""
    keys = []
    for key, value in tree.items():
        keys.append(str(key))
        if isinstance(value, dict):
            keys.extend(f"{key}.{name}" for name in value)
    return keys


def _copy(value: Any) -> Any:
    return {key: _copy(part) for key, part in value.items()} if isinstance(value, dict) else value
