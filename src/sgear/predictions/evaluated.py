"""Which samples of a table its score counts: one rule for reports, their checks and comparisons.

Every sample counts, but for the vjepa protocol, whose published numbers leave out actions that training never shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.predictions.scoring import Subsets
from sgear.predictions.table import Predictions
from sgear.timing import VJepaProtocol


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
