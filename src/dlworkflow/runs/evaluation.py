"""What `evaluation.json` holds, as one class. Knows no run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict

from dlworkflow.files.notebook import HEADLINE, Shown, named
from dlworkflow.runs.found import Found
from dlworkflow.runs.stored import Size


class Answered(TypedDict):
    """How many samples are not unsure by an option, such as `--max-error 5%`, and how many of these are right."""

    by: str
    count: Size
    right: Size
    accuracy_interval_95: list[float]


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary(Found, Shown):
    """What `dlw evaluate` found on one split; accuracies are fractions in [0, 1]."""

    file: ClassVar[str] = "evaluation"

    tta: str | None = None
    """Test-time augmentation: `flip`, or none."""
    data_changed: bool
    """Whether the split is not what the run was trained on."""
    skipped: Size
    """Unreadable images left out."""
    samples_fingerprint: str | None = None
    """Which samples were scored, whatever became of them before the model: `kind:digest`, comparable within a kind."""
    task: str
    samples: Size
    loss: float | None
    """None where it is not finite."""
    metrics: dict[str, Any]
    metric_settings: dict[str, Any] | None = None
    accuracy_interval_95: list[float] | None = None
    intervals_95: dict[str, list[float]] | None = None
    """The bootstrap's intervals of the loss and of other metrics, (low, high) each."""
    baseline: float | None = None
    baseline_answer: str | None = None
    baseline_metrics: dict[str, float | None] | None = None
    """What the baseline's answer scores, where samples have several labels or a number."""
    thresholds: dict[str, float] | None = None
    """The probability from which each class is predicted, where a sample may have several."""
    temperature: float | None = None
    """By which raw scores were divided before they became probabilities; None: not calibrated."""
    answered: Answered | None = None
    """What was answered where some answers are unsure."""
    boosting: float | None = None
    """Of a table, the score of scikit-learn's gradient boosting, of the metric of the baseline."""
    classes: list[dict[str, Any]]
    """Precision, recall, f1 and support of each class."""
    confusion_matrix: list[list[Size]] | None = None
    """Truth by row."""
    confused_pairs: list[dict[str, Any]]
    warnings: list[str]

    def __repr__(self) -> str:
        scores = named({"samples": self.samples, "loss": self.loss, **self.metrics}, HEADLINE)
        return f"EvaluationSummary({self.run!r}, {self.weights} weights, {self.split}: {scores})"

    def shown_rows(self) -> list[dict[str, Any]]:
        """Return what a notebook shows: the scores of each class, or the metrics of a regression."""
        return self.classes or [{"loss": self.loss, **self.metrics}]


@dataclass(frozen=True, kw_only=True)
class FoldsSummary(EvaluationSummary):
    """What `dlw crossval` found: the scores of all predictions together, a row for each fold, and means over these.

    Without folds where a version before these fields wrote it.
    """

    folds: list[dict[str, Any]] = field(default_factory=list)
    mean: dict[str, float | None] = field(default_factory=dict)
    deviation: dict[str, float | None] = field(default_factory=dict)
    """The sample standard deviation; not of one fold."""
