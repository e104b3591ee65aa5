"""Slices of a run: its answers from where they are stored, else predicted; its samples' properties; what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlworkflow.analysis.evaluation import evaluate_part, report_part, samples_fingerprint, write_evaluation
from dlworkflow.analysis.scored_data import Part, load_part
from dlworkflow.analysis.slices.cutting import Slice, slices_of
from dlworkflow.analysis.slices.properties import CLUSTER, properties_of
from dlworkflow.analysis.slices.scoring import score_slices
from dlworkflow.errors import DataError, ModelError, RunError
from dlworkflow.inference.averaging import TTA
from dlworkflow.inference.features import features_of
from dlworkflow.inference.predictor import Predictor
from dlworkflow.inference.stored import stored_thresholds
from dlworkflow.runs import EvaluationSummary, Run, RunLike, as_run
from dlworkflow.runs.slices import SliceScores

EXAMPLES = 6
"""Samples that stand for a cluster: those closest to its middle."""

_A_CLUSTER, _MOST_CLUSTERS = 20, 8


def slices_of_run(
    run: RunLike,
    split: str = "test",
    *,
    by: Sequence[str] | None = None,
    weights: str = "best",
    device: str = "auto",
    tta: TTA | None = None,
    store: bool = True,
    **options: Any,
) -> SliceScores:
    """Score a run on parts of a split, keep what is found in its folder (`store`), and return it.

    `by` names the properties that slices are of: `class`, `brightness`, `sharpness`, `size`, `aspect`, `folder`,
    columns of a table, `cluster`; all that fit by default. `options` are those of `load_part`. Answers that
    `dlw evaluate` stored are used where they are of these weights and samples, else the split is scored and they are
    stored. Raises ConfigError for an unknown property, DataError where there is no slice.
    """
    run = as_run(run)
    part = load_part(run, split, **options)
    values = _stored_values(run, part, weights, tta)
    if values is None:
        values = _scored_values(run, part, weights=weights, device=device, tta=tta)
    found, clusters = properties_of(run, part, wanted=by, data=options.get("other"))
    slices, notes = [], list[str]()
    for each in found:
        own, why = slices_of(each, len(values))
        slices += own
        notes += [why] if why else []
    if clusters:
        slices += _clusters(run, part, weights, device, notes)
    if not slices:
        raise DataError(f"{run.name}: its {part.name} split has no slices: {'; '.join(notes) or 'nothing is known'}")
    rows, comparisons = score_slices(slices, values)
    scores = SliceScores(
        run=run.name,
        weights=weights,
        epoch=run.summary().row(weights).get("epoch"),
        split=part.name,
        samples=len(values),
        metric="accuracy" if values.dtype == bool else "mae",
        score=float(values.mean()),
        comparisons=comparisons,
        slices=rows,
        notes=[*part.remarks(run.name), *notes],
    )
    if store:
        write_slices(run, scores)
    return scores


def write_slices(run: Run, scores: SliceScores) -> list[Path]:
    """Write what was found as slices.json and slices.csv into the run's folder."""
    table = [{key: value for key, value in row.items() if key != "examples"} for row in scores.slices]
    return run.write_found(scores, {"slices": table})


def _stored_values(run: Run, part: Part, weights: str, tta: TTA | None) -> np.ndarray | None:
    """Return whether each stored answer is right, or its error; None where there are none of these samples."""
    try:
        evaluation = run.evaluation(part.name)
        if evaluation is None or (evaluation.weights, evaluation.tta) != (weights, tta):
            return None
        if evaluation.samples_fingerprint is None or not _has_thresholds_of(run, evaluation):
            return None
        answers = run.answers(part.name, probabilities=False)
    except RunError:  # damaged, or of other weights: they are written anew
        return None
    if answers.fingerprint != samples_fingerprint(run.summary(), part):
        return None
    return answers.right if answers.right is not None else np.abs(answers.prediction - answers.truth)


def _has_thresholds_of(run: Run, evaluation: EvaluationSummary) -> bool:
    """Return whether labels were predicted from the probabilities that the run has now."""
    own = stored_thresholds(run.summary())
    return not own or tuple((evaluation.thresholds or {}).values()) == own


def _scored_values(run: Run, part: Part, **scoring: Any) -> np.ndarray:
    """Return whether each answer is right, or its error; the evaluation is stored as `dlw evaluate` stores it."""
    result = evaluate_part(run, part, **scoring)
    report = report_part(run, part, result)
    of_weights = {"weights": scoring["weights"], "tta": scoring["tta"], "temperature": result.temperature}
    write_evaluation(run, part, report, **of_weights)
    if report.classes:
        return np.array([row["truth"] == row["prediction"] for row in report.samples], bool)
    return np.array([abs(row["prediction"] - row["truth"]) for row in report.samples], float)


def _clusters(run: Run, part: Part, weights: str, device: str, notes: list[str]) -> list[Slice]:
    """Return the clusters of the features that the model itself has made of the samples (k-means)."""
    n = len(part.dataset)  # type: ignore[arg-type]
    k = min(_MOST_CLUSTERS, n // _A_CLUSTER)
    if k < 2:
        notes.append(f"{CLUSTER}: {n} samples are too few, {2 * _A_CLUSTER} make two clusters")
        return []
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    try:
        features = features_of(Predictor.from_run(run, weights=weights, device=device), part.dataset).features
    except ModelError as error:
        notes.append(f"{CLUSTER}: {error}")
        return []
    if not np.isfinite(features).all():
        notes.append(f"{CLUSTER}: some features are not finite numbers, the model has diverged")
        return []
    scaled = StandardScaler().fit_transform(features)
    k = min(k, len(np.unique(scaled, axis=0)))
    if k < 2:
        notes.append(f"{CLUSTER}: the model makes the same features of all samples")
        return []
    means = KMeans(k, n_init=4, random_state=0).fit(scaled)
    apart = means.transform(scaled)
    order = np.argsort(-np.bincount(means.labels_, minlength=k), kind="stable")
    found = []
    for number, place in enumerate(order, 1):
        mask = means.labels_ == place
        closest = np.argsort(np.where(mask, apart[:, place], np.inf), kind="stable")[: min(EXAMPLES, int(mask.sum()))]
        found.append(Slice(CLUSTER, str(number), mask, tuple(closest.tolist())))
    return found
