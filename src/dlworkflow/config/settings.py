"""What a user may set, typed and frozen: one training run, and one sweep of many.

The settings of one model or data set stand in its own signature and are checked where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Tree = dict[str, Any]
"""Settings as nested dictionaries, as YAML and JSON hold them."""

MOST = 2**31 - 1
"""The largest whole number of a setting: what is counted here is never more, and every tool reads it."""


class _Settings(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, defer_build=True
    )  # a help text needs no validator


class _OpenSettings(_Settings):
    """Settings whose further keys belong to the named thing and are checked against its signature."""

    model_config = ConfigDict(extra="allow")

    @property
    def settings(self) -> Tree:
        """The keys beside the fixed ones."""
        return dict(self.model_extra or {})


class ModelSettings(_OpenSettings):
    """Which model, and the settings of its constructor (`hidden_units`, `padding`, `dropout`, ...)."""

    name: str = Field(description="Model: a name of `dlw models`, of a torchvision classification model, or timm/NAME.")


def _checked_limit(limit: Any) -> Any:
    """Take a number of samples, or a fraction of them."""
    fits = 1 <= limit <= MOST if type(limit) is int else type(limit) is float and 0 < limit <= 1
    if limit is not None and not fits:
        raise ValueError("must be a number of samples as 100, or a fraction of them as 0.1")
    return limit


class DataSettings(_OpenSettings):
    """Which data set, how it is served, and the settings of its loader (`noise`, `image_size`, `transform`, ...)."""

    name: str = Field(
        description="Data set: a name of `dlw data list`, a folder of images, a CSV of images or of numbers, or shards "
        "[default: the model's usual data]."
    )
    batch_size: Annotated[int, Field(ge=1, le=MOST)] | Literal["full"] = Field(
        32, description="Samples per optimizer step: a number, or full for all training samples."
    )
    shuffle: bool = Field(True, description="Shuffle the training samples in each epoch: true or false.")
    num_workers: int = Field(
        0, ge=0, le=1024, description="Worker processes that load batches; 0 loads them in the training process."
    )
    data_dir: str | None = Field(
        None, description="Folder in which data sets are stored [default: DLW_DATA_DIR or data]."
    )
    sampler: Literal["balanced"] | None = Field(
        None, description="balanced draws training samples so that all classes are equally frequent [default: none]."
    )
    limit: Annotated[Any, BeforeValidator(_checked_limit)] = Field(
        None,
        description="Quick run on fewer samples of each split, by class: a fraction as 0.1, or a number as 100 "
        "[default: all samples].",
    )
    folds: int | None = Field(
        None, ge=2, le=MOST, description="Cross-validation: number of folds of the training data [default: none]."
    )
    fold: int | None = Field(
        None, ge=1, le=MOST, description="Cross-validation: the fold held out as test split, from 1 [default: none]."
    )
    fold_seed: int = Field(42, ge=0, lt=2**32, description="Cross-validation: seed of the folds.")
    val_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Fraction of the training data held out for validation and model selection, above 0 and below 1 "
        "[default: none; the test data selects].",
    )
    val_seed: int = Field(
        42, ge=0, lt=2**32, description="Seed of the validation split: a number, or seed for the seed of the run."
    )


class OptimizerSettings(_OpenSettings):
    """Which optimizer, and its settings (`lr`, `momentum`, `weight_decay`, ...)."""

    name: str = Field(
        description="Optimizer: a name of `dlw list optimizers`, or of a class of torch.optim [default: the recipe's]."
    )
    decay_bias_and_norm: bool = Field(
        True, description="Apply weight decay to biases and to the parameters of norm layers too: true or false."
    )

    @property
    def lr(self) -> float:
        """The learning rate; there once the settings are completed."""
        return float(self.settings["lr"])


class ScheduleSettings(_OpenSettings):
    """Which schedule of the learning rate, and its settings (`step_size`, `gamma`, `min_lr`, ...)."""

    name: str = Field(description="Schedule of the learning rate: a name of `dlw list schedules` [default: constant].")
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        le=1e6,
        allow_inf_nan=False,
        description="Epochs, or a fraction of one, in which the learning rate rises in a straight line at first.",
    )


class EarlyStoppingSettings(_Settings):
    """End training when `patience` epochs went by without a loss lower by more than `min_delta`."""

    patience: int = Field(
        ge=1,
        le=MOST,
        description="Early stopping: end training after N epochs without a lower validation loss (test loss where "
        "nothing is held out) [default: no early stopping].",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        le=1e30,
        allow_inf_nan=False,
        description="Early stopping: a loss counts as lower when it falls by more than this.",
    )


def _checked_loss(given: Any) -> Any:
    """Take a name, or a mapping with a name and settings; without settings it is the name alone."""
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str | None):
        raise ValueError("must be a name or a mapping of settings")
    return dict(given) if len(given) > 1 else given.get("name")


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


def _checked_trackers(given: Any) -> Any:
    """Take names, each alone or with settings, {name: settings}; return them as a list."""
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",")]
    steps = [{name: part} for name, part in given.items()] if isinstance(given, Mapping) else given or []
    found: Tree = {}
    for step in steps if isinstance(steps, list | tuple) else [None]:
        named = {step: None} if isinstance(step, str) else step
        if not isinstance(named, Mapping) or not all(
            isinstance(name, str) and name and isinstance(part, Mapping | None) for name, part in named.items()
        ):
            raise ValueError("must be names, as [tensorboard], or names with settings, as {mlflow: {log_model: true}}")
        found |= named
    return [{name: dict(part)} if part else name for name, part in found.items()] or None


def trackers_in(track: Any) -> dict[str, Tree]:
    """Return the settings of each tracker by its name; `track` is the setting of this name. Raises ValueError."""
    steps = _checked_trackers(track) or []
    return {name: part for step in steps for name, part in ({step: {}} if isinstance(step, str) else step).items()}


def _checked_blend(alpha: float) -> float:
    """Take a parameter of a beta distribution, or 0; of a smaller one no number can be drawn."""
    if alpha != 0 and not 0.001 <= alpha <= 1e6:
        raise ValueError("must be 0 or between 0.001 and 1,000,000")
    return alpha


Blend = Annotated[float, AfterValidator(_checked_blend)]


class TrainConfig(_Settings):
    """Everything that decides what one training run does; `to_tree` and a YAML file of it repeat the run."""

    recipe: str | None = Field(
        None,
        description="Recipe, the settings to start from: notes (the course's), or best where `dlw models` lists it "
        "[default: the one that works on such data; notes beside a file or Python settings that set how to train].",
    )
    model: ModelSettings
    data: DataSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings = Field(default_factory=lambda: ScheduleSettings(name="constant", warmup_epochs=0.0))
    loss: Annotated[Any, BeforeValidator(_checked_loss)] = Field(
        None,
        description="Training loss: a name of `dlw list losses`, or a mapping as {name: huber, delta: 0.5} [default: "
        "cross entropy for classes, l1 for numbers].",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Label smoothing of the training loss: at least 0 and below 1."
    )
    loss_weights: Annotated[Any, BeforeValidator(_checked_weights)] = Field(
        None,
        description="Class weights of the training loss: balanced, or a mapping as {pizza: 2.0} [default: all equal].",
    )
    epochs: int = Field(
        5, ge=0, le=MOST, description="Epochs: passes over the training data; 0 evaluates the untrained model."
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Seed of initial weights, shuffling, augmentation and dropout.")
    reseed: bool = Field(
        True,
        description="Set the seed again right before the training loop: true, or false to go on drawing where the "
        "initial weights ended.",
    )
    device: str = Field(
        "auto", description="Device: auto, cpu, cuda, cuda:N or mps; auto takes a GPU where there is one."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="CPU threads: a number, or auto, which is 1 for models without convolutions."
    )
    averaging: Literal["sample", "batch"] = Field(
        "sample",
        description="Losses and accuracies of an epoch as means over samples (sample), or over batches (batch) as the "
        "course computes them.",
    )
    metrics: list[str] | None = Field(
        None,
        description="Metrics of the held-out splits in each epoch, such as [f1_macro]: those of the confusion matrix "
        "[default: none].",
    )
    init_from: str | None = Field(
        None, description="Start from the weights of a run or a file, where names and shapes match [default: none]."
    )
    weights: str | None = Field(
        None,
        description="Pretrained weights of a backbone: default, a published name, or a file [default: none, "
        "random weights].",
    )
    freeze: Literal["none", "backbone"] = Field(
        "none", description="backbone trains the classifier alone, on features of the frozen backbone."
    )
    freeze_epochs: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Epochs with a frozen backbone; it is trained after them [default: all epochs].",
    )
    backbone_lr_scale: float = Field(
        1.0,
        gt=0,
        le=1e30,
        allow_inf_nan=False,
        description="Learning rate of the backbone as a multiple of the classifier's.",
    )
    cache_features: bool = Field(
        True, description="Compute the features of a frozen backbone once, where the images do not change."
    )
    early_stopping: EarlyStoppingSettings | None = None
    accumulate: int = Field(1, ge=1, le=MOST, description="Batches whose gradients are accumulated for one update.")
    clip_norm: float | None = Field(
        None,
        gt=0,
        le=1e30,
        allow_inf_nan=False,
        description="Upper bound of the norm of all gradients [default: none].",
    )
    clip_value: float | None = Field(
        None,
        gt=0,
        le=1e30,
        allow_inf_nan=False,
        description="Upper bound of the absolute value of each gradient [default: none].",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, which is then scored and saved, as 0.99 "
        "[default: none].",
    )
    mixup: Blend = Field(0.0, description="Mixup: parameter alpha of its beta distribution; 0 turns it off.")
    cutmix: Blend = Field(0.0, description="CutMix: parameter alpha of its beta distribution; 0 turns it off.")
    precision: Literal["fp32", "bf16", "fp16", "auto"] = Field(
        "fp32",
        description="Mixed precision for the training forward pass: fp32 (off), bf16, fp16 or auto, which is bf16 for "
        "convolutions on a CPU with instructions for it, else fp32.",
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto",
        description="Memory format channels last, in which convolutions are faster and sums differ in the last digits: "
        "true, false or auto, which is true on a CPU for convolutions over colour images of 28x28 pixels or more.",
    )
    compile: bool = Field(False, description="Compile the model with torch.compile: slow to start, faster per epoch.")
    track: Annotated[Any, BeforeValidator(_checked_trackers)] = Field(
        None,
        description="Trackers that get the curves and results: tensorboard, mlflow, wandb or your own, with settings "
        "as {mlflow: {log_model: true}}; --track may be repeated [default: none].",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_validation_split(cls, values: Any) -> Any:
        """Let `data.val_seed: seed` stand for the number of the run's seed: each seed then chooses by other samples."""
        dataset = values.get("data") if isinstance(values, Mapping) else None
        if not isinstance(dataset, Mapping) or dataset.get("val_seed") != "seed":
            return values
        seed, usual = values.get("seed"), cls.model_fields["seed"].default
        return {**values, "data": {**dataset, "val_seed": seed if isinstance(seed, int) else usual}}

    @property
    def trackers(self) -> dict[str, Tree]:
        """The settings of each tracker by its name."""
        return trackers_in(self.track)

    def to_tree(self) -> Tree:
        """Return the settings as plain nested dictionaries, in the order of the classes."""
        return self.model_dump(mode="json")

    @classmethod
    def default_of(cls, name: str) -> Any:
        """Return the default of a setting or of a section."""
        return cls.model_fields[name].get_default(call_default_factory=True)

    def to_yaml(self) -> str:
        """Return the settings as a YAML file that `read_file` takes back."""
        import yaml

        return yaml.safe_dump(self.to_tree(), sort_keys=False, allow_unicode=True)


class SweepSettings(_Settings):
    """Which runs a sweep trains from one base of settings, and how: the section `sweep` of its file.

    `grid` is {dotted key: list of values, or a range such as `1e-4..1e-1`}; `random` tries that many combinations
    instead of all. `variants` is {name: settings}: each is tried, with every combination of the grid. `by` names the
    metric that ranks them, `at` each run's best epoch or its last. Budgets hold for one call.
    """

    grid: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of settings: {key: list, or a range as 1e-4..1e-1}; every combination is a run.",
    )
    variants: dict[str, dict[str, Any] | None] = Field(
        default_factory=dict, description="Named settings, {name: settings}; each is tried with the whole grid."
    )
    random: int | None = Field(
        None, ge=1, le=MOST, description="Try N combinations drawn at random [default: all combinations]."
    )
    sampler: Literal["random", "tpe"] = Field(
        "random", description="How combinations are drawn: random, or tpe, which searches with Optuna and prunes runs."
    )
    sampling_seed: int = Field(0, ge=0, lt=2**32, description="Seed of the drawn combinations.")
    seeds: int = Field(1, ge=1, le=MOST, description="Runs of each combination, each with a seed of its own.")
    by: str | None = Field(
        None, description="Metric to rank by, as test_acc or val_loss [default: validation loss, else test loss]."
    )
    at: Literal["best", "last"] = Field("best", description="Epoch of each run that is ranked: its best, or its last.")
    vectorize: bool | None = Field(
        None, description="Train tiny full-batch models together in one process [default: where the runs allow it]."
    )
    jobs: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="Runs at the same time: a number, or auto, one per core with 1 GiB of free memory each."
    )
    max_runs: int | None = Field(None, ge=1, le=MOST, description="Train at most N runs now [default: all].")
    max_minutes: float | None = Field(
        None,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Start no further run after N minutes [default: no limit].",
    )
