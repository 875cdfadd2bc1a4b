"""The rank of the true class in each row of scores: one pass over a table, from which every top-k number follows.

Ties favour nobody. Half of the classes that tie with the true one count as better, so constant scores earn neither the
highest nor the lowest ids a hit by their position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics.arrays import takes_tensors

# A block of scores and its flags fit the second-level cache of one core.
_SCORES_AT_ONCE = 1 << 18


def check_targets(scores: NDArray[np.floating], targets: NDArray[np.int64]) -> None:
    """Raise if scores and targets do not fit each other.

    Raises:
        ValueError: If shapes disagree or a target is outside [0, K).
    """
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"expected scores [M K] and targets [M], got {scores.shape} and {targets.shape}")
    if len(targets) and not (targets.min() >= 0 and targets.max() < scores.shape[1]):
        raise ValueError(f"targets must be in [0, {scores.shape[1]}), got {targets.min()}..{targets.max()}")


@takes_tensors
def target_ranks(scores: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes stand before the true one, counting half of its ties.

    A sample is a top-k hit if its rank is below k. Scores are compared, never added, so logits and probabilities,
    float32 and float64 give the same ranks as long as they have the same order.

    Args:
        scores: Any ranking [M K], higher is likelier.
        targets: Class of each sample [M], in [0, K).

    Returns:
        Ranks [M]; 0 is best.

    Raises:
        ValueError: If shapes disagree or a target is outside [0, K).
        PredictionError: If a score is NaN.

    Example:
        >>> target_ranks(np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.3]]), np.array([2, 2]))
        array([1, 1])
    """
    check_targets(scores, targets)
    num_samples, num_classes = scores.shape
    num_rows = max(1, _SCORES_AT_ONCE // num_classes)
    ranks = np.empty(num_samples, dtype=np.int64)
    is_nan = np.empty(num_samples, dtype=np.bool_)
    flags = np.zeros((min(num_rows, num_samples), -(-num_classes // 8) * 8), dtype=np.bool_)
    for start in range(0, num_samples, num_rows):
        rows = slice(start, min(start + num_rows, num_samples))
        part, flag = scores[rows], flags[: rows.stop - start]
        own = part[np.arange(len(part)), targets[rows]][:, None]
        is_nan[rows] = np.isnan(part.max(axis=1))
        np.greater(part, own, out=flag[:, :num_classes])
        better = _count_per_row(flag)
        np.greater_equal(part, own, out=flag[:, :num_classes])
        # better + half of the ties, where ties + self = (at least as good) - better.
        ranks[rows] = (better + _count_per_row(flag)) // 2
    bad = np.flatnonzero(is_nan)
    if len(bad):
        raise PredictionError(f"{len(bad)} of {num_samples} samples have a NaN score, the first is row {bad[0]}")
    return ranks


def _count_per_row(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of true flags of each row; rows are a multiple of 8 long."""
    # Eight flags are added at a time, as the bytes of one integer: no byte overflows in 255 additions, and it is
    # several times faster than the sum of booleans.
    lanes = flags.view(np.uint64)
    total = np.zeros(len(flags), dtype=np.int64)
    for first in range(0, lanes.shape[1], 255):
        bytes_of_sum = lanes[:, first : first + 255].sum(axis=1).view(np.uint8)
        total += bytes_of_sum.reshape(-1, 8).sum(axis=1, dtype=np.int64)
    return total
