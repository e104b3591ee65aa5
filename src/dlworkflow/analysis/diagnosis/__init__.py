"""Reading the curves of a run: what they say of the fit, in numbers, and which changes might mend it.

Plain arithmetic on what a run wrote down; knows no model, no data set and no folder. `suggestions` turns the
changes into commands.
"""

from __future__ import annotations

from dlworkflow.analysis.diagnosis.curves import Curves, History, measure
from dlworkflow.analysis.diagnosis.rules import RULES, VERDICTS, Cure, Diagnosis, Rule, Tree, diagnose

__all__ = ["RULES", "VERDICTS", "Cure", "Curves", "Diagnosis", "History", "Rule", "Tree", "diagnose", "measure"]
