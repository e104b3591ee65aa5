"""What a run is worth and why: its evaluation, its figures and the diagnosis of its curves."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "evaluation": (
            "evaluate_run",
            "report_run",
        ),
        "diagnosis.of_run": (
            "RunDiagnosis",
            "diagnose_run",
        ),
    },
)
