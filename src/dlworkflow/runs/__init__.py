"""Run folders: making one, writing it as it trains, reading it, and finding the one that a user means.

The only room that knows a run's file names. Reads JSON and CSV only, so that looking at a thousand runs imports
neither torch nor YAML. The format:

    config.yaml        every setting, resolved; `dlw train --config` on it repeats the run
    environment.json   versions, machine, git commit, fingerprint of the data
    history.csv        one line an epoch; with `averaging: batch` also each mean over samples (`*_over_samples`)
    summary.json       status, settings, class names, shapes, transform, best and last epoch; there before epoch 1
    splits.json        the samples of each split, where the library cut it (older runs: in summary.json)
    best.pth last.pth  weights, plain state_dicts
    resume.pth         all that training needs to go on to the same bits
    .lock              held by the process that trains
    evaluation.json predictions.csv errors.csv confusion_matrix.csv   what `dlw evaluate` found on the test split
    plots/             figures
"""

from __future__ import annotations

from dlworkflow.runs.averaging import OVER_SAMPLES, epochs_over_samples, over_samples, shows_batch_means
from dlworkflow.runs.finding import find_run, list_runs, runs_folder
from dlworkflow.runs.folder import COLUMNS, VAL_COLUMNS, Run, best_epoch, now, safe_name
from dlworkflow.runs.summary import FORMAT, without_nan

__all__ = [
    "COLUMNS",
    "FORMAT",
    "OVER_SAMPLES",
    "VAL_COLUMNS",
    "Run",
    "best_epoch",
    "epochs_over_samples",
    "find_run",
    "list_runs",
    "now",
    "over_samples",
    "runs_folder",
    "safe_name",
    "shows_batch_means",
    "without_nan",
]
