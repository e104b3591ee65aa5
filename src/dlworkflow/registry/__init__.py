"""Names that a user types and the things they name; the signature of a thing is the schema of its settings.

Knows no model and no data set. Every name is resolved on first use, so that a package with lazy names costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlworkflow.registry.lazy import lazy_names as lazy_names
from dlworkflow.registry.lazy import pyplot_left_alone as pyplot_left_alone

if TYPE_CHECKING:
    from dlworkflow.registry.plugins import entry_points_of as entry_points_of
    from dlworkflow.registry.signatures import MOST as MOST
    from dlworkflow.registry.signatures import BelowOne as BelowOne
    from dlworkflow.registry.signatures import Count as Count
    from dlworkflow.registry.signatures import Depth as Depth
    from dlworkflow.registry.signatures import Fraction as Fraction
    from dlworkflow.registry.signatures import NonNegative as NonNegative
    from dlworkflow.registry.signatures import OneOf as OneOf
    from dlworkflow.registry.signatures import Positive as Positive
    from dlworkflow.registry.signatures import Probability as Probability
    from dlworkflow.registry.signatures import Range as Range
    from dlworkflow.registry.signatures import Seed as Seed
    from dlworkflow.registry.signatures import Size as Size
    from dlworkflow.registry.signatures import Spread as Spread
    from dlworkflow.registry.signatures import choices_of as choices_of
    from dlworkflow.registry.signatures import faults_of as faults_of
    from dlworkflow.registry.signatures import settings_of as settings_of
    from dlworkflow.registry.tables import Others as Others
    from dlworkflow.registry.tables import Registry as Registry
    from dlworkflow.registry.tables import callable_as_it_is as callable_as_it_is
    from dlworkflow.registry.tables import factory_of as factory_of

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "lazy": ("pyplot_left_alone",),
        "plugins": ("entry_points_of",),
        "signatures": (
            *("MOST", "BelowOne", "Count", "Depth", "Fraction", "NonNegative", "OneOf", "Positive", "Probability"),
            *("Range", "Seed", "Size", "Spread", "choices_of", "faults_of", "settings_of"),
        ),
        "tables": ("Others", "Registry", "callable_as_it_is", "factory_of"),
    },
)
