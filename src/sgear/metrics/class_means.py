"""Means over classes: recall, the headline of EPIC-KITCHENS-100, and precision, which EPIC-KITCHENS-55 adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.ranks import check_targets, takes_tensors, top_k_hits


def mean_per_class(values: NDArray, targets: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Average a value of each sample over the samples of each class.

    Args:
        values: Hit (0 or 1), or any number, of each sample [M].
        targets: Class of each sample [M], in [0, num_classes).
        num_classes: Number of classes K.

    Returns:
        Means [K], NaN for a class without samples.
    """
    counts = np.bincount(targets, minlength=num_classes)
    sums = np.bincount(targets, weights=values, minlength=num_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def mean_of_present(per_class: NDArray[np.float64], classes: NDArray[np.int64] | None = None) -> float:
    """Average over classes, leaving out those without samples (NaN).

    Args:
        per_class: A number for each class [K], NaN where there is none.
        classes: Classes to average over. Default: all.

    Raises:
        ValueError: If no class is left.
    """
    chosen = per_class if classes is None else per_class[classes]
    present = chosen[~np.isnan(chosen)]
    if not len(present):
        raise ValueError("no sample belongs to the classes to average over")
    return float(present.mean())


@takes_tensors
def recall_per_class(scores: NDArray[np.floating], targets: NDArray[np.int64], *, k: int = 5) -> NDArray[np.float64]:
    """Return the top-k recall of each class, NaN for a class without samples.

    Args:
        scores: Any ranking [M K], higher is likelier.
        targets: Class of each sample [M], in [0, K).
        k: Number of guesses, in [1, K].

    Returns:
        Recall of each class [K], in [0, 1] or NaN.

    Raises:
        ValueError: If shapes or k do not fit.
        PredictionError: If a score is NaN.
    """
    return mean_per_class(top_k_hits(scores, targets, k=k), targets, scores.shape[1])


@takes_tensors
def class_mean_recall(
    scores: NDArray[np.floating],
    targets: NDArray[np.int64],
    *,
    k: int = 5,
    classes: NDArray[np.int64] | None = None,
) -> float:
    """Average over classes the share of samples whose class is among the k best scores.

    Only classes present in `targets` count: a class never seen has no recall. `classes` narrows the average, never
    the candidates, so a restricted score stays comparable.

    Args:
        scores: Any ranking [M K], higher is likelier; logits and probabilities give the same result.
        targets: Class of each sample [M], in [0, K).
        k: Number of guesses, in [1, K].
        classes: Classes to average over, e.g. the many-shot classes of EPIC-KITCHENS-55. Default: all present.

    Returns:
        Recall in [0, 1].

    Raises:
        ValueError: If k > K, or no target falls in `classes`.
        PredictionError: If a score is NaN.

    Source:
        EPIC-KITCHENS-100 anticipation challenge, mean top-5 recall; with `classes`, the mean top-5 recall over
        many-shot classes of fpv-iplab/rulstm (RULSTM/utils.py, `topk_recall`).

    Example:
        >>> class_mean_recall(np.eye(3), np.array([0, 1, 1]), k=1)
        0.75
    """
    return mean_of_present(recall_per_class(scores, targets, k=k), classes)


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
