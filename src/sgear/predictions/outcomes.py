"""How each sample came out in each field: the small table from which every score is an average.

A hit depends on its sample alone. Subsets, bootstrap resamples and comparisons average the same hits anew and never
look at the scores again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics.probabilities import Grouping, softmax_pass
from sgear.metrics.ranks import target_ranks
from sgear.predictions.table import Predictions
from sgear.taxonomy import FIELDS, Field


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


def own_scores(predictions: Predictions, field: Field) -> NDArray[np.float32] | None:
    """Return the logits of a field's own head [M K]; None where the field is summed from action probabilities."""
    return {"verb": predictions.verb_logits, "noun": predictions.noun_logits, "action": predictions.logits}[field]


def field_outcomes(predictions: Predictions) -> dict[Field, Outcome]:
    """Return the outcome of each field: of its own head, or by summed action probabilities.

    Raises:
        PredictionError: If the true actions are not known, or there is no sample.
    """
    if not len(predictions):
        raise PredictionError("a table without any sample has no score; predict at least one segment")
    taxonomy = predictions.taxonomy
    targets = {field: predictions.field_targets(field) for field in FIELDS}
    summed: list[Field] = [field for field in FIELDS if own_scores(predictions, field) is None]
    groupings = [Grouping(taxonomy.ids_of_action(field), len(taxonomy.names(field))) for field in summed]
    of_actions = softmax_pass(predictions.logits, predictions.targets, groupings)
    outcomes: dict[Field, Outcome] = {}
    for field in FIELDS:
        own = own_scores(predictions, field)
        if own is None:
            index = summed.index(field)
            ranks, confidence = of_actions.part_ranks[index], of_actions.part_confidence[index]
        else:
            ranks = target_ranks(own, targets[field])
            confidence = of_actions.confidence if field == "action" else softmax_pass(own, targets[field]).confidence
        outcomes[field] = Outcome(targets[field], ranks, confidence, len(taxonomy.names(field)))
    return outcomes
