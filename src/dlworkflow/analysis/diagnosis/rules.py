"""What curves mean: rules from numbers to a verdict, each with the changes that may improve the run.

A rule is a function of `Curves` that returns why its verdict holds, as a sentence with numbers, or "" where it does not
hold; `rule` gives it the verdict and the suggestions. Knows no run, no model and no data set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from dlworkflow.analysis.diagnosis.curves import FEWEST_EPOCHS, Curves
from dlworkflow.analysis.diagnosis.suggestions import Suggestion
from dlworkflow.registry import Registry

FEW_EPOCHS = 10  # with fewer, curves that still fall fast have not shown where they end
FALLING = 0.02  # a loss that is lower by this fraction than it was a window ago still falls
FALLING_FAST = 0.1
EXPLODED = 2.0  # a training loss that ends this many times above its start has diverged
ZIGZAG = 0.1  # ups and downs from epoch to epoch of this fraction of the loss of knowing nothing are unstable
GAP = 0.1  # training accuracy this far above that on held-out data is overfitting
BY_CHANCE = 0.05  # unless chance alone makes such a gap this often
LOSS_GAP = 0.15  # so is a held-out loss this far above its lowest (of a regression: above the training loss)
LEARNT_ACC = 0.85  # a model has learned its training data when this fraction of its baseline's errors is gone
LEARNT_LOSS = 0.95  # a regression has when this fraction of its baseline's loss is gone
NOISE = 0.02  # accuracies this near to the baseline (or twice their scatter, at most GAP) are no better than it


@dataclass(frozen=True)
class Rule:
    """A verdict, the function of the curves that says why it holds, and what to try then."""

    verdict: str
    reason: Callable[[Curves], str]
    suggestions: tuple[Suggestion, ...] = ()

    def __call__(self, curves: Curves) -> str:
        """Return why the verdict holds; "" where it does not."""
        return self.reason(curves)

    @property
    def about(self) -> str:
        """One line of help: the verdict and when it is given."""
        return f"{self.verdict.replace('_', ' ')}: {(self.reason.__doc__ or '').partition(chr(10))[0].rstrip('.')}"


def rule(verdict: str, *suggestions: Suggestion) -> Callable[[Callable[[Curves], str]], Rule]:
    """Make a rule of a function of the curves: its verdict, and what to try then, most promising first."""
    return lambda reason: Rule(verdict, reason, suggestions)


_LONGER = Suggestion("train longer", ("epochs*4",))
_LONG_ENOUGH = Suggestion("train until the curves have a shape", (f"epochs>={2 * FEW_EPOCHS}",))
_SLOWER = Suggestion("smaller steps: a tenth of the learning rate", ("optimizer.lr/10",))
_FASTER = Suggestion("larger steps: three times the learning rate", ("optimizer.lr*3",))
_LR_FIND = Suggestion("a learning rate that suits: a short test, which prints one to give as --lr", way="lr_find")
_ADAM = Suggestion(
    "Adam, an optimizer that scales its own steps",
    ("optimizer.name=adam",),
    anyhow="Adam, an optimizer that scales its own steps, if it is not in use",
)
_CLIP = Suggestion("no step out of proportion: clip gradients to length 1", ("clip_norm?=1.0",))
_WARM_UP = Suggestion(
    "small steps at first: the learning rate grows in the first epoch", ("schedule.warmup_epochs?=1.0",)
)
_LARGER_BATCHES = Suggestion(
    "steadier steps: batches four times as large",
    ("data.batch_size*4",),
    anyhow="steadier steps: larger batches, if one is not all samples",
)
_DECAYING = Suggestion("smaller and smaller steps: the learning rate falls along a cosine", ("schedule.name=cosine",))
_FULL_PRECISION = Suggestion("full precision: numbers of half precision overflow sooner", ('precision="fp32"',))
_NONLINEAR = Suggestion(
    "a model that is not linear: this one can only cut straight",
    ("model.name=nonlinear",),
    decisive=True,
)
_RELU = Suggestion(
    "ReLUs between the layers: without them the model can only cut straight",
    ("model.relu=true",),
    decisive=True,
    anyhow="ReLUs between the layers, if there are none: without them a model can only cut straight",
)
_UNSATURATED = Suggestion("ReLU for an activation: this one lets little gradient through", ('model.activation="relu"',))
_CONVOLUTIONS = Suggestion("a model with convolutions, made for images", ("model.name=convolutional",))
_WIDER = Suggestion(
    "a larger model: twice the hidden units",
    ("model.hidden_units*2",),
    anyhow="a larger model: more hidden units or layers",
)
_DEEPER = Suggestion("a larger model: one layer or block more", ("model.hidden_layers+1", "model.blocks+1"))
_BATCH_NORM = Suggestion("batch norm: layers that learn faster and more evenly", ("model.batch_norm=true",))
_WEIGHED = Suggestion(
    "the classes are of unequal size: let each count the same in the loss",
    ('loss_weights="balanced"',),
    anyhow="class weights in the loss, if the classes are of unequal size",
)
_DRAWN = Suggestion("the classes are of unequal size: draw from each as often", ('data.sampler="balanced"',))
_BEST_RECIPE = Suggestion("the settings that a search found for this model, instead of the course's", way="recipe")
_TRANSFER = Suggestion(
    "transfer learning: a network already trained on a million photos, only its last layer new",
    way="pretrained",
    anyhow="transfer learning, if the data are photos: a network already trained on a million of them",
)
_THAW = Suggestion(
    "let the pretrained layers learn too, slowly and after the first epochs",
    ("freeze_epochs?=2",),
    also=("backbone_lr_scale=0.1",),
)
_LESS_REGULARIZATION = Suggestion(
    "no regularization: see whether the model can learn its training data at all",
    (
        *("optimizer.weight_decay=0", "model.dropout=0", "data.transform=plain"),
        *("label_smoothing=0.0", "mixup=0.0", "cutmix=0.0"),
    ),
    anyhow="no regularization, if there is any: see whether the model can learn its training data at all",
)
_STRONGER = (_NONLINEAR, _RELU, _CONVOLUTIONS)
_ONE_ANSWER = (_NONLINEAR, _RELU, _WEIGHED, _DRAWN, _UNSATURATED)
_KNOWN_TO_WORK = (_BEST_RECIPE, _TRANSFER)
_OVERFITTING = (
    Suggestion("more data", ("data.n_samples*4",)),
    Suggestion(
        "augmentation: other images of the same things in every epoch",
        ("data.transform=trivial_augment",),
        anyhow="augmentation, if the data are images: others of the same things in every epoch",
    ),
    _BEST_RECIPE,
    _TRANSFER,
    Suggestion(
        "dropout: a random part of the model is left out in each step", ("model.dropout=0.3",), anyhow="dropout"
    ),
    Suggestion("more dropout", ("model.dropout=+0.7",)),
    Suggestion(
        "early stopping: end when the loss on a part held back from the training data no longer falls",
        ("early_stopping=patience",),
        also=("data.val_fraction?=0.2",),
    ),
    Suggestion("weight decay: keep the weights small", ("optimizer.weight_decay=0.001",)),
    Suggestion("a smaller model: half the hidden units", ("model.hidden_units/2",), anyhow="a smaller model"),
    Suggestion("label smoothing: the model need not be so sure", ("label_smoothing?=0.1",)),
    Suggestion("mixup: train on blends of two samples", ("mixup?=0.2",)),
    Suggestion("cutmix: train on images with a piece of another", ("cutmix?=1.0",)),
    _DECAYING,
)


@rule("diverged", _FULL_PRECISION, _SLOWER, _LR_FIND, _CLIP, _ADAM, _WARM_UP)
def diverged(c: Curves) -> str:
    """Numbers that are nan or infinite, or a training loss far above its start."""
    if c.flaw or not c.train_loss > EXPLODED * c.train[0]:
        return c.flaw
    return f"the training loss ended at {c.train_loss:.5g}, far above its start of {c.train[0]:.5g}"


@rule("too_short", _LONG_ENOUGH)
def no_trend(c: Curves) -> str:
    """Fewer than three epochs."""
    return f"fewer than {FEWEST_EPOCHS} epochs show no trend" if c.epochs < FEWEST_EPOCHS else ""


@rule("collapsed", *_ONE_ANSWER, _LONGER, _LR_FIND, _BATCH_NORM, *_KNOWN_TO_WORK, _FASTER)
def collapsed_and_creeping(c: Curves) -> str:
    """One answer for every sample, and a training loss that fell in every epoch of the later half."""
    creeps = all(after < before for before, after in pairwise(c.train[c.epochs // 2 :]))
    return _and(_one_answer(c), "; the training loss creeps down without a step back", creeps)


@rule("collapsed", *_ONE_ANSWER, _SLOWER, _LR_FIND, _BATCH_NORM, *_KNOWN_TO_WORK, _ADAM, _CLIP)
def collapsed_and_rising(c: Curves) -> str:
    """One answer for every sample, and a training loss higher than after the first epoch."""
    rose = c.train_loss > 1.001 * c.train[0]
    return _and(_one_answer(c), "; the training loss is higher than after the first epoch", rose)


@rule("collapsed", *_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM, _LONGER, _WIDER, _SLOWER, _LESS_REGULARIZATION)
def collapsed(c: Curves) -> str:
    """One answer for every sample."""
    return _one_answer(c)


@rule("unstable", _SLOWER, _LARGER_BATCHES, _DECAYING, _LR_FIND, _CLIP, _WARM_UP)
def unstable(c: Curves) -> str:
    """Losses that jump up and down."""
    jumps = f"the losses jump up and down from epoch to epoch by {100 * c.zigzag:.0f} % of the loss of knowing nothing"
    return jumps if c.zigzag >= ZIGZAG else ""


@rule(
    "underfitting",
    *(_LONGER, *_STRONGER, *_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM),
    *(_LR_FIND, _LESS_REGULARIZATION, _SLOWER, _WIDER),
)
def not_better_yet(c: Curves) -> str:
    """No better than the baseline, and the training loss still falls or there are few epochs."""
    hopeful = _learning(c) or c.epochs < FEW_EPOCHS
    return f"no better than the baseline after {c.epochs} epochs" if hopeful and _no_better(c) else ""


@rule(
    "underfitting",
    *(*_STRONGER, *_ONE_ANSWER, *_KNOWN_TO_WORK, _BATCH_NORM),
    *(_LR_FIND, _SLOWER, _LESS_REGULARIZATION, _WIDER, _DEEPER),
)
def no_better(c: Curves) -> str:
    """No better than the baseline."""
    return "no better than the baseline, and the losses no longer fall" if _no_better(c) else ""


@rule("overfitting", *_OVERFITTING)
def overfitting(c: Curves) -> str:
    """Training data that improves while held-out data does not."""
    wide = c.has_acc and c.train_acc - c.held_acc >= GAP and (c.gap_by_chance or 0.0) < BY_CHANCE
    rising = c.rise >= LOSS_GAP and c.train_loss < c.train[c.best_epoch - 1]
    apart = not c.has_acc and c.loss_gap >= LOSS_GAP and not (_learning(c) and c.held_trend < -FALLING)
    better = f"the model does much better on its training data than on the {c.split} data"
    return better if wide or rising or apart else ""


@rule("too_short", _LONGER)
def still_falling_fast(c: Curves) -> str:
    """Few epochs, and both losses still fall fast."""
    fast = max(c.train_trend, c.held_trend) < -FALLING_FAST
    open_end = f"after {c.epochs} epochs both losses still fall fast; where they end cannot be predicted"
    return open_end if c.epochs < FEW_EPOCHS and fast else ""


@rule(
    "underfitting",
    *(_LONGER, *_STRONGER, *_KNOWN_TO_WORK, _THAW, _BATCH_NORM),
    *(_LESS_REGULARIZATION, _LR_FIND, _FASTER, _WIDER, _DEEPER),
)
def ended_early(c: Curves) -> str:
    """High training loss that still falls."""
    high = "the training loss is high and still falls: training ended too early"
    return high if _learning(c) and not _has_learned(c) else ""


@rule(
    "underfitting",
    *(*_STRONGER, *_KNOWN_TO_WORK, _THAW, _WIDER, _BATCH_NORM, _DEEPER),
    *(_LESS_REGULARIZATION, _LR_FIND, _DECAYING, _SLOWER),
)
def stopped_high(c: Curves) -> str:
    """High training loss that no longer falls."""
    return "" if _has_learned(c) else "both losses stopped falling while they were high"


@rule("good_fit", _LONGER)
def good_and_improving(c: Curves) -> str:
    """Training and held-out data agree, and both still improve."""
    both = max(c.train_trend, c.held_trend) < -FALLING
    return f"training and {c.split} agree, and both still improve" if both else ""


@rule("good_fit")
def good(c: Curves) -> str:
    """Training and held-out data agree."""
    return f"training and {c.split} agree at a good level"


# The first rule that holds gives the verdict. The order goes from what makes all other numbers meaningless to what
# they mean: numbers that are none; too few of them; one answer for everything (its curves look like any underfitting,
# its cause is another); curves that jump, of which no level can be read; then no better than guessing, before the gap,
# since a gap of a few points means nothing there; then the gap, before the level, since a model that overfits has
# learned its training data; then curves that still fall; then those that stopped too high; what is left is good.
RULES: Registry[Rule] = Registry(
    "rule",
    {
        each.reason.__name__: each
        for each in (
            *(diverged, no_trend, collapsed_and_creeping, collapsed_and_rising, collapsed, unstable),
            *(not_better_yet, no_better, overfitting, still_falling_fast, ended_early, stopped_high),
            *(good_and_improving, good),
        )
    },
    "rules",
    section="",
    supplied=("curves",),
)
"""All rules. `RULES.register(name, rule)` adds yours, as does the entry-point group `dlworkflow.rules` of another
package; those are asked first, of curves without nan.
"""


def _one_answer(c: Curves) -> str:
    """Return that the model answers one class: it is known to, or scores exactly so epoch after epoch; or nothing."""
    if c.collapsed_to is not None:
        return f"the model answers {c.collapsed_to!r} for every {c.split} sample"
    if c.baseline is None or c.baseline >= 1 or len(c.recent_accs) < FEWEST_EPOCHS:
        return ""
    if not all(math.isclose(acc, c.baseline, abs_tol=1e-6) for acc in c.recent_accs):
        return ""
    return f"the {c.split} accuracy is exactly that of one answer for everything, epoch after epoch"


def _and(reason: str, more: str, holds: bool) -> str:
    return reason + more if reason and holds else ""


def _learning(c: Curves) -> bool:
    return c.train_trend < -FALLING


def _no_better(c: Curves) -> bool:
    """Return whether the model is no better than its baseline, neither on held-out data nor on its own."""
    if c.baseline is None:
        return False
    if not c.has_acc:
        return c.held_loss >= 0.95 * c.baseline and c.train_loss >= 0.5 * c.baseline
    noise = min(max(NOISE, 2 * c.scatter), GAP)
    return c.held_acc <= c.baseline + noise and c.train_acc <= c.baseline + noise + GAP


def _has_learned(c: Curves) -> bool:
    return c.train_skill >= (LEARNT_ACC if c.has_acc else LEARNT_LOSS)
