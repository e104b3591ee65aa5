"""Numbers computed from predictions and labels: single metrics, the scores of each class, the report of an evaluation.

A metric is a function in `functions` and its line in the table there.
"""

from __future__ import annotations

from dlworkflow.metrics.functions import METRICS

__all__ = ["METRICS"]
