"""What a run answered for each sample when it was evaluated, as arrays; imports no torch. Knows no run folder.

`predictions.csv` is read against the evaluation it belongs to: another number of samples, other classes or another mean
loss are damage.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow.errors import RunError, first_line
from dlworkflow.files.paths import read_small_text
from dlworkflow.files.text import LABEL_SEPARATOR, csv_cell, shell_command, text_of_cell
from dlworkflow.runs.evaluation import EvaluationSummary
from dlworkflow.runs.stored import damaged

if TYPE_CHECKING:
    import numpy as np

_LOSSES_AGREE = 1e-6
"""Relative: a mean in another order differs in the last digits."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The stored answers of one run to n samples, in their order; `evaluation` is what was found of them.

    `truth` and `prediction` are class numbers (n,) int64, of a multilabel task (n, classes) bool, of a regression (n,)
    float64 in the labels' unit. `loss` is (n,) float64, inf where it is not finite. `probabilities` are (n, classes)
    float64, None of a regression, and where there were too many classes to store them. `files` are the paths as they
    were written, None of samples without files; `index` (n,) int64 are the places of the samples in their split.
    """

    evaluation: EvaluationSummary
    truth: np.ndarray
    prediction: np.ndarray
    loss: np.ndarray
    probabilities: np.ndarray | None = field(default=None, repr=False)
    files: list[str] | None = field(default=None, repr=False)
    index: np.ndarray | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Answers({self.run!r}: {len(self):,} samples of the {self.split} split)"

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def run(self) -> str:
        """The name of the run."""
        return self.evaluation.run

    @property
    def split(self) -> str:
        """The split that was scored."""
        return self.evaluation.split

    @property
    def task(self) -> str:
        """The kind of the labels: binary, multiclass, multilabel or regression."""
        return self.evaluation.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, none of a regression."""
        return tuple(str(row["label"]) for row in self.evaluation.classes)

    @property
    def fingerprint(self) -> str | None:
        """What identifies the samples; None in an evaluation of an older version."""
        return self.evaluation.samples_fingerprint

    @property
    def right(self) -> np.ndarray | None:
        """Whether each sample was answered rightly, with all its labels: (n,) bool; None of a regression."""
        if not self.classes:
            return None
        import numpy as np

        same = np.asarray(self.truth == self.prediction)
        return np.asarray(same.reshape(len(self), -1).all(axis=1))


def evaluate_command(run: Path, split: str) -> str:
    """Return the command that stores the answers of a run to a split; those of other data leave a gap to fill."""
    of_split = {"test": [], "train": ["--split", "train"], "val": ["--split", "val"]}.get(split, ["--data", "PATH"])
    return shell_command(["dlw", "evaluate", str(run), *of_split, "--no-plots"])


def read_answers(file: Path, evaluation: EvaluationSummary, *, again: str, probabilities: bool = True) -> Answers:
    """Return the answers in a `predictions.csv`; without `probabilities` in two thirds of the time.

    Raises RunError where it is missing or damaged, with the command `again` that writes it.
    """
    try:
        return _answers_in(read_small_text(file), evaluation, probabilities)
    except FileNotFoundError:
        raise RunError(f"{evaluation.run} has no {file.name}; store it with: {again}") from None
    except KeyError as error:
        fault = f"it has no column or class {error}"
    except (OSError, ValueError, csv.Error) as error:
        fault = first_line(error)
    raise damaged(repr(str(file)), f"{fault}; store new answers with: {again}")


def _answers_in(text: str, evaluation: EvaluationSummary, probabilities: bool) -> Answers:
    """Return the answers in a text. Raises KeyError, ValueError or csv.Error where it is damaged."""
    import numpy as np

    head, *rows = csv.reader(io.StringIO(text), strict=True)
    if any(len(row) != len(head) for row in rows):
        raise ValueError("a line has fewer or more cells than the first")
    columns = dict(zip(head, zip(*rows, strict=True), strict=bool(rows)))
    answers = Answers(
        evaluation,
        _labels(columns["truth"], evaluation),
        _labels(columns["prediction"], evaluation),
        _numbers(columns["loss"]),
        _probabilities(columns, evaluation) if probabilities else None,
        [text_of_cell(cell) for cell in columns["file"]] if "file" in columns else None,
        _numbers(columns["index"]).astype(np.int64) if "index" in columns else None,
    )
    if len(answers) != evaluation.samples:
        raise ValueError(f"it has {len(answers):,} samples, evaluation.json {evaluation.samples:,}")
    mean = float(answers.loss.mean())
    if evaluation.loss is not None and not math.isclose(mean, evaluation.loss, rel_tol=_LOSSES_AGREE, abs_tol=1e-12):
        raise ValueError(f"its mean loss is {mean:g}, that of evaluation.json {evaluation.loss:g}")
    if not np.isfinite(answers.truth).all():
        raise ValueError("a truth is no finite number")
    return answers


def _labels(cells: Sequence[str], evaluation: EvaluationSummary) -> np.ndarray:
    """Return cells of `truth` or `prediction` as numbers. Raises KeyError for an unknown class."""
    import numpy as np

    names = [str(row["label"]) for row in evaluation.classes]
    if not names:
        return _numbers(cells)
    if evaluation.task != "multilabel":
        numbers = {csv_cell(name): label for label, name in enumerate(names)}
        return np.array([numbers[cell] for cell in cells], dtype=np.int64)
    places = {name: place for place, name in enumerate(names)}
    labels = np.zeros((len(cells), len(names)), dtype=bool)
    for row, cell in zip(labels, map(text_of_cell, cells), strict=True):
        row[[places[name] for name in cell.split(LABEL_SEPARATOR) if name]] = True
    return labels


def _probabilities(columns: Mapping[str, Sequence[str]], evaluation: EvaluationSummary) -> np.ndarray | None:
    import numpy as np

    heads = [f"probability: {row['label']}" for row in evaluation.classes]
    if not heads or heads[0] not in columns:
        return None
    return np.stack([_numbers(columns[head]) for head in heads], axis=1)


def _numbers(cells: Sequence[str]) -> Any:
    import numpy as np

    return np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))
