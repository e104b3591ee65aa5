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
    calibration-val.json   the temperature that makes probabilities true, by `dlw calibrate`; `-last` of the last
    plots/             figures
    slices.json ...    what other commands found (see `found`), with tables as CSV
    features-train.npz what neighbours are found by; may be deleted
    notes.json         the user's tags and note; not there without any
    tensorboard/ wandb/   what these trackers wrote
    model.onnx ...     the exported model
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlworkflow.registry import lazy_names

if TYPE_CHECKING:
    from dlworkflow.runs.answers import Answers as Answers
    from dlworkflow.runs.averaging import epochs_over_samples as epochs_over_samples
    from dlworkflow.runs.averaging import over_samples as over_samples
    from dlworkflow.runs.averaging import shows_batch_means as shows_batch_means
    from dlworkflow.runs.evaluation import EvaluationSummary as EvaluationSummary
    from dlworkflow.runs.finding import RunLike as RunLike
    from dlworkflow.runs.finding import as_run as as_run
    from dlworkflow.runs.finding import find_run as find_run
    from dlworkflow.runs.finding import list_runs as list_runs
    from dlworkflow.runs.finding import runs_folder as runs_folder
    from dlworkflow.runs.folder import Run as Run
    from dlworkflow.runs.folder import now as now
    from dlworkflow.runs.folder import size_of as size_of
    from dlworkflow.runs.found import Found as Found
    from dlworkflow.runs.history import COLUMNS as COLUMNS
    from dlworkflow.runs.history import VAL_COLUMNS as VAL_COLUMNS
    from dlworkflow.runs.history import best_epoch as best_epoch
    from dlworkflow.runs.history import trained_epochs as trained_epochs
    from dlworkflow.runs.naming import safe_name as safe_name
    from dlworkflow.runs.notes import Notes as Notes
    from dlworkflow.runs.stored import without_nan as without_nan
    from dlworkflow.runs.summary import FORMAT as FORMAT
    from dlworkflow.runs.summary import OVER_SAMPLES as OVER_SAMPLES
    from dlworkflow.runs.summary import Summary as Summary
    from dlworkflow.runs.summary import leakage_warnings as leakage_warnings

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "answers": ("Answers",),
        "averaging": ("epochs_over_samples", "over_samples", "shows_batch_means"),
        "evaluation": ("EvaluationSummary",),
        "finding": ("RunLike", "as_run", "find_run", "list_runs", "runs_folder"),
        "folder": ("Run", "now", "size_of"),
        "found": ("Found",),
        "history": ("COLUMNS", "VAL_COLUMNS", "best_epoch", "trained_epochs"),
        "naming": ("safe_name",),
        "notes": ("Notes",),
        "stored": ("without_nan",),
        "summary": ("FORMAT", "OVER_SAMPLES", "Summary", "leakage_warnings"),
    },
)
