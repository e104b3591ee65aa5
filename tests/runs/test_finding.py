"""Which run is meant by a path or a name."""

from __future__ import annotations

import pytest

import dlworkflow


@pytest.mark.parametrize(
    "call",
    [
        dlworkflow.evaluate_run,
        dlworkflow.diagnose_run,
        dlworkflow.slices_of_run,
        lambda name: dlworkflow.compare_runs([name]),
        lambda name: dlworkflow.compare_seeds([name]),
        lambda name: dlworkflow.compare_answers([name]).names,
        lambda name: dlworkflow.resume_training(name, epochs=3, verbose=False),
        dlworkflow.Predictor.from_run,
    ],
)
def test_functions_of_a_run_take_its_name_too(monkeypatch, tmp_path, call):
    monkeypatch.chdir(tmp_path)
    dlworkflow.fit("circles_v0", epochs=2, name="named", verbose=False)

    assert call("named") is not None
    with pytest.raises(dlworkflow.RunError, match="no run 'other'"):
        call("other")
