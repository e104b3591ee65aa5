"""A sweep from plan to folder: nothing is done twice, a failure is a row, what is left is done later."""

from __future__ import annotations

import json

import pytest

from dlworkflow.config import Layer, SweepSettings, from_overrides
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.training.sweep import running, training
from dlworkflow.training.sweep.folder import Sweep, find_runs, find_sweep
from dlworkflow.training.sweep.plan import config_of, plan_sweep
from dlworkflow.training.sweep.queue import Work
from dlworkflow.training.sweep.running import Listed, choose_jobs, run_sweep
from dlworkflow.training.sweep.table import sweep_rows

RATES = {"optimizer.lr": [0.01, 0.1]}


def plan_of(*pairs, **sweep):
    layer = from_overrides(["model=circles_v2", "epochs=3", *pairs])
    return plan_sweep([layer, Layer({"sweep": {"grid": RATES, "vectorize": False, "jobs": 1} | sweep})])


@pytest.fixture
def made(tmp_path):
    def make(*pairs, **sweep):
        plan, settings = plan_of(*pairs, **sweep)
        return Sweep.create(tmp_path, "s", plan), settings

    return make


def stamps(sweep):
    return {run.name: (run.path / "history.csv").stat().st_mtime_ns for run in sweep.runs()}


def test_every_combination_is_run_with_every_seed(made):
    sweep, _ = made(seeds=2)

    plan, stop = run_sweep(sweep)

    assert stop == ""
    assert [(point.values["optimizer.lr"], point.seed) for point in plan.points] == [
        (0.01, 42),
        (0.01, 43),
        (0.1, 42),
        (0.1, 43),
    ]
    assert {point.status for point in plan.points} == {"finished"}


def test_a_point_is_the_run_that_train_would_make(made, tmp_path):
    sweep, _ = made()
    plan, _ = run_sweep(sweep)
    summary = sweep.run(plan.points[1].run).summary()

    assert summary.config["optimizer"]["lr"] == 0.1
    assert summary.sweep == {"name": sweep.name, "point": 2, "values": {"optimizer.lr": 0.1}}


def test_runs_use_one_thread_unless_told_otherwise():
    assert config_of(*_first(plan_of())).threads == 1
    assert config_of(*_first(plan_of("threads=2"))).threads == 2


def _first(made):
    plan, _ = made
    return plan, plan.points[0]


def test_a_budget_of_runs_leaves_the_rest_and_the_next_call_does_it_alone(made):
    sweep, _ = made(seeds=2, max_runs=3)
    plan, stop = run_sweep(sweep)
    before = stamps(sweep)

    assert stop == "runs"
    assert len(plan.waiting()) == 1
    plan, stop = run_sweep(sweep, SweepSettings(grid=RATES, seeds=2, jobs=1))
    assert (stop, plan.waiting(), plan.status) == ("", [], "finished")
    assert {name: stamp for name, stamp in stamps(sweep).items() if name in before} == before


def test_a_budget_of_time_interrupts_a_run_and_it_goes_on_later(made):
    sweep, _ = made("epochs=3000", max_minutes=0.01)
    plan, stop = run_sweep(sweep)

    assert stop == "time"
    assert plan.points[0].status == "interrupted"
    begun = len(sweep.run(plan.points[0].run).history())
    assert 0 < begun < 3000
    plan, stop = run_sweep(sweep, SweepSettings(grid=RATES, jobs=1, max_minutes=0.01))
    assert len(sweep.run(plan.points[0].run).history()) > begun


def test_a_failure_is_a_row_with_its_reason_and_the_others_go_on(made):
    sweep, _ = made(grid={"optimizer.lr": [1e9, 0.1]})

    plan, _ = run_sweep(sweep)
    rows, metric = sweep_rows(sweep, plan)

    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert rows[1][metric] is None
    assert "became nan" in rows[1]["reason"] or "became inf" in rows[1]["reason"]


def test_failed_runs_are_made_anew_only_when_asked(made):
    sweep, settings = made(grid={"optimizer.lr": [1e9, 0.1]})
    run_sweep(sweep)

    assert run_sweep(sweep, settings)[0].points[0].run == "s-001-001"
    assert run_sweep(sweep, settings, retry_failed=True)[0].points[0].run == "s-001-003"


def test_a_sweep_whose_process_was_killed_takes_stock_of_its_runs(made):
    sweep, settings = made()
    run_sweep(sweep)
    before = stamps(sweep)
    content = json.loads((sweep.path / "sweep.json").read_text())
    for point in content["points"]:
        point |= {"status": "waiting", "run": None}
    (sweep.path / "sweep.json").write_text(json.dumps(content))

    plan, _ = run_sweep(sweep, settings)

    assert {point.status for point in plan.points} == {"finished"}
    assert stamps(sweep) == before


def test_vectorized_points_come_out_as_single_ones(made):
    together, _ = made(seeds=2, vectorize=True)
    alone, _ = made(seeds=2)

    tables = [sweep_rows(sweep, run_sweep(sweep)[0])[0] for sweep in (together, alone)]

    for row, expected in zip(*tables, strict=True):
        assert row["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-5)
        assert row["test_loss_sd"] == pytest.approx(expected["test_loss_sd"], rel=1e-3)
    assert together.runs()[0].summary().vectorized == 4


def test_two_processes_at_one_sweep_are_refused(made):
    sweep, settings = made()

    with sweep.locked(), pytest.raises(RunError, match="being trained by another process"):
        run_sweep(sweep, settings)


@pytest.mark.slow
def test_workers_make_the_same_runs_as_one_process(made):
    one, _ = made(seeds=2)
    two, _ = made(seeds=2, jobs=2)

    tables = [sweep_rows(sweep, run_sweep(sweep)[0])[0] for sweep in (one, two)]

    assert [row["test_loss"] for row in tables[0]] == [row["test_loss"] for row in tables[1]]


def test_every_fault_is_told_before_anything_is_written():
    with pytest.raises(ConfigError) as error:
        plan_of("epochs=x", grid={"optimizer.lrr": [1], "model.hidden_units": [-1, 3]}, seeds=0)

    assert len(error.value.faults) == 4
    assert "did you mean 'lr'?" in str(error.value)


def test_an_unknown_setting_of_a_sweep_is_named():
    with pytest.raises(ConfigError, match="unknown setting 'seedz'; did you mean 'seeds'"):
        plan_of(seedz=3)


def test_a_sweep_in_which_nothing_varies_is_refused():
    with pytest.raises(ConfigError, match="nothing varies"):
        plan_of(grid={})


@pytest.mark.usefixtures("on_cpu")
def test_jobs_are_never_more_than_tasks_and_cores(monkeypatch):
    plan, _ = plan_of()
    monkeypatch.setattr(running, "available_cores", lambda: 4)
    monkeypatch.setattr(running, "_free_bytes", lambda: 3 * 2**30)

    assert choose_jobs("auto", 2, plan) == 2
    assert choose_jobs("auto", 9, plan) == 3
    assert choose_jobs(8, 9, plan) == 8


def test_a_sweep_is_found_by_name_path_and_last(made, tmp_path):
    sweep, _ = made()

    for given in ("s-001", str(sweep.path), "last"):
        assert find_sweep(given, tmp_path).path == sweep.path
    with pytest.raises(RunError, match=r"unknown sweep 's-02'; did you mean 's-001'\?"):
        find_sweep("s-02", tmp_path)


def test_a_sweep_is_found_as_a_run_is_without_its_number_and_by_the_start_of_its_name(made, tmp_path):
    sweep, _ = made()

    for given in ("s", "s-0", str(tmp_path / "s")):
        assert find_sweep(given, tmp_path).path == sweep.path
        with pytest.raises(RunError, match="the sweep s-001 has no run yet"):
            find_runs(given, tmp_path)


def test_a_sweep_without_a_run_has_nothing_to_compare(made, tmp_path):
    made()

    with pytest.raises(RunError, match="has no run yet"):
        find_runs("s-001", tmp_path)


def test_a_damaged_sweep_says_so(made):
    sweep, _ = made()
    (sweep.path / "sweep.json").write_text('{"format": 1')

    with pytest.raises(RunError, match="is damaged"):
        sweep.read()


def test_a_list_of_tasks_ends():
    assert Listed([]).take() is None


def test_models_that_train_together_are_on_the_disk_before_they_end(made, monkeypatch):
    sweep, _ = made(seeds=2, vectorize=True)
    monkeypatch.setattr(training, "KEEP_SECONDS", 0)
    monkeypatch.setattr(training, "KEEP_SHARE", 0)
    epochs = iter([False, False])
    plan = sweep.read()

    with pytest.raises(StopIteration):  # as if the process had been killed in its third epoch
        training.train_task(sweep, plan, Work(plan.points, together=True), None, is_late=lambda: next(epochs))
    killed = [(run.summary().status, len(run.history())) for run in sweep.runs()]
    ended, _ = run_sweep(sweep)

    assert killed == [("running", 2)] * 4
    assert {point.status for point in ended.points} == {"finished"}
    assert len(sweep.runs()) == 4
    assert {len(run.history()) for run in sweep.runs()} == {3}
