"""The numbers of the guide's page on tables: `python tests/bench/tables.py` prints its table of results.

scikit-learn's four tables as CSV files; `mlp` with its recipe, scikit-learn's MLP and gradient boosting on the same
split, five seeds each. The test rows choose nothing.
"""

from __future__ import annotations

import csv
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, mean_absolute_error
from sklearn.neural_network import MLPClassifier, MLPRegressor

from dlworkflow import data
from dlworkflow.analysis.evaluation import report_run
from dlworkflow.data.protocol import all_of
from dlworkflow.training.run import run_training

SEEDS = range(42, 47)
TABLES = ("diabetes", "iris", "wine", "breast_cancer")


def write_table(name: str, folder: Path) -> Path:
    """Write one of scikit-learn's tables as a CSV file; its target is the last column, classes by their names."""
    table = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    labels = table.target if name == "diabetes" else table.target_names[table.target]
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*table.feature_names, "target"])
        writer.writerows([*row, label] for row, label in zip(table.data.tolist(), labels.tolist(), strict=True))
    return path


def scores_of_mlp(path: Path, folder: Path) -> Iterator[float]:
    """Yield the test score of `mlp` with its recipe for each seed: accuracy, or mean absolute error."""
    for seed in SEEDS:
        settings = {"model": "mlp", "data": str(path), "recipe": "best", "seed": seed, "device": "cpu"}
        report = report_run(run_training(settings, runs_dir=folder))
        yield float(report.metrics["accuracy" if report.classes else "mae"] or 0.0)


def scores_of(make: Callable[[int], Any], path: Path) -> Iterator[float]:
    """Yield the test score of an estimator of scikit-learn on the same split for each seed."""
    splits = data.load("csv_table", path=str(path))
    (X, y), (X_test, y_test) = ([tensor.numpy() for tensor in all_of(part)] for part in (splits.train, splits.test))
    for seed in SEEDS:
        predicted = make(seed).fit(X, y.ravel()).predict(X_test)
        if splits.target is None:
            yield float(accuracy_score(y_test, predicted))
        else:
            yield splits.target.std * float(mean_absolute_error(y_test.ravel(), predicted))


def main() -> None:
    """Print the table."""
    print("| table | `mlp` | scikit-learn's MLP | gradient boosting |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's MLP stops after its 200 iterations
        for table in TABLES:
            path = write_table(table, Path(name))
            is_number = table == "diabetes"
            network = MLPRegressor if is_number else MLPClassifier
            boosting = HistGradientBoostingRegressor if is_number else HistGradientBoostingClassifier
            aim = {"loss": "absolute_error"} if is_number else {}
            columns = [
                [*scores_of_mlp(path, Path(name))],
                [*scores_of(lambda seed, make=network: make(random_state=seed), path)],
                [*scores_of(lambda seed, make=boosting, aim=aim: make(random_state=seed, **aim), path)],
            ]
            cells = [_cell(values, is_number) for values in columns]
            print(f"| {table} | {' | '.join(cells)} |", flush=True)


def _cell(values: list[float], is_number: bool) -> str:
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return f"{mean:.1f} ± {deviation:.1f}" if is_number else f"{100 * mean:.1f} % ± {100 * deviation:.1f}"


if __name__ == "__main__":
    main()
