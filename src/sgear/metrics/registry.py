"""Scores over anticipation times, and how early the right answer first appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.class_means import mean_of_present, mean_per_class
from sgear.metrics.ranks import takes_tensors


@dataclass(frozen=True)
class HorizonScores:
    """Scores of one field at several anticipation times, from far to near.

    Args:
        tau_a_s: Anticipation times in seconds [H], descending.
        top1: Top-1 accuracy [H].
        top5: Top-5 accuracy [H].
        recall5: Class-mean top-5 recall [H].
        time_to_action1_s: Time to action by the best class, in seconds.
        time_to_action5_s: Time to action by the five best classes, in seconds.
    """

    tau_a_s: NDArray[np.float64]
    top1: NDArray[np.float64]
    top5: NDArray[np.float64]
    recall5: NDArray[np.float64]
    time_to_action1_s: float
    time_to_action5_s: float


@takes_tensors
def time_to_action(hits: NDArray[np.bool_], tau_a_s: Sequence[float] | NDArray[np.floating]) -> float:
    """Return how long before its start an action is first foretold, on average over samples.

    A sample counts with the longest anticipation time at which it is a hit, even if a later answer is wrong again,
    and with 0 if it never is.

    Args:
        hits: Whether each sample is right at each anticipation time [M H], e.g. top-5 hits.
        tau_a_s: Anticipation times in seconds [H], in any order.

    Returns:
        Seconds, in [0, longest anticipation time].

    Raises:
        ValueError: If shapes disagree, there is no sample or time, or a time is not positive or occurs twice.

    Source:
        TtA(k) of Furnari and Farinella, Rolling-Unrolling LSTMs (PAMI 2020); `tta` in fpv-iplab/rulstm@41cfb73,
        RULSTM/utils.py, which is TtA(5) at 2.0, 1.75, ..., 0.25 s.

    Example:
        >>> time_to_action(np.array([[True, False], [False, True], [False, False]]), [2.0, 1.0])
        1.0
    """
    times_s = np.asarray(tau_a_s, dtype=np.float64)
    if hits.ndim != 2 or hits.shape[1:] != times_s.shape or not hits.size:
        raise ValueError(f"expected hits [M H] and tau_a_s [H], got {hits.shape} and {times_s.shape}")
    if not (times_s > 0).all() or len(np.unique(times_s)) < len(times_s):
        raise ValueError(f"anticipation times must be positive and different, got {times_s.tolist()}")
    return float(np.where(hits, times_s, 0.0).max(axis=1).mean())


@takes_tensors
def horizon_scores(
    ranks: NDArray[np.int64],
    targets: NDArray[np.int64],
    tau_a_s: Sequence[float] | NDArray[np.floating],
    *,
    num_classes: int,
) -> HorizonScores:
    """Return the scores at each anticipation time, and the time to action.

    Args:
        ranks: Rank of the true class of each sample at each anticipation time [M H]; see `target_ranks`.
        targets: Class of each sample [M].
        tau_a_s: Anticipation times in seconds [H], in any order.
        num_classes: Number of classes K.

    Raises:
        ValueError: If shapes disagree, there is no sample or time, or a time is not positive or occurs twice.
    """
    times_s = np.asarray(tau_a_s, dtype=np.float64)
    if ranks.shape != (*targets.shape, *times_s.shape):
        raise ValueError(f"expected ranks [M H], got {ranks.shape} for {targets.shape} samples, {times_s.shape} times")
    order = np.argsort(-times_s)
    times_s, first, fifth = times_s[order], ranks[:, order] < 1, ranks[:, order] < min(5, num_classes)
    to_action1_s, to_action5_s = time_to_action(first, times_s), time_to_action(fifth, times_s)
    recalls = [mean_of_present(mean_per_class(hits, targets, num_classes)) for hits in fifth.T]
    return HorizonScores(
        tau_a_s=times_s,
        top1=first.mean(axis=0),
        top5=fifth.mean(axis=0),
        recall5=np.array(recalls),
        time_to_action1_s=to_action1_s,
        time_to_action5_s=to_action5_s,
    )
