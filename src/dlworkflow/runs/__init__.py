"""Run folders: creating one, writing it during training, reading it, and finding the one that a user means.

Only this room knows the names of a run's files. It reads JSON and CSV, so that listing a thousand runs imports neither
torch nor YAML. The format:

    config.yaml        every setting, resolved; `dlw train --config` on it repeats the run
    environment.json   versions, machine, git commit, fingerprint of the data
    history.csv        one line per epoch; with `averaging: batch` also each mean over samples (`*_over_samples`);
                       of a run of 0 epochs the line of epoch 0, the untrained model, without scores of training
    summary.json       status, settings, class names, shapes, transform, best and last epoch; there before epoch 1
    splits.json        the samples of each split, where the library made it (older runs: in summary.json)
    best.pth last.pth  weights, plain state_dicts
    resume.pth         all that training needs to resume to the same bits; not there after 0 epochs
    .lock              held by the process that trains
    evaluation.json predictions.csv errors.csv confusion_matrix.csv   what `dlw evaluate` found on the test split
    plots/             figures
    model.onnx ...     the exported model
"""

from __future__ import annotations

from dlworkflow.runs.averaging import epochs_over_samples, over_samples, shows_batch_means
from dlworkflow.runs.evaluation import EvaluationSummary
from dlworkflow.runs.finding import find_run, list_runs, runs_folder
from dlworkflow.runs.folder import Run, now, safe_name
from dlworkflow.runs.history import COLUMNS, VAL_COLUMNS, best_epoch, trained_epochs
from dlworkflow.runs.stored import without_nan
from dlworkflow.runs.summary import FORMAT, OVER_SAMPLES, Summary, leakage_warnings

__all__ = [
    "COLUMNS",
    "FORMAT",
    "OVER_SAMPLES",
    "VAL_COLUMNS",
    "EvaluationSummary",
    "Run",
    "Summary",
    "best_epoch",
    "epochs_over_samples",
    "find_run",
    "leakage_warnings",
    "list_runs",
    "now",
    "over_samples",
    "runs_folder",
    "safe_name",
    "shows_batch_means",
    "trained_epochs",
    "without_nan",
]
