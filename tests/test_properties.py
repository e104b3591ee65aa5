"""What holds for any input, not only for other tests' examples: settings, names, CSV, transforms, resuming."""

from __future__ import annotations

import csv
import math
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlworkflow.config import from_flags, from_overrides
from dlworkflow.data.images.transforms import parse
from dlworkflow.files.text import csv_cell
from dlworkflow.inference.inputs import read_rows
from dlworkflow.metrics.functions import wilson_interval
from dlworkflow.runs import Run, best_epoch, find_run, list_runs
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

few = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | FINITE | st.text(st.characters(codec="utf-8"))
LOSSES = st.floats(0, 1e6) | st.just(math.nan) | st.just(math.inf)
SUMMARY = {
    "config": {
        "model": {"name": "x"},
        "data": {"name": "x", "batch_size": 32, "data_dir": None},
        "optimizer": {"name": "adam"},
        **{"loss": "mse", "epochs": 5, "seed": 1},
    },
    **dict.fromkeys(("data", "source", "device"), "x"),
    **{"kind": "tabular", "task": "regression", "chosen_on": "test"},
    **{"classes": [], "in_shape": [1], "samples": {"train": 8, "test": 2}, "baseline": {}, "transform": None},
    **dict.fromkeys(("n_outputs", "parameters", "threads"), 1),
}


@given(SCALARS)
@few
def test_a_value_that_yaml_writes_is_read_back_by_set(value):
    text = yaml.safe_dump(value, allow_unicode=True, width=math.inf).removesuffix("...\n").removesuffix("\n")

    assert from_overrides([f"model.setting={text}"]).values == {"model": {"setting": value}}


@given(st.lists(st.text("abcd_", min_size=1, max_size=4), min_size=1, max_size=4, unique=True), st.integers())
@few
def test_a_dotted_key_is_planted_where_it_says(parts, value):
    found = from_overrides([f"{'.'.join(parts)}={value}"]).values

    for part in parts:
        found = found[part]
    assert found == value


@given(st.lists(st.text(max_size=150), min_size=1, max_size=3))
@example(["字" * 120])
@example(["../../etc", "a/b", ""])
@example(["\0\n\x1b[0m", "last", "~root"])
@few
def test_a_run_of_any_name_stays_in_its_folder_and_is_found_by_its_name(stems):
    with tempfile.TemporaryDirectory() as folder:
        made = [Run.create(Path(folder), stem, summary=SUMMARY, config="", environment={}) for stem in stems]

        assert {run.path.parent for run in made} == {Path(folder)}
        assert {run.name for run in list_runs(folder)} == {run.name for run in made}
        assert len(made) == len(set(made))
        assert [find_run(run.name, folder) for run in made] == made
        assert all(re.fullmatch(r"[\w.+-]+-\d{3}", run.name) for run in made)


@given(st.lists(st.text("ab-", min_size=1, max_size=3), min_size=1, max_size=4), st.data())
@few
def test_the_start_of_a_name_finds_a_run_only_where_it_fits_no_other_or_is_the_name_without_its_number(stems, data):
    with tempfile.TemporaryDirectory() as folder:
        names = [Run.create(Path(folder), stem, summary=SUMMARY, config="", environment={}).name for stem in stems]
        name = data.draw(st.sampled_from(names))
        start = name[: data.draw(st.integers(1, len(name)))]
        fitting = [name for name in names if name.startswith(start)]

        numbered = sorted(name for name in names if re.fullmatch(re.escape(start) + r"-\d+", name))

        if start in names or numbered or len(fitting) == 1:
            expected = start if start in names else (numbered or fitting)[-1]
            assert find_run(start, folder).name == expected
        else:
            with pytest.raises(Exception, match="fits several runs"):
                find_run(start, folder)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(FINITE, min_size=n, max_size=n), min_size=1, max_size=5)))
@few
def test_rows_of_a_csv_are_read_as_they_were_written(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)

        assert read_rows(path, len(rows[0])) == rows


@given(st.text())
@example("=1+1")
@example("-1\t=2")
@example("\r")
@few
def test_a_cell_that_starts_like_a_formula_is_a_number_or_quoted(text):
    cell = csv_cell(text)

    assert cell.removeprefix("'") == text.removeprefix("'")
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        assert [float(part) for part in cell.split()]


STEPS = st.one_of(
    st.just("flip"),
    st.builds(lambda p: {"flip": {"p": p}}, st.floats(0, 1)),
    st.just("trivial_augment"),
    st.builds(lambda bins: {"trivial_augment": {"num_magnitude_bins": bins}}, st.integers(2, 40)),
)
SIZES = st.integers(1, 512) | st.lists(st.integers(1, 512), min_size=2, max_size=2)
NORMALIZE = st.builds(
    lambda mean, std: {"normalize": {"mean": mean, "std": std}},
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.01, 2), min_size=3, max_size=3),
)


@given(st.lists(STEPS, max_size=3), SIZES, st.none() | NORMALIZE)
@few
def test_a_transform_that_is_written_down_is_read_back(steps, size, normalize):
    pipeline = parse(steps + ([normalize] if normalize else []), image_size=size)

    assert parse(pipeline.to_spec()) == pipeline


@given(st.lists(st.fixed_dictionaries({"test_loss": LOSSES}), max_size=8))
@few
def test_the_best_epoch_is_the_first_of_the_lowest_finite_losses(history):
    finite = [row["test_loss"] for row in history if math.isfinite(row["test_loss"])]

    best = best_epoch(history)

    if not finite:
        assert best is None
    else:
        assert best is next(row for row in history if row["test_loss"] == min(finite))


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@example((0, 1))
@example((1, 1))
@few
def test_the_interval_of_an_accuracy_lies_in_0_to_1_and_around_it(counts):
    low, high = wilson_interval(*counts)

    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1
    assert low < high


@given(st.integers(2, 6).flatmap(lambda n: st.tuples(st.integers(1, n - 1), st.just(n))))
@settings(few, max_examples=6)
def test_a_run_stopped_after_any_epoch_goes_on_to_the_same_history_and_weights(point):
    stop, epochs = point

    def config(epochs):
        return resolve_config([from_flags({"model.name": ("MODEL", "line"), "epochs": ("--epochs", epochs)})])

    with tempfile.TemporaryDirectory() as folder:
        whole = run_training(config(epochs), runs_dir=folder)
        run = resume_training(run_training(config(stop), runs_dir=folder), epochs=epochs)

        assert [row["train_loss"] for row in run.history()] == [row["train_loss"] for row in whole.history()]
        assert run.weights_path("last").read_bytes() == whole.weights_path("last").read_bytes()
