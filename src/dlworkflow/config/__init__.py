"""The typed, frozen settings of one training run, and how they are put together from a recipe, a file and the user.

`settings` holds what a user may set, `documentation` what each setting means, `flags` the options that set it,
`layers` where settings come from, `checking` the errors. Nothing here knows torch, a run folder or the terminal.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlworkflow.config.checking import build_config as build_config
    from dlworkflow.config.checking import build_sweep_settings as build_sweep_settings
    from dlworkflow.config.checking import right_part as right_part
    from dlworkflow.config.layers import Layer as Layer
    from dlworkflow.config.layers import from_flags as from_flags
    from dlworkflow.config.layers import from_mapping as from_mapping
    from dlworkflow.config.layers import from_overrides as from_overrides
    from dlworkflow.config.layers import from_values as from_values
    from dlworkflow.config.layers import merge as merge
    from dlworkflow.config.layers import over_notes as over_notes
    from dlworkflow.config.layers import read_file as read_file
    from dlworkflow.config.layers import read_values as read_values
    from dlworkflow.config.layers import together as together
    from dlworkflow.config.settings import DataSettings as DataSettings
    from dlworkflow.config.settings import ModelSettings as ModelSettings
    from dlworkflow.config.settings import OptimizerSettings as OptimizerSettings
    from dlworkflow.config.settings import ScheduleSettings as ScheduleSettings
    from dlworkflow.config.settings import SweepSettings as SweepSettings
    from dlworkflow.config.settings import TrainConfig as TrainConfig
    from dlworkflow.config.settings import Tree as Tree
else:

    def __getattr__(name: str) -> Any:
        """Import a name on first use: the table of flags is read without pydantic and YAML."""
        for room in ("checking", "layers", "settings"):
            found = getattr(import_module(f"{__name__}.{room}"), name, None)
            if found is not None and not name.startswith("_"):
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
