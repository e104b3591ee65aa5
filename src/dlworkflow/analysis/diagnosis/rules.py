"""What curves mean: rules from numbers to a verdict, and which changes might mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dlworkflow.analysis.diagnosis.curves import FEW_EPOCHS, FEWEST_EPOCHS, ZIGZAG, Curves, History, measure
from dlworkflow.analysis.diagnosis.evidence import evidence_of, sentence

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Cure:
    """Something to try: why, and what.

    A `change` is of settings, of which at least one must change and those of `also` may. A setting is `key=value`,
    `key?=value` (where it is not set), `key*factor`, `key/divisor`, `key+more`, or a bound that it is brought to:
    `key>=value`, `key<=value`. The other ways are a search for the rate, the model's recipe `best`, and a pretrained
    network. After a `decisive` cure that fits the run no other is worth the time.
    """

    why: str
    settings: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    way: Literal["change", "lr_find", "recipe", "pretrained"] = "change"
    decisive: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What the curves say: a verdict of `VERDICTS`, the evidence in sentences with numbers, and what to try."""

    verdict: str
    evidence: tuple[str, ...]
    cures: tuple[Cure, ...]


@dataclass(frozen=True)
class Rule:
    """A verdict, when it is given, its first sentence (a template over the curves `c`), and its cures."""

    verdict: str
    when: Callable[[Curves], bool]
    says: str
    cures: tuple[Cure, ...] = ()


_LONGER = Cure("train longer", ("epochs*4",))
_LONG_ENOUGH = Cure("train until the curves have a shape", (f"epochs>={2 * FEW_EPOCHS}",))
_SLOWER = Cure("smaller steps: a tenth of the learning rate", ("optimizer.lr/10",))
_FASTER = Cure("larger steps: three times the learning rate", ("optimizer.lr*3",))
_LR_FIND = Cure("a learning rate that suits: a short test, which prints one to give as --lr", way="lr_find")
_ADAM = Cure("Adam, an optimizer that scales its own steps", ("optimizer.name=adam",))
_CLIP = Cure("no step out of proportion: clip gradients to length 1", ("clip_norm?=1.0",))
_WARM_UP = Cure("small steps at first: the learning rate grows in the first epoch", ("schedule.warmup_epochs?=1.0",))
_LARGER_BATCHES = Cure("steadier steps: batches four times as large", ("data.batch_size*4",))
_DECAYING = Cure("smaller and smaller steps: the learning rate falls along a cosine", ("schedule.name=cosine",))
_FULL_PRECISION = Cure("full precision: numbers of half precision overflow sooner", ('precision="fp32"',))
_NONLINEAR = Cure(
    "a model that is not linear: this one can only cut straight", ("model.name=nonlinear",), decisive=True
)
_RELU = Cure(
    "ReLUs between the layers: without them the model can only cut straight", ("model.relu=true",), decisive=True
)
_UNSATURATED = Cure("ReLU for an activation: this one lets little gradient through", ('model.activation="relu"',))
_CONVOLUTIONS = Cure("a model with convolutions, made for pictures", ("model.name=convolutional",))
_WIDER = Cure("a larger model: twice the hidden units", ("model.hidden_units*2",))
_DEEPER = Cure("a larger model: one layer or block more", ("model.hidden_layers+1", "model.blocks+1"))
_BATCH_NORM = Cure("batch norm: layers that learn faster and more evenly", ("model.batch_norm=true",))
_WEIGHED = Cure("the classes are of unequal size: let each count the same in the loss", ('loss_weights="balanced"',))
_DRAWN = Cure("the classes are of unequal size: draw from each as often", ('data.sampler="balanced"',))
_BEST_RECIPE = Cure("the settings that a search found for this model, instead of the course's", way="recipe")
_TRANSFER = Cure(
    "transfer learning: a network already trained on a million photos, only its last layer new", way="pretrained"
)
_THAW = Cure(
    "let the pretrained layers learn too, slowly and after the first epochs",
    ("freeze_epochs?=2",),
    also=("backbone_lr_scale=0.1",),
)
_LESS_REGULARISATION = Cure(
    "no regularisation: see whether the model can learn its training data at all",
    (
        "optimizer.weight_decay=0",
        "model.dropout=0",
        "data.transform=plain",
        "label_smoothing=0.0",
        "mixup=0.0",
        "cutmix=0.0",
    ),
)
_STRONGER = (_NONLINEAR, _RELU, _CONVOLUTIONS)
_ONE_ANSWER = (_NONLINEAR, _RELU, _WEIGHED, _DRAWN, _UNSATURATED)
_KNOWN_TO_WORK = (_BEST_RECIPE, _TRANSFER)
_OVERFITTING = (
    Cure("more data", ("data.n_samples*4",)),
    Cure("augmentation: other pictures of the same things in every epoch", ("data.transform=trivial_augment",)),
    _BEST_RECIPE,
    _TRANSFER,
    Cure("dropout: a random part of the model is left out in each step", ("model.dropout=0.3",)),
    Cure("more dropout", ("model.dropout=+0.7",)),
    Cure(
        "early stopping: end when the loss on a part held back from the training data no longer falls",
        ("early_stopping=patience",),
        also=("data.val_fraction?=0.2",),
    ),
    Cure("weight decay: keep the weights small", ("optimizer.weight_decay=0.001",)),
    Cure("a smaller model: half the hidden units", ("model.hidden_units/2",)),
    Cure("label smoothing: the model need not be so sure", ("label_smoothing?=0.1",)),
    Cure("mixup: train on blends of two samples", ("mixup?=0.2",)),
    Cure("cutmix: train on pictures with a piece of another", ("cutmix?=1.0",)),
    _DECAYING,
)

# The first rule that holds gives the verdict. The order goes from what makes all other numbers meaningless to what
# they mean: numbers that are none; too few of them; one answer for everything (its curves look like any underfitting,
# its cause is another); curves that jump, of which no level can be read; then no better than guessing, before the gap,
# since a gap of a few points means nothing there; then the gap, before the level, since a model that overfits has
# learnt its training data; then curves on their way; then those that stopped too high; what is left is good.
RULES: tuple[Rule, ...] = (
    Rule(
        "diverged",
        lambda c: bool(c.disaster),
        "{c.disaster}",
        (_FULL_PRECISION, _SLOWER, _LR_FIND, _CLIP, _ADAM, _WARM_UP),
    ),
    Rule(
        "too_short",
        lambda c: c.epochs < FEWEST_EPOCHS,
        f"fewer than {FEWEST_EPOCHS} epochs show no trend",
        (_LONG_ENOUGH,),
    ),
    Rule(
        "collapsed",
        lambda c: bool(c.one_answer) and c.creeps,
        "{c.one_answer}; the training loss creeps down without a step back",
        (*_ONE_ANSWER, _LONGER, _LR_FIND, _BATCH_NORM, *_KNOWN_TO_WORK, _FASTER),
    ),
    Rule(
        "collapsed",
        lambda c: bool(c.one_answer) and c.rose,
        "{c.one_answer}; the training loss is higher than after the first epoch",
        (*_ONE_ANSWER, _SLOWER, _LR_FIND, _BATCH_NORM, *_KNOWN_TO_WORK, _ADAM, _CLIP),
    ),
    Rule(
        "collapsed",
        lambda c: bool(c.one_answer),
        "{c.one_answer}",
        (*_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM, _LONGER, _WIDER, _SLOWER, _LESS_REGULARISATION),
    ),
    Rule(
        "unstable",
        lambda c: c.zigzag >= ZIGZAG,
        "the losses jump up and down from epoch to epoch by {c.zigzag:.0%} of the loss of knowing nothing",
        (_SLOWER, _LARGER_BATCHES, _DECAYING, _LR_FIND, _CLIP, _WARM_UP),
    ),
    Rule(
        "underfitting",
        lambda c: c.no_better and (c.learning or c.epochs < FEW_EPOCHS),
        "no better than the baseline after {c.epochs} epochs",
        (
            *(_LONGER, *_STRONGER, *_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM),
            *(_LR_FIND, _LESS_REGULARISATION, _SLOWER, _WIDER),
        ),
    ),
    Rule(
        "underfitting",
        lambda c: c.no_better,
        "no better than the baseline, and the losses no longer fall",
        (
            *(*_STRONGER, *_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM),
            *(_LR_FIND, _SLOWER, _LESS_REGULARISATION, _WIDER, _DEEPER),
        ),
    ),
    Rule(
        "overfitting",
        lambda c: c.overfits,
        "the model does much better on its training data than on the {c.split} data",
        _OVERFITTING,
    ),
    Rule(
        "too_short",
        lambda c: c.epochs < FEW_EPOCHS and c.falling_fast,
        "after {c.epochs} epochs both losses still fall fast; where they end cannot be told",
        (_LONGER,),
    ),
    Rule(
        "underfitting",
        lambda c: not c.learnt and c.learning,
        "the training loss is high and still falls: training ended too early",
        (
            *(_LONGER, *_STRONGER, *_KNOWN_TO_WORK, _THAW, _BATCH_NORM),
            *(_LESS_REGULARISATION, _LR_FIND, _FASTER, _WIDER, _DEEPER),
        ),
    ),
    Rule(
        "underfitting",
        lambda c: not c.learnt,
        "both losses stopped falling while they were high",
        (
            *(*_STRONGER, *_KNOWN_TO_WORK, _THAW, _WIDER, _BATCH_NORM, _DEEPER),
            *(_LESS_REGULARISATION, _LR_FIND, _DECAYING, _SLOWER),
        ),
    ),
    Rule("good_fit", lambda c: c.falling, "training and {c.split} agree, and both still get better", (_LONGER,)),
    Rule("good_fit", lambda _: True, "training and {c.split} agree at a good level"),
)
VERDICTS = tuple(dict.fromkeys(rule.verdict for rule in RULES))


def diagnose(
    history: History,
    *,
    baseline_acc: float | None = None,
    baseline_loss: float | None = None,
    collapsed_to: str | None = None,
) -> Diagnosis:
    """Say what the curves of a run mean.

    `history` is `Run.history()` (a row an epoch) or what `train` returns (a list a column): train_loss, test_loss
    and, but for a regression, train_acc and test_acc in [0, 1]; val_* where there are any. The baselines are what
    answering without looking scores on the unseen data; `collapsed_to` is the class that the model answers for
    everything, where that is known. Raises DlwError for an empty history or one that lacks a column.
    """
    curves = measure(history, baseline_acc=baseline_acc, baseline_loss=baseline_loss, collapsed_to=collapsed_to)
    rule = next(rule for rule in RULES if rule.when(curves))
    return Diagnosis(rule.verdict, (sentence(rule.says.format(c=curves)), *evidence_of(curves)), rule.cures)
