"""Settings that are valid alone and contradict each other, found before any data is read.

Knows settings only, key against key; what contradicts a model, an optimizer or the data is found where these are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dlworkflow.config import DataSettings, TrainConfig, Tree

_NOTHING_CUT_OFF = "nothing is cut off with it; give a --val-fraction, or leave it out"

Finding = tuple[str, tuple[str, ...], str]
"""The setting to blame, the others that it is about, and a sentence."""


def contradictions(config: TrainConfig, values: Tree, wrong: Collection[str]) -> dict[str, str]:
    """Return what contradicts itself in settings, {dotted key: sentence}; `values` are they as the user wrote them.

    Nothing is derived from those that are `wrong` by themselves.
    """
    found: dict[str, str] = {}
    dataset = values.get("data")
    if config.data.val_fraction is None and isinstance(dataset, dict) and dataset.get("val_seed") == "seed":
        found["data.val_seed"] = _NOTHING_CUT_OFF
    for check in (_optimizer, _warmup, _label_smoothing, _early_stopping, _batches, _folds):
        for key, others, sentence in check(config):
            if not {key, *others} & set(wrong):
                found.setdefault(key, sentence)
    return found


def _optimizer(config: TrainConfig) -> Iterator[Finding]:
    optimizer = config.optimizer
    if not optimizer.decay_bias_and_norm and not optimizer.settings.get("weight_decay"):
        yield (
            "optimizer.decay_bias_and_norm",
            ("optimizer.weight_decay",),
            "there is no weight decay to spare them; set optimizer.weight_decay, for example to 1e-4",
        )


def _warmup(config: TrainConfig) -> Iterator[Finding]:
    warmup, epochs = config.schedule.warmup_epochs, config.epochs
    if 0 < epochs <= warmup:
        yield (
            "schedule.warmup_epochs",
            ("epochs",),
            f"a warm-up of {warmup:g} of {epochs} epochs leaves none at the full learning rate; give fewer, or more "
            "--epochs",
        )


def _label_smoothing(config: TrainConfig) -> Iterator[Finding]:
    if config.label_smoothing and isinstance(config.loss, dict) and config.loss.get("label_smoothing") is not None:
        yield "loss.label_smoothing", ("label_smoothing",), "is the same as label_smoothing; leave one out"


def _early_stopping(config: TrainConfig) -> Iterator[Finding]:
    stopping, epochs = config.early_stopping, config.epochs
    if stopping is not None and 0 < epochs <= stopping.patience:
        yield (
            "early_stopping.patience",
            ("epochs",),
            f"{stopping.patience} epochs without improvement cannot go by in {epochs}; give fewer, or more --epochs",
        )


def _batches(config: TrainConfig) -> Iterator[Finding]:
    if config.accumulate > 1 and config.data.batch_size == "full":
        yield (
            "accumulate",
            ("data.batch_size",),
            "a full batch is all samples already; give a --batch-size, or leave it out",
        )
    if config.data.val_fraction is None and config.data.val_seed != DataSettings.model_fields["val_seed"].default:
        yield (
            "data.val_seed",
            ("data.val_fraction",),
            _NOTHING_CUT_OFF,
        )
    if config.data.sampler is not None and not config.data.shuffle:
        yield (
            "data.sampler",
            ("data.shuffle",),
            "draws at random, and data.shuffle is false; set data.shuffle=true as well, or leave it out",
        )


def _folds(config: TrainConfig) -> Iterator[Finding]:
    folds, fold = config.data.folds, config.data.fold
    if folds is not None and fold is None:
        yield "data.folds", ("data.fold",), "one fold is held out; name it with data.fold=1, or train all: dlw crossval"
    elif fold is not None and folds is None:
        yield "data.fold", ("data.folds",), "is one of how many? set data.folds too, for example to 5"
    elif fold is not None and folds is not None and fold > folds:
        yield "data.fold", ("data.folds",), f"there are {folds} folds; give a number from 1 to {folds}"
    if folds is None and config.data.fold_seed != DataSettings.model_fields["fold_seed"].default:
        yield "data.fold_seed", ("data.folds",), "there are no folds; set data.folds and data.fold, or leave it out"
