"""A report of runs as one file that a colleague can read: HTML with its figures inside, or Markdown.

`of_run` and `of_runs` gather what is known of runs, each `of_...` beside them one subject, as a `document` of plain
texts, tables and pictures. `rendering` makes it a page and `writing` a file. A subject is a function that returns a
`Section`, and its line in `of_run`.
"""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {"writing": ("write_report",)})
