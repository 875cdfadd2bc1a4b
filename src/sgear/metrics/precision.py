"""Precision per class, and its mean over frequent classes: what the EPIC-KITCHENS-55 server adds to recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.arrays import takes_tensors
from sgear.metrics.ranks import check_targets
from sgear.metrics.recall import mean_of_present


@takes_tensors
def precision_per_class(
    scores: NDArray[np.floating], targets: NDArray[np.int64], *, tie_tolerance: float = 0.0
) -> NDArray[np.float64]:
    """Return how often a class is right where it has the best score.

    Where m classes tie for the best, each is guessed by 1/m and none is right, as in top-1 accuracy.

    Args:
        scores: Any ranking [M K] without NaN, higher is likelier.
        targets: Class of each sample [M], in [0, K).
        tie_tolerance: Share of the best score by which a tied score may stand below it, for sums that were rounded.

    Returns:
        Precision of each class [K]: 0 for a class that is present but never guessed, NaN for one without samples.

    Raises:
        ValueError: If shapes disagree or a target is outside [0, K).
    """
    check_targets(scores, targets)
    num_classes = scores.shape[1]
    best = scores.max(axis=1, keepdims=True)
    is_best = scores >= best - tie_tolerance * np.abs(best)
    num_best = is_best.sum(axis=1)
    rows, classes = np.nonzero(is_best)
    guessed = np.bincount(classes, weights=1.0 / num_best[rows], minlength=num_classes)
    is_right = is_best[np.arange(len(targets)), targets] & (num_best == 1)
    right = np.bincount(targets, weights=is_right, minlength=num_classes)
    precision = right / np.where(guessed > 0, guessed, 1.0)
    return np.where(np.bincount(targets, minlength=num_classes) > 0, precision, np.nan)


@takes_tensors
def class_mean_precision(
    scores: NDArray[np.floating],
    targets: NDArray[np.int64],
    *,
    classes: NDArray[np.int64] | None = None,
    tie_tolerance: float = 0.0,
) -> float:
    """Average the top-1 precision over the classes present in `targets`.

    Guesses on samples of all classes count: `classes` narrows the average alone.

    Args:
        scores: Any ranking [M K] without NaN, higher is likelier.
        targets: Class of each sample [M], in [0, K).
        classes: Classes to average over, e.g. the many-shot classes of EPIC-KITCHENS-55. Default: all present.
        tie_tolerance: See `precision_per_class`.

    Returns:
        Precision in [0, 1].

    Raises:
        ValueError: If shapes disagree, or no target falls in `classes`.

    Source:
        epic-kitchens/epic-kitchens-55-lib@54bf275, epic_kitchens/metrics.py: macro mean of top-1 precision over the
        many-shot classes that occur in the labels; a class never guessed has 0.

    Example:
        >>> class_mean_precision(np.eye(3)[[0, 0, 2]], np.array([0, 1, 2]))
        0.5
    """
    return mean_of_present(precision_per_class(scores, targets, tie_tolerance=tie_tolerance), classes)
