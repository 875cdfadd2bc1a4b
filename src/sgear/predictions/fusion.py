"""Late fusion: a weighted sum of the scores of several models on the same segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgear.errors import PredictionError
from sgear.predictions.table import Predictions


def late_fuse(tables: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """Average the probabilities of several models, joined strictly by uid.

    Args:
        tables: Predictions of the same segments under the same protocol and vocabulary.
        weights: One weight per table, not negative, not all 0; they are scaled to sum to 1.

    Returns:
        The fused table, in the order of the first; its logits are log probabilities.

    Raises:
        ValueError: If the weights do not fit the tables.
        PredictionError: If segments, targets, protocol or vocabulary differ.
    """
    if len(tables) != len(weights) or not tables:
        raise ValueError(f"expected one weight per table, got {len(weights)} weights for {len(tables)} tables")
    share = np.asarray(weights, dtype=np.float64)
    if (share < 0).any() or share.sum() <= 0:
        raise ValueError(f"weights must not be negative and not all 0, got {list(weights)}")
    share = share / share.sum()
    first = tables[0]
    aligned = [first]
    for table in tables[1:]:
        first.check_comparable(table)
        aligned.append(table.aligned_to(first.uids))
        if not np.array_equal(aligned[-1].targets, first.targets):
            raise PredictionError("the tables disagree about the true actions; they come from different annotations")
    probs = sum(weight * table.probs for weight, table in zip(share, aligned, strict=True))
    return Predictions(
        uids=first.uids,
        logits=np.log(np.maximum(probs, 1e-30)).astype(np.float32),
        targets=first.targets,
        taxonomy=first.taxonomy,
        protocol=first.protocol,
        provenance={"fusion": [table.provenance for table in tables], "weights": share.tolist()},
    )
