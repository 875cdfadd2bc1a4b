"""Scores that fit class means: the prior of the training split, divided out as far as held-out people say.

A model trained on a long tail says what is frequent, and a class-mean counts each class alike. `logit - tau log(count)`
moves it from one to the other; what accuracy loses is shown beside it. Strength, floor and the offset of classes that
training never showed are chosen on predictions for held-out *training* people, never on the split that is reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics import metrics
from sgear.metrics.ranks import target_ranks
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field

STRENGTHS = tuple(np.round(np.arange(0.0, 1.55, 0.1), 2).tolist())
FLOORS = (1.0, 3.0, 10.0)
OFFSETS = (0.0, -2.0, -1.0, 1.0, 2.0, 3.0)


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
    strengths: Sequence[float] = STRENGTHS,
    floors: Sequence[float] = FLOORS,
    offsets: Sequence[float] = OFFSETS,
) -> Adjustment:
    """Return the adjustment that is best on held-out samples; of equal ones the weakest.

    Strength and floor are chosen first, then the offset, whose classes are those without samples in `counts`.

    Args:
        logits: Scores of held-out samples [M K].
        targets: Their classes [M].
        counts: Samples of each class in what the model was trained on [K].
        metric: What is maximized, one of `metrics()`.
        strengths: Choices of tau.
        floors: Choices of the floor.
        offsets: Choices of the offset.
    """
    chosen, num_classes = metrics()[metric], len(counts)

    def scored(adjustment: Adjustment) -> Adjustment:
        ranks = target_ranks(adjust(logits, counts, adjustment), targets)
        return replace(adjustment, score=chosen.score(ranks, targets, num_classes))

    best = scored(Adjustment())
    trials = (Adjustment(tau=tau, floor=floor) for tau, floor in itertools.product(strengths, floors) if tau > 0)
    for trial in trials:
        found = scored(trial)
        best = found if found.score > best.score else best
    # Without a held-out sample of a class that training never showed, nothing says what such a class is worth.
    if (counts[targets] == 0).any():
        for offset in offsets:
            found = scored(replace(best, offset=offset))
            best = found if found.score > best.score else best
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
