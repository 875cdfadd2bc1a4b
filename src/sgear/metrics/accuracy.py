"""Top-k hits and accuracy, with ties that favour nobody.

A class is in the top k if fewer than k classes score higher, counting half of its ties as higher. Constant scores
therefore earn neither the highest nor the lowest ids a hit by their position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError


def check_scores(scores: NDArray[np.floating], targets: NDArray[np.int64], k: int) -> None:
    """Raise if scores and targets do not fit each other.

    Raises:
        ValueError: If shapes disagree, k is outside [1, K], or a target is outside [0, K).
        PredictionError: If a score is NaN.
    """
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise ValueError(f"expected scores [M K] and targets [M], got {scores.shape} and {targets.shape}")
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k={k} must be in [1, {scores.shape[1]}]")
    if len(targets) and not (targets.min() >= 0 and targets.max() < scores.shape[1]):
        raise ValueError(f"targets must be in [0, {scores.shape[1]}), got {targets.min()}..{targets.max()}")
    rows = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(rows):
        raise PredictionError(f"{len(rows)} of {len(scores)} samples have a NaN score, the first is row {rows[0]}")


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
    check_scores(scores, targets, k)
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    higher = (scores > own).sum(axis=1)
    ties = (scores == own).sum(axis=1) - 1
    return higher + (ties + 1) // 2 < k


def top_k_accuracy(scores: NDArray[np.floating], targets: NDArray[np.int64], *, k: int) -> float:
    """Return the share of samples whose target is among the k best scores, in [0, 1].

    Raises:
        ValueError: If there is no sample, or shapes or k do not fit.

    Example:
        >>> top_k_accuracy(np.eye(3), np.array([0, 1, 1]), k=1)
        0.6666666666666666
    """
    if not len(targets):
        raise ValueError("accuracy of no samples is undefined")
    return float(top_k_hits(scores, targets, k=k).mean())
