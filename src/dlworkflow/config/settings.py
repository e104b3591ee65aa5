"""What a user may set, typed and frozen: one training run, and one sweep of many.

The settings of one model or data set stand in its own signature and are checked where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Tree = dict[str, Any]
"""Settings as nested dictionaries, as YAML and JSON hold them."""

MOST = 2**31 - 1
"""The largest whole number of a setting: what is counted here is never more, and every tool reads it."""


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
    batch_size: Annotated[int, Field(ge=1, le=MOST)] | Literal["full"] = 32
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
    step_size: int = Field(10, ge=1, le=MOST)
    gamma: float = Field(0.1, gt=0, lt=1)


class MultiStepSettings(_Schedule):
    """The rate times `gamma` after each of the epochs `milestones`."""

    name: Literal["multi_step"]
    milestones: list[Annotated[int, Field(ge=1, le=MOST)]] = Field(min_length=1)
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
    patience: int = Field(10, ge=0, le=MOST)
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

    patience: int = Field(ge=1, le=MOST)
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


def _checked_blend(alpha: float) -> float:
    """Take a parameter of a beta distribution, or 0; of a smaller one no number can be drawn."""
    if alpha != 0 and not 0.001 <= alpha <= 1e6:
        raise ValueError("must be 0 or between 0.001 and 1,000,000")
    return alpha


Blend = Annotated[float, AfterValidator(_checked_blend)]


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
    epochs: int = Field(5, ge=1, le=MOST)
    seed: int = Field(42, ge=0, lt=2**32)
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    averaging: Literal["sample", "batch"] = "sample"
    init_from: str | None = None
    weights: str | None = None
    freeze: Literal["none", "backbone"] = "none"
    freeze_epochs: int | None = Field(None, ge=1, le=MOST)
    backbone_lr_scale: float = Field(1.0, gt=0, le=1e30, allow_inf_nan=False)
    cache_features: bool = True
    early_stopping: EarlyStoppingSettings | None = None
    accumulate: int = Field(1, ge=1, le=MOST)
    clip_norm: float | None = Field(None, gt=0, le=1e30, allow_inf_nan=False)
    clip_value: float | None = Field(None, gt=0, le=1e30, allow_inf_nan=False)
    ema: float | None = Field(None, gt=0, lt=1)
    mixup: Blend = 0.0
    cutmix: Blend = 0.0
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
    random: int | None = Field(None, ge=1, le=MOST)
    sampler: Literal["random", "tpe"] = "random"
    sampling_seed: int = Field(0, ge=0, lt=2**32)
    seeds: int = Field(1, ge=1, le=MOST)
    by: str | None = None
    at: Literal["best", "last"] = "best"
    vectorize: bool | None = None
    jobs: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    max_runs: int | None = Field(None, ge=1, le=MOST)
    max_minutes: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False)


OPTIMIZERS: dict[str, type[_Optimizer]] = {
    "sgd": SGDSettings,
    "adam": AdamSettings,
    "adamw": AdamWSettings,
    "rmsprop": RMSpropSettings,
}
SCHEDULES: dict[str, type[_Settings]] = {
    "constant": ConstantSettings,
    "step": StepSettings,
    "multi_step": MultiStepSettings,
    "exponential": ExponentialSettings,
    "cosine": CosineSettings,
    "one_cycle": OneCycleSettings,
    "plateau": PlateauSettings,
}
KINDS: dict[str, Mapping[str, type[_Settings]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
