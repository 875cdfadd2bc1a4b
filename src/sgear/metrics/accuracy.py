"""Top-k hits and accuracy, with ties that favour nobody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.arrays import takes_tensors
from sgear.metrics.ranks import target_ranks


def check_k(k: int, num_classes: int) -> None:
    """Raise if there are not k classes to choose.

    Raises:
        ValueError: If k is outside [1, K].
    """
    if not 1 <= k <= num_classes:
        raise ValueError(f"k={k} must be in [1, {num_classes}]")


@takes_tensors
def top_k_hits(scores: NDArray[np.floating], targets: NDArray[np.int64], *, k: int) -> NDArray[np.bool_]:
    """Return for each sample whether its target is among the k best scores.

    Args:
        scores: Any ranking [M K], higher is likelier.
        targets: Class of each sample [M], in [0, K).
        k: Number of guesses, in [1, K].

    Returns:
        Hits [M].

    Raises:
        ValueError: If shapes or k do not fit.
        PredictionError: If a score is NaN.
    """
    ranks = target_ranks(scores, targets)
    check_k(k, scores.shape[1])
    return ranks < k


@takes_tensors
def top_k_accuracy(scores: NDArray[np.floating], targets: NDArray[np.int64], *, k: int) -> float:
    """Return the share of samples whose target is among the k best scores, in [0, 1].

    Raises:
        ValueError: If there is no sample, or shapes or k do not fit.
        PredictionError: If a score is NaN.

    Example:
        >>> top_k_accuracy(np.eye(3), np.array([0, 1, 1]), k=1)
        0.6666666666666666
    """
    if not len(targets):
        raise ValueError("accuracy of no samples is undefined")
    return float(top_k_hits(scores, targets, k=k).mean())
