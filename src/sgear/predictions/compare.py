"""How sure scores are, and two tables of the same segments side by side: scores, tests, classes that changed hands."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.metrics import Interval, Metric, PairedTest, bootstrap_interval, metrics, paired_test
from sgear.metrics.class_means import mean_per_class
from sgear.metrics.statistics import Method
from sgear.predictions.scoring import Outcome, Subsets, check_subsets, field_outcomes, score
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
    return {
        name: {field: masks[field] for field in FIELDS if masks[field].any()}
        for name, masks in groups.items()
        if any(masks[field].any() for field in FIELDS)
    }


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
    second = second.matched_to(first)
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


NUM_CLASSES_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class ComparedScore:
    """One score of both models.

    Args:
        subset: `overall` or the name of a subset.
        field: Verb, noun or action.
        metric: Its name, e.g. `recall5` (class-mean top-5 recall).
        first: Score of the first model, in [0, 1].
        second: Score of the second model.
        difference: First minus second.
        low: Lower end of the difference's 95 % bootstrap interval.
        high: Upper end.
        p_value: Two-sided: exact sign test for accuracies, random swaps for the class-mean; not corrected for the
            number of comparisons.
        num_first_only: Segments that only the first model got right.
        num_second_only: Segments that only the second model got right.
        num_samples: Segments of the subset.
    """

    subset: str
    field: Field
    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    num_first_only: int
    num_second_only: int
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """A class on which the models differ.

    Args:
        class_id: Id of the class.
        name: Its name.
        num_samples: Segments of the class.
        first: Top-5 recall of the first model.
        second: Top-5 recall of the second model.
        num_hits: Hits of the first model less those of the second.
    """

    class_id: int
    name: str
    num_samples: int
    first: float
    second: float
    num_hits: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of `compare`: scores by subset, field and metric; classes of each field better and worse in the first."""

    scores: tuple[ComparedScore, ...]
    gains: dict[Field, tuple[ClassChange, ...]]
    losses: dict[Field, tuple[ClassChange, ...]]

    def to_dict(self) -> dict[str, object]:
        """Return a plain dict, JSON-ready."""
        return {
            "scores": [asdict(row) for row in self.scores],
            "gains": {field: [asdict(change) for change in changes] for field, changes in self.gains.items()},
            "losses": {field: [asdict(change) for change in changes] for field, changes in self.losses.items()},
        }


def compare(
    first: Predictions,
    second: Predictions,
    *,
    subsets: Subsets | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same segments.

    Args:
        first: Scores of a whole split.
        second: Other scores of the same segments, in any order.
        subsets: Which samples belong to a subset, for each field [M], in the order of `first`, e.g.
            `Benchmark.subset_masks`.
        num_resamples: Resamples of the intervals, and swaps of the test of class-means.
        seed: Seed of both.

    Returns:
        Scores with their tests, and for each field the classes that gained and lost most in the first model, by the
        number of segments, then by recall.

    Raises:
        ValueError: If a mask or a number does not fit.
        PredictionError: If segments, true actions, protocol or vocabulary differ, or the true actions are not known.
    """
    tests = compare_predictions(first, second, subsets=subsets, num_resamples=num_resamples, seed=seed)
    second = second.aligned_to(first.uids)
    values, others = score(first, subsets=subsets), score(second, subsets=subsets)
    scores = tuple(
        ComparedScore(
            subset=subset,
            field=field,
            metric=metric,
            first=float(values[subset][field][metric]),
            second=float(others[subset][field][metric]),
            **vars(by_metric[metric]),
            num_samples=int(values[subset][field]["num_samples"]),
        )
        for subset, by_field in tests.items()
        for field, by_metric in by_field.items()
        for metric in metrics(brief=True)
    )
    outcomes, other_outcomes = field_outcomes(first), field_outcomes(second)
    gains, losses = {}, {}
    for field in FIELDS:
        changes = _changes(outcomes[field], other_outcomes[field], first.taxonomy.names(field))
        changes.sort(key=lambda change: (-abs(change.num_hits), -abs(change.first - change.second), change.class_id))
        gains[field] = tuple(change for change in changes if change.num_hits > 0)[:NUM_CLASSES_SHOWN]
        losses[field] = tuple(change for change in changes if change.num_hits < 0)[:NUM_CLASSES_SHOWN]
    return Comparison(scores=scores, gains=gains, losses=losses)


def _changes(first: Outcome, second: Outcome, names: tuple[str, ...]) -> list[ClassChange]:
    """Return every class whose number of top-5 hits differs."""
    hits, other_hits = first.hits(5), second.hits(5)
    recalls = mean_per_class(hits, first.targets, first.num_classes)
    other_recalls = mean_per_class(other_hits, first.targets, first.num_classes)
    counts = np.bincount(first.targets, minlength=first.num_classes)
    won, lost = (np.bincount(first.targets[each], minlength=first.num_classes) for each in (hits, other_hits))
    balance = won - lost
    return [
        ClassChange(
            class_id=class_id,
            name=names[class_id],
            num_samples=int(counts[class_id]),
            first=float(recalls[class_id]),
            second=float(other_recalls[class_id]),
            num_hits=int(balance[class_id]),
        )
        for class_id in np.flatnonzero(balance).tolist()
    ]
