"""Reading the curves of a run: what they mean, in numbers, and which changes may improve it.

`curves` has the numbers, `rules` the rules with their suggestions, `verdict` asks them, `suggestions` makes commands,
`of_run` does it for a run. A rule is a function in `rules` and its line in the table there.
"""

from __future__ import annotations

from dlworkflow.analysis.diagnosis.curves import Curves, History, measure
from dlworkflow.analysis.diagnosis.rules import RULES, Rule, rule
from dlworkflow.analysis.diagnosis.suggestions import Suggestion, Tree
from dlworkflow.analysis.diagnosis.verdict import Diagnosis, diagnose, judge

__all__ = [
    "RULES",
    "Curves",
    "Diagnosis",
    "History",
    "Rule",
    "Suggestion",
    "Tree",
    "diagnose",
    "judge",
    "measure",
    "rule",
]
