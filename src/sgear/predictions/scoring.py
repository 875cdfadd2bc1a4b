"""From a table of predictions to the numbers of a benchmark: verb, noun, action; overall, unseen, tail, many-shot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics import class_mean_precision, metrics, reliability
from sgear.metrics.probabilities import TIE_TOLERANCE
from sgear.predictions.outcomes import Outcome, field_outcomes, own_scores
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field

Numbers = dict[str, float | int]
Subsets = dict[str, dict[Field, NDArray[np.bool_]]]


def score(
    predictions: Predictions,
    *,
    subsets: Subsets | None = None,
    many_shot: dict[Field, NDArray[np.int64]] | None = None,
) -> dict[str, dict[Field, Numbers]]:
    """Compute the scores of verbs, nouns and actions over all samples and over each subset.

    A field is ranked by its own head where the predictions have one, else by summed action probabilities. Class means
    are taken over the classes that occur in the subset.

    Args:
        predictions: Scores of a whole split.
        subsets: Which samples belong to a subset, for each field [M], e.g. `Benchmark.subset_masks`. A field without
            any sample in a subset has no entry there; a subset without any sample is left out.
        many_shot: Frequent classes of each field, e.g. `Benchmark.many_shot_ids`.

    Returns:
        `{"overall": {"verb": {...}, "noun": {...}, "action": {...}}, "unseen": {...}, ...}`, values in [0, 1]:
        every metric of `sgear.metrics.metrics()`, such as `top1` and `top5` accuracy, `recall5`, the class-mean top-5
        recall, and `class_mean_top1`; `num_samples` and `num_classes` that were averaged; overall also `ece`, the
        expected calibration error of the best class in 15 bins of equal width. `many_shot` has the class-means and
        `precision`, each averaged over frequent classes.

    Raises:
        ValueError: If a mask has another length than the predictions, a subset is called `overall` or `many_shot`, or a
            frequent class does not exist.
        PredictionError: If the true actions are not known, or there is no sample.
    """
    check_subsets(subsets or {}, len(predictions))
    outcomes = field_outcomes(predictions)
    result: dict[str, dict[Field, Numbers]] = {
        "overall": {
            field: _numbers(outcome) | {"ece": reliability(outcome.confidence, outcome.hits(1)).ece}
            for field, outcome in outcomes.items()
        }
    }
    for name, masks in (subsets or {}).items():
        result[name] = {field: _numbers(outcomes[field], masks[field]) for field in FIELDS if masks[field].any()}
    if many_shot:
        result["many_shot"] = {
            field: _many_shot_numbers(predictions, field, outcomes[field], many_shot[field])
            for field in FIELDS
            if field in many_shot and np.isin(outcomes[field].targets, many_shot[field]).any()
        }
    return {name: by_field for name, by_field in result.items() if by_field}


def check_subsets(subsets: Subsets, num_samples: int) -> None:
    """Raise if a subset does not fit the samples.

    Raises:
        ValueError: If a mask has another length, or a subset has a name that `score` uses itself.
    """
    for name, masks in subsets.items():
        if name in ("overall", "many_shot"):
            raise ValueError(f"a subset cannot be called {name!r}: the score has an entry of that name")
        for field in FIELDS:
            if masks[field].shape != (num_samples,):
                raise ValueError(f"subset {name}, {field}: mask of {masks[field].shape} for {num_samples} samples")


def _numbers(outcome: Outcome, mask: NDArray[np.bool_] | None = None) -> Numbers:
    rows = slice(None) if mask is None else mask
    targets, ranks = outcome.targets[rows], outcome.ranks[rows]
    return {
        **{name: metric.score(ranks, targets, outcome.num_classes) for name, metric in metrics().items()},
        "num_samples": len(targets),
        "num_classes": len(np.unique(targets)),
    }


def _many_shot_numbers(predictions: Predictions, field: Field, outcome: Outcome, classes: NDArray[np.int64]) -> Numbers:
    if len(classes) and not (classes.min() >= 0 and classes.max() < outcome.num_classes):
        raise ValueError(f"many-shot {field}s must be in [0, {outcome.num_classes}), got {classes.tolist()}")
    own = own_scores(predictions, field)
    scores, tolerance = (predictions.field_probs(field), TIE_TOLERANCE) if own is None else (own, 0.0)
    targets = outcome.targets
    is_frequent = np.isin(targets, classes)
    return {
        **{
            name: metric.score(outcome.ranks, targets, outcome.num_classes, classes)
            for name, metric in metrics().items()
            if metric.class_mean
        },
        "precision": class_mean_precision(scores, targets, classes=classes, tie_tolerance=tolerance),
        "num_samples": int(is_frequent.sum()),
        "num_classes": len(np.unique(targets[is_frequent])),
    }
