"""The rank of the true class in each row of scores: one pass over a table, from which every top-k number follows.

Ties favour nobody. Half of the classes that tie with the true one count as better, so constant scores earn neither the
highest nor the lowest ids a hit by their position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from sgear.errors import PredictionError

P = ParamSpec("P")
R = TypeVar("R")


def takes_tensors(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of numpy arrays take tensors as well, of any device, with or without gradients.

    Numbers of half precision become float32, so that sums over many of them are not rounded at every step.
    """
    of_arrays: Callable[..., R] = function

    @wraps(function)
    def of_any(*args: P.args, **kwargs: P.kwargs) -> R:
        return of_arrays(*map(_as_array, args), **{name: _as_array(value) for name, value in kwargs.items()})

    return of_any


def _as_array(value: Any) -> Any:
    """Return a tensor as an array, half precision as float32, and anything else as it is."""
    # Known by its methods, so that metrics of arrays need no torch.
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() and value.itemsize < 4 else value).numpy()
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value


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
