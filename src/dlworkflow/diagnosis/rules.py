"""What curves mean: rules from numbers to a verdict, and which changes might mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlworkflow.diagnosis.curves import FEW_EPOCHS, FEWEST_EPOCHS, ZIGZAG, Curves, History, measure
from dlworkflow.diagnosis.evidence import evidence_of, sentence

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Cure:
    """Something to try: why, and the settings to change.

    A setting is `key=value`, `key*factor`, `key/divisor`, or a bound that it is brought to: `key>=value`,
    `key<=value`. `model.name` is given a kind of model (see `_OTHER_MODELS`). After a `decisive` cure that fits the
    run no other is worth the time.
    """

    why: str
    settings: tuple[str, ...]
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
_SLOWER = Cure("smaller steps", ("optimizer.lr/10",))
_FASTER = Cure("larger steps", ("optimizer.lr*10",))
_ADAM = Cure("an optimizer that scales its own steps", ("optimizer.name=adam",))
_NONLINEAR = Cure("a model that is not linear: this one can only cut straight", ("model.name=nonlinear",), True)
_RELU = Cure("ReLUs between the layers: without them the model can only cut straight", ("model.relu=true",), True)
_CONVOLUTIONS = Cure("a model with convolutions, made for pictures", ("model.name=convolutional",))
_WIDER = Cure("a larger model: twice the hidden units", ("model.hidden_units*2",))
_NO_DECAY = Cure("less regularisation: no weight decay", ("optimizer.weight_decay<=0",))
_LESS_DROPOUT = Cure("less regularisation: less dropout", ("model.dropout<=0.2",))
_NO_AUGMENTATION = Cure("less regularisation: pictures as they are", ("data.transform=none",))
_LESS_REGULARISATION = (_NO_DECAY, _LESS_DROPOUT, _NO_AUGMENTATION)
_STRONGER = (_NONLINEAR, _RELU, _CONVOLUTIONS, _WIDER)
_OVERFITTING = (
    Cure("more data", ("data.n_samples*4",)),
    Cure("augmentation: other pictures of the same things in every epoch", ("data.transform=trivial_augment",)),
    Cure("a model with dropout", ("model.name=dropout",)),
    Cure("more dropout", ("model.dropout>=0.7",)),
    Cure("weight decay", ("optimizer.weight_decay>=0.001",)),
    Cure("a smaller model: half the hidden units", ("model.hidden_units/2",)),
)

# The first rule that holds gives the verdict. The order goes from what makes all other numbers meaningless to what
# they mean: numbers that are none; too few of them; one answer for everything (its curves look like any underfitting,
# its cause is another); curves that jump, of which no level can be read; then no better than guessing, before the gap,
# since a gap of a few points means nothing there; then the gap, before the level, since a model that overfits has
# learnt its training data; then curves on their way; then those that stopped too high; what is left is good.
RULES: tuple[Rule, ...] = (
    Rule("diverged", lambda c: bool(c.disaster), "{c.disaster}", (_SLOWER, _ADAM)),
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
        (_NONLINEAR, _RELU, _LONGER, _FASTER, _WIDER),
    ),
    Rule(
        "collapsed",
        lambda c: bool(c.one_answer),
        "{c.one_answer}",
        (_NONLINEAR, _RELU, _LONGER, _WIDER, _SLOWER, *_LESS_REGULARISATION),
    ),
    Rule(
        "unstable",
        lambda c: c.zigzag >= ZIGZAG,
        "the losses jump up and down from epoch to epoch by {c.zigzag:.0%} of the loss of knowing nothing",
        (_SLOWER, Cure("steadier steps: larger batches", ("data.batch_size*4",))),
    ),
    Rule(
        "underfitting",
        lambda c: c.no_better and (c.learning or c.epochs < FEW_EPOCHS),
        "no better than the baseline after {c.epochs} epochs",
        (_LONGER, _NONLINEAR, _RELU, _CONVOLUTIONS, _SLOWER, _WIDER, *_LESS_REGULARISATION),
    ),
    Rule(
        "underfitting",
        lambda c: c.no_better,
        "no better than the baseline, and the losses no longer fall",
        (*_STRONGER, _SLOWER, *_LESS_REGULARISATION),
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
        (_LONGER, *_STRONGER, *_LESS_REGULARISATION),
    ),
    Rule(
        "underfitting",
        lambda c: not c.learnt,
        "both losses stopped falling while they were high",
        (*_STRONGER, _SLOWER, *_LESS_REGULARISATION),
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
