"""A whole run: settings are resolved and checked, a job is prepared, the engine trains it, the run folder records it.

In the order of a run: `settings`, `job`, `optimization`, `assembly`, `run`, `recorder`; `resume` continues one,
`distributed` trains one in several processes, `sweep` trains many.
"""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "settings": ("resolve_config",),
        "run": ("run_training",),
        "fitting": ("fit",),
        "resume": ("resume_training",),
    },
)
