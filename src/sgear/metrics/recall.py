"""Class-mean top-k recall, the headline metric of EPIC-KITCHENS-100 anticipation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.accuracy import top_k_hits


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
    """
    num_classes = scores.shape[1]
    hits = top_k_hits(scores, targets, k=k)
    counts = np.bincount(targets, minlength=num_classes)
    found = np.bincount(targets, weights=hits, minlength=num_classes)
    return np.where(counts > 0, found / np.maximum(counts, 1), np.nan)


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
        classes: Classes to average over, e.g. a many-shot set. Default: all present.

    Returns:
        Recall in [0, 1].

    Raises:
        ValueError: If k > K, or no target falls in `classes`.

    Source:
        EPIC-KITCHENS-100 anticipation challenge, mean top-5 recall.

    Example:
        >>> class_mean_recall(np.eye(3), np.array([0, 1, 1]), k=1)
        0.75
    """
    recalls = recall_per_class(scores, targets, k=k)
    if classes is not None:
        recalls = recalls[classes]
    present = recalls[~np.isnan(recalls)]
    if not len(present):
        raise ValueError("no sample belongs to the classes to average over")
    return float(present.mean())
