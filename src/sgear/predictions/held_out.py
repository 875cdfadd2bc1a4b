"""What is chosen on held-out segments, never on those that are reported: fusion weights and the strength of a prior.

Weights chosen on the reported split fit its noise: with recall averaged over hundreds of classes of one or two
segments, a search gains tenths of a point for nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics import metrics, target_ranks
from sgear.predictions.fusion import Rule, addend_of, align, combine, late_fuse, parts_of
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field

_MAX_ROUNDS = 10
Weights = tuple[float, ...]


@dataclass(frozen=True)
class WeightSearch:
    """Result of `search_weights`.

    Args:
        weights: Best weights, summing to 1.
        score: Their score on the held-out segments, in [0, 1].
        tried: All weights with their scores, in the order in which they were tried.
        metric: What was maximized.
        field: Of which field.
        num_segments: Number of held-out segments.
        uids_digest: First 16 hex digits of the SHA-256 of their sorted uids.
    """

    weights: Weights
    score: float
    tried: tuple[tuple[Weights, float], ...]
    metric: str
    field: Field
    num_segments: int
    uids_digest: str

    def to_dict(self) -> dict[str, object]:
        """Return what a prediction file says about the search."""
        return {
            "weights": list(self.weights),
            "score": self.score,
            "metric": self.metric,
            "field": self.field,
            "num_tried": len(self.tried),
            "held_out_segments": self.num_segments,
            "held_out_uids": self.uids_digest,
        }


def search_weights(
    held_out: Sequence[Predictions],
    *,
    metric: str = "recall5",
    rule: Rule = "probs",
    num_steps: int = 20,
    field: Field = "action",
) -> WeightSearch:
    """Find the fusion weights that score best on held-out segments.

    Two or three tables: every point of the simplex in steps of 1 / num_steps. More: coordinate ascent from the best of
    equal weights and single tables, one weight at a time over the same steps, the others keeping their proportions,
    until nothing improves. Of equal scores the most even weights win. Deterministic.

    Args:
        held_out: Predictions of the models to fuse, on segments that will not be reported; with labels.
        metric: Name of what is maximized, one of `sgear.metrics.metrics()`.
        rule: Rule of the fusion.
        num_steps: Steps per weight.
        field: Field whose score is maximized.

    Returns:
        The weights, their score and all that was tried.

    Raises:
        ValueError: If there are fewer than two tables or no step.
        PredictionError: If the tables do not belong together or have no labels.
    """
    if len(held_out) < 2 or num_steps < 1:
        raise ValueError(f"expected at least 2 tables and 1 step, got {len(held_out)} and {num_steps}")
    tables = align(held_out)
    targets = tables[0].field_targets(field)
    if not len(targets):
        raise PredictionError("there are no held-out segments to search on")
    tried: dict[Weights, float] = {}

    def try_all(candidates: Sequence[Weights]) -> Weights:
        new = [weights for weights in dict.fromkeys(candidates) if weights not in tried]
        tried.update(zip(new, _scores(tables, targets, new, metric, rule, field), strict=True))
        return max(tried, key=lambda weights: (tried[weights], -sum(weight**2 for weight in weights), weights))

    if len(tables) <= 3:
        best = try_all(_simplex(len(tables), num_steps))
    else:
        equal = (1 / len(tables),) * len(tables)
        best = try_all([equal, *(tuple(map(float, row)) for row in np.eye(len(tables)))])
        for _ in range(_MAX_ROUNDS):
            before = best
            for place in range(len(tables)):
                best = try_all([_with(best, place, step / num_steps) for step in range(num_steps + 1)])
            if best == before:
                break
    digest = hashlib.sha256("\n".join(sorted(tables[0].uids)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return WeightSearch(best, tried[best], tuple(tried.items()), metric, field, len(targets), digest)


def fuse_with_search(
    reported: Sequence[Predictions],
    held_out: Sequence[Predictions],
    *,
    metric: str = "recall5",
    rule: Rule = "probs",
    num_steps: int = 20,
    fields: Sequence[Field] = ("action",),
) -> tuple[Predictions, Mapping[Field, WeightSearch]]:
    """Search weights on held-out predictions and fuse the reported ones of the same models with them.

    Args:
        reported: Predictions to fuse.
        held_out: Predictions of the same models in the same order on other segments.
        metric: See `search_weights`.
        rule: See `late_fuse`.
        num_steps: See `search_weights`.
        fields: Fields with a search of their own; the others take the weights of `action`, which is always searched.

    Returns:
        The fused table, whose provenance says where its weights were found, and the searches.

    Raises:
        ValueError: If the numbers of tables differ or are too small.
        PredictionError: If a segment is in both, or tables do not belong together.
    """
    if len(reported) != len(held_out):
        raise ValueError(f"{len(reported)} tables to fuse but {len(held_out)} held-out tables; give one per model")
    seen, told = ({uid for table in tables for uid in table.uids} for tables in (held_out, reported))
    shared = sorted(seen & told)
    if shared:
        raise PredictionError(
            f"{len(shared)} segments are in the held-out and in the reported predictions, first {shared[0]!r}; weights "
            "found on what is reported are fitted to its noise. Search on another split, for example on training "
            "videos that were held out."
        )
    for one, other in zip(reported, held_out, strict=True):
        one.check_comparable(other, any_window=True)
    searches: dict[Field, WeightSearch] = {
        name: search_weights(held_out, metric=metric, rule=rule, num_steps=num_steps, field=name)
        for name in dict.fromkeys(("action", *fields))
    }
    fused = late_fuse(
        reported,
        searches["action"].weights,
        rule=rule,
        field_weights={name: search.weights for name, search in searches.items() if name != "action"},
        notes={"weights_searched_on": {name: search.to_dict() for name, search in searches.items()}},
    )
    return fused, searches


def _simplex(num_tables: int, num_steps: int) -> list[Weights]:
    grid = itertools.product(range(num_steps + 1), repeat=num_tables)
    return [tuple(step / num_steps for step in steps) for steps in grid if sum(steps) == num_steps]


def _with(weights: Weights, place: int, value: float) -> Weights:
    """Set one weight; the others share the rest as before, or evenly if they had nothing."""
    others = sum(weight for index, weight in enumerate(weights) if index != place)
    scale = (1 - value) / others if others > 0 else 0.0
    even = (1 - value) / (len(weights) - 1)
    return tuple(
        value if index == place else (weight * scale if others > 0 else even) for index, weight in enumerate(weights)
    )


def _scores(
    tables: Sequence[Predictions],
    targets: NDArray[np.int64],
    candidates: Sequence[Weights],
    metric: str,
    rule: Rule,
    field: Field,
) -> list[float]:
    num_classes = len(tables[0].taxonomy.names(field))
    chosen = metrics()[metric]
    values = np.zeros((len(candidates), len(targets)))
    addend = addend_of(tables, field, rule)
    for rows, parts in parts_of(tables, field, addend):
        for index, weights in enumerate(candidates):
            fused = combine(parts, np.asarray(weights), addend)
            values[index, rows] = chosen.compute(target_ranks(fused, targets[rows]), num_classes)
    if not chosen.class_mean:
        return [float(row.mean()) for row in values]
    counts = np.bincount(targets, minlength=num_classes)
    # Every class that occurs has the same weight, however many segments it has.
    share = 1.0 / (counts[targets] * np.count_nonzero(counts))
    # One row at a time, without what is 0: equal values then give equal sums to the last bit, and ties are ties.
    return [float((share * row)[row != 0].sum()) for row in values]


STRENGTHS = tuple(np.round(np.arange(0.1, 1.55, 0.1), 2).tolist())
FLOORS = (1.0, 3.0, 10.0)
OFFSETS = (-2.0, -1.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """How the scores of a field are moved.

    Args:
        tau: Strength: 0 changes nothing, 1 divides the whole prior out.
        floor: Classes of fewer training samples count as if they had so many.
        offset: Added to the scores of classes without any training sample.
        score: What the chosen metric was with it, on held-out people; in [0, 1].
    """

    tau: float = 0.0
    floor: float = 1.0
    offset: float = 0.0
    score: float = 0.0


def adjust(logits: NDArray[np.floating], counts: NDArray[np.int64], adjustment: Adjustment) -> NDArray[np.float32]:
    """Return logits [M K] - tau log(max(count, floor)), with the offset added where a count is 0.

    Args:
        logits: Scores [M K]; log-probabilities do too.
        counts: Training samples of each class [K].
        adjustment: Strength, floor and offset.

    Source:
        Menon et al., Long-tail learning via logit adjustment (ICLR 2021), with a floor.
    """
    prior = np.log(np.maximum(counts, adjustment.floor))
    moved = logits - adjustment.tau * prior + adjustment.offset * (counts == 0)
    return moved.astype(np.float32)


def choose_adjustment(
    logits: NDArray[np.floating],
    targets: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    metric: str = "recall5",
) -> Adjustment:
    """Return the adjustment that is best on held-out samples; of equal ones the weakest.

    Strength and floor are chosen first, then the offset, whose classes are those without samples in `counts`.

    Args:
        logits: Scores of held-out samples [M K].
        targets: Their classes [M].
        counts: Samples of each class in what the model was trained on [K].
        metric: What is maximized, one of `metrics()`.
    """
    chosen, num_classes = metrics()[metric], len(counts)

    def scored(adjustment: Adjustment) -> Adjustment:
        ranks = target_ranks(adjust(logits, counts, adjustment), targets)
        return replace(adjustment, score=chosen.score(ranks, targets, num_classes))

    best = scored(Adjustment())
    # `max` keeps the first of equal ones.
    best = max(
        [best, *(scored(Adjustment(tau=tau, floor=floor)) for tau in STRENGTHS for floor in FLOORS)],
        key=attrgetter("score"),
    )
    # Without a held-out sample of a class that training never showed, nothing says what such a class is worth.
    if (counts[targets] == 0).any():
        offsets = [scored(replace(best, offset=offset)) for offset in OFFSETS]
        best = max([best, *offsets], key=attrgetter("score"))
    return best


def _field_scores(predictions: Predictions, field: Field) -> NDArray[np.floating]:
    if field == "action":
        return predictions.logits
    # log(p): summed action probabilities may be 0, and a rank among zeros says nothing.
    return np.log(np.maximum(predictions.field_probs(field), 1e-30))


def _field_counts(predictions: Predictions, field: Field, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    ids = predictions.taxonomy.ids_of_action(field)
    return np.bincount(ids, weights=counts, minlength=len(predictions.taxonomy.names(field))).astype(np.int64)


def rebalance(
    predictions: Predictions,
    counts: NDArray[np.int64],
    held_out: Predictions,
    held_out_counts: NDArray[np.int64],
    *,
    metric: str = "recall5",
) -> tuple[Predictions, Mapping[Field, Adjustment]]:
    """Return predictions with each field adjusted as is best on held-out people.

    Args:
        predictions: What is to be adjusted.
        counts: Samples of each action in what its model was trained on [A].
        held_out: Predictions of the same kind of model, trained without some training people, for those people.
        held_out_counts: Samples of each action in what that model was trained on [A].
        metric: What is maximized, one of `metrics()`.

    Raises:
        PredictionError: If the vocabularies differ, segments are in both, or the held-out ones have no labels.
    """
    if held_out.taxonomy.digest != predictions.taxonomy.digest:
        raise PredictionError("the held-out predictions have another vocabulary; train both on the same data set")
    if both := set(held_out.uids) & set(predictions.uids):
        raise PredictionError(
            f"{len(both)} segments, e.g. {min(both)!r}, are in both files: an adjustment must not be chosen on what is "
            "reported. Choose it on a run with dataset.num_folds, which validates on held-out training people"
        )
    chosen: dict[Field, Adjustment] = {}
    adjusted: dict[Field, NDArray[np.float32]] = {}
    for field in FIELDS:
        chosen[field] = choose_adjustment(
            _field_scores(held_out, field),
            held_out.field_targets(field),
            _field_counts(held_out, field, held_out_counts),
            metric=metric,
        )
        adjusted[field] = adjust(
            _field_scores(predictions, field), _field_counts(predictions, field, counts), chosen[field]
        )
    notes = {"metric": metric, **{field: asdict(adjustment) for field, adjustment in chosen.items()}}
    table = replace(
        predictions,
        logits=adjusted["action"],
        verb_logits=adjusted["verb"],
        noun_logits=adjusted["noun"],
        provenance={**predictions.provenance, "rebalanced": notes},
    )
    return table, chosen
