"""Why a model answers what it answers: maps of images, contributions of columns, and whether they can be relied on.

`methods` has the methods, a function and a line in the table there each; `curves` and `sanity` check a map; `images`,
`rows`, `importance` and `of_errors` explain an image, a row, a run and its errors; `explaining` takes any of these.
"""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "explaining": ("explain",),
        "importance": ("Importance",),
        "methods": ("METHODS",),
        "results": ("ImageExplanation", "RowExplanation", "draw_explanations"),
    },
)
