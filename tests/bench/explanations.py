"""The numbers of the guide's page on explanations: `python tests/bench/explanations.py RUN [N]` prints a run's rows.

Every so many a sample of the test split of an image run, N in all (20), is explained by each method.
"""

from __future__ import annotations

import sys
from statistics import fmean

import numpy as np

import dlworkflow as dlw
from dlworkflow.analysis.explanation import METHODS
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.data.protocol import original_of
from dlworkflow.inference.predictor import Predictor


def main(name: str, n: int = 20) -> None:
    """Print a row for each method: of how many maps hiding and showing beats all random places, and the means."""
    predictor = Predictor.from_run(name)
    dataset = load_part(predictor.run, "test", offline=True).dataset
    chosen = range(0, len(dataset), len(dataset) // n)[:n]
    images = [original_of(dataset, index) for index in chosen]
    layout = None if hasattr(images[0], "getexif") else "chw"
    for method in METHODS.names():
        found = [dlw.explain(predictor, image, method=method, top_k=1, layout=layout) for image in images]
        curves = [each.curves for each in found if np.ptp(each.grids[0])]
        beaten = sum(min(each.deletion_beats, each.insertion_beats) == each.places for each in curves)
        means = [fmean(values) for values in zip(*(_tenths(each) for each in curves), strict=True)]
        untrained = fmean(each.untrained for each in found if each.untrained is not None)
        cells = [*(f"{100 * mean:.0f} %" for mean in means), f"{untrained:.2f}"]
        print(f"| {predictor.run.name} | {method} | {beaten} of {len(found)} | {' | '.join(cells)} |", flush=True)


def _tenths(curves) -> tuple[float, float, float]:
    return curves.deletion[0], curves.deletion[1], curves.random_deletion[1]


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
