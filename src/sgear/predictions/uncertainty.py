"""How sure the scores of a table are, and whether two tables differ by more than chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics import Interval, Metric, PairedTest, bootstrap_interval, metrics, paired_test
from sgear.metrics.statistics import Method
from sgear.predictions.outcomes import Outcome, field_outcomes
from sgear.predictions.scoring import Subsets, check_subsets
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field


def metric_inputs(
    metric: Metric, outcome: Outcome, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Return the value of each chosen segment, and for a class-mean their classes, for a bootstrap or a test."""
    values = metric.compute(outcome.ranks[rows], outcome.num_classes).astype(np.float64)
    return values, outcome.targets[rows] if metric.class_mean else None


def _groups(predictions: Predictions, subsets: Subsets | None) -> Subsets:
    check_subsets(subsets or {}, len(predictions))
    everything = np.ones(len(predictions), dtype=np.bool_)
    groups: Subsets = {"overall": dict.fromkeys(FIELDS, everything), **(subsets or {})}
    filled: Subsets = {
        name: {field: masks[field] for field in FIELDS if masks[field].any()} for name, masks in groups.items()
    }
    return {name: masks for name, masks in filled.items() if masks}


def score_intervals(
    predictions: Predictions,
    *,
    subsets: Subsets | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[Field, dict[str, Interval]]]:
    """Return the scores of `score` with bootstrap intervals over samples.

    Args:
        predictions: Scores of a whole split.
        subsets: As in `score`.
        level: Share of resamples in the interval, in (0, 1).
        num_resamples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        `{"overall": {"verb": {"top1": Interval(...), ...}, ...}, ...}` with the names of `metrics()`.

    Raises:
        ValueError: If a mask or a number does not fit.
        PredictionError: If the true actions are not known.
    """
    outcomes = field_outcomes(predictions)
    return {
        group: {
            field: {
                name: bootstrap_interval(
                    *metric_inputs(metric, outcomes[field], mask), level=level, num_resamples=num_resamples, seed=seed
                )
                for name, metric in metrics().items()
            }
            for field, mask in masks.items()
        }
        for group, masks in _groups(predictions, subsets).items()
    }


def compare_predictions(
    first: Predictions,
    second: Predictions,
    *,
    subsets: Subsets | None = None,
    method: Method | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[Field, dict[str, PairedTest]]]:
    """Test for each score whether two tables of the same segments differ.

    Args:
        first: Scores of a whole split.
        second: Other scores of the same segments, in any order.
        subsets: As in `score`, in the order of `first`.
        method: As in `sgear.metrics.paired_test`. Default: the sign test for accuracies, random swaps for class-means.
            `sign` leaves the class-means out.
        num_resamples: Resamples of the intervals, and swaps of the test.
        seed: Seed of both.

    Returns:
        `{"overall": {"verb": {"top1": PairedTest(...), ...}, ...}, ...}` with the names of `metrics()`; differences are
        first minus second. The p-values are not corrected for their number.

    Raises:
        ValueError: If a mask or a number does not fit.
        PredictionError: If segments, true actions, protocol or vocabulary differ, or the true actions are not known.
    """
    first.check_comparable(second)
    second = second.aligned_to(first.uids)
    if not np.array_equal(first.targets, second.targets):
        raise PredictionError("the tables disagree about the true actions; they come from different annotations")
    outcomes, others = field_outcomes(first), field_outcomes(second)
    result: dict[str, dict[Field, dict[str, PairedTest]]] = {}
    for group, masks in _groups(first, subsets).items():
        result[group] = {}
        for field, mask in masks.items():
            tests = {}
            for name, metric in metrics().items():
                if method == "sign" and metric.class_mean:
                    continue
                hits, targets = metric_inputs(metric, outcomes[field], mask)
                other, _ = metric_inputs(metric, others[field], mask)
                tests[name] = paired_test(
                    hits, other, targets=targets, method=method, num_resamples=num_resamples, seed=seed
                )
            result[group][field] = tests
    return result
