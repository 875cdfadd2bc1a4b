"""From a table of predictions to the numbers of a benchmark: verb, noun, action; overall, unseen, tail, many-shot.

A hit depends on its sample alone. Subsets, bootstrap resamples and comparisons average the same outcomes anew and never
look at the scores again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics import class_mean_precision, metrics, reliability, time_to_action
from sgear.metrics.probabilities import TIE_TOLERANCE, Grouping, softmax_pass
from sgear.metrics.ranks import target_ranks
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field
from sgear.timing import TIME_TOLERANCE_S, VJepaProtocol


@dataclass(frozen=True)
class Outcome:
    """Outcome of each sample in one field.

    Args:
        targets: True class [M].
        ranks: Number of classes before the true one [M], with ties that favour nobody.
        confidence: Probability of the best class [M].
        num_classes: Number of classes K.
    """

    targets: NDArray[np.int64]
    ranks: NDArray[np.int64]
    confidence: NDArray[np.float64]
    num_classes: int

    def hits(self, k: int) -> NDArray[np.bool_]:
        """Return whether the true class is among the k best [M]; k is cut to the number of classes."""
        return self.ranks < min(k, self.num_classes)


def field_outcomes(predictions: Predictions) -> dict[Field, Outcome]:
    """Return the outcome of each field: of its own head, or by summed action probabilities.

    Raises:
        PredictionError: If the true actions are not known, or there is no sample.
    """
    if not len(predictions):
        raise PredictionError("a table without any sample has no score; predict at least one segment")
    taxonomy = predictions.taxonomy
    targets = {field: predictions.field_targets(field) for field in FIELDS}
    summed: list[Field] = [field for field in FIELDS if predictions.own_scores(field) is None]
    groupings = [Grouping(taxonomy.ids_of_action(field), len(taxonomy.names(field))) for field in summed]
    of_actions = softmax_pass(predictions.logits, predictions.targets, groupings)
    outcomes: dict[Field, Outcome] = {}
    for field in FIELDS:
        own = predictions.own_scores(field)
        if own is None:
            index = summed.index(field)
            ranks, confidence = of_actions.part_ranks[index], of_actions.part_confidence[index]
        else:
            ranks = target_ranks(own, targets[field])
            confidence = of_actions.confidence if field == "action" else softmax_pass(own, targets[field]).confidence
        outcomes[field] = Outcome(targets[field], ranks, confidence, len(taxonomy.names(field)))
    return outcomes


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
    own = predictions.own_scores(field)
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


def evaluated_rows(predictions: Predictions, is_trained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which samples count under the protocol of a table [M].

    Args:
        predictions: Scores of a labelled split.
        is_trained: Which actions occur in training [A], e.g. `Benchmark.trained_action_mask`.

    Raises:
        PredictionError: If the mask belongs to another vocabulary, no sample counts, or the true actions are not known.
    """
    if predictions.protocol["kind"] != VJepaProtocol.kind:
        return np.ones(len(predictions), dtype=np.bool_)
    if is_trained.shape != (predictions.taxonomy.num_actions,):
        raise PredictionError(
            f"predictions of {predictions.taxonomy.num_actions} actions, but the training segments are of "
            f"{len(is_trained)}; name the data set that they were made for"
        )
    is_kept = is_trained[predictions.field_targets("action")]
    if not is_kept.any():
        raise PredictionError("no evaluated action occurs in training; the vjepa protocol has nothing to score")
    return is_kept


def evaluated_part(
    predictions: Predictions, is_trained: NDArray[np.bool_], subsets: Subsets
) -> tuple[Predictions, Subsets]:
    """Return a table and its subsets without the samples that do not count; see `evaluated_rows`.

    Args:
        predictions: Scores of a labelled split.
        is_trained: Which actions occur in training [A].
        subsets: Masks in the order of `predictions`.
    """
    is_kept = evaluated_rows(predictions, is_trained)
    if is_kept.all():
        return predictions, subsets
    kept: Subsets = {name: {field: mask[is_kept] for field, mask in masks.items()} for name, masks in subsets.items()}
    return predictions.take(np.flatnonzero(is_kept)), kept


def times_to_action(tables: Sequence[Predictions], *, k: int = 5) -> dict[Field, float]:
    """Compute how long before its start an action is first predicted; see `time_to_action`.

    Args:
        tables: One table per anticipation time, in any order, on the same segments. Their protocols may differ in
            `tau_a_s` alone, or in `tau_o_s` as well where all windows begin at the same instant.
        k: Number of guesses.

    Returns:
        Seconds for `verb`, `noun` and `action`.

    Raises:
        ValueError: If there is no table.
        PredictionError: If segments, true actions, vocabulary or protocols differ, two tables have the same
            anticipation time, or a protocol has none.
    """
    if not tables:
        raise ValueError("a horizon curve needs at least one table")
    first = tables[0]
    times_s = [_tau_a_s(table) for table in tables]
    if len(set(times_s)) < len(times_s):
        raise PredictionError(f"two tables have the same anticipation time: {times_s} s; give one table for each")
    aligned = []
    for table in tables:
        if not _is_same_but_for_tau_a(table.protocol, first.protocol):
            raise PredictionError(
                f"protocols differ in more than the anticipation time: {first.protocol} and {table.protocol}"
            )
        if table.taxonomy.digest != first.taxonomy.digest:
            raise PredictionError(f"different vocabularies: {first.taxonomy.digest} and {table.taxonomy.digest}")
        aligned.append(table.matched_to(first))
    outcomes = [field_outcomes(table) for table in aligned]
    return {
        field: time_to_action(np.stack([outcome[field].hits(k) for outcome in outcomes], axis=1), times_s)
        for field in FIELDS
    }


def _is_same_but_for_tau_a(one: dict[str, float | str], other: dict[str, float | str]) -> bool:
    """Return whether two windows have the same length, or the same first instant, and all else alike."""
    times = ("tau_a_s", "tau_o_s")
    if any(one.get(name) != other.get(name) for name in {*one, *other} if name not in times):
        return False
    if one.get("tau_o_s") == other.get("tau_o_s"):
        return True
    starts_s = [sum(float(each[name]) for name in times) for each in (one, other)]
    return abs(starts_s[0] - starts_s[1]) < TIME_TOLERANCE_S


def _tau_a_s(table: Predictions) -> float:
    if "tau_a_s" not in table.protocol:
        raise PredictionError(f"{table.protocol}: no anticipation time, so no place on a horizon curve")
    return float(table.protocol["tau_a_s"])
