"""What needs probabilities: verbs and nouns as sums of actions, and whether a model that says 30 % is right so often.

`softmax_pass` writes nothing of the size of the table: each block of rows is turned into exponentials, summed, ranked
and forgotten. Exponentials and sums are float64; float32 sums could swap two verbs that are nearly equal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sgear.errors import PredictionError
from sgear.metrics.ranks import check_targets, takes_tensors


def membership(part_of_action: NDArray[np.int64], num_parts: int) -> csr_matrix:
    """Return the sparse matrix [num_parts A] that is 1 where an action has the part; its product sums over actions."""
    num_actions = len(part_of_action)
    ones = np.ones(num_actions)
    return csr_matrix((ones, (part_of_action, np.arange(num_actions))), shape=(num_parts, num_actions))


@takes_tensors
def marginalize(
    action_probs: NDArray[np.floating], part_of_action: NDArray[np.int64], num_parts: int
) -> NDArray[np.float64]:
    """Sum the probabilities of all actions that share a verb (or noun); a part without any action gets 0.

    Args:
        action_probs: Probabilities [M A].
        part_of_action: Verb (or noun) id of each action [A].
        num_parts: Number of verbs (or nouns).

    Returns:
        Probabilities [M num_parts]; each row has the sum of the row of `action_probs`.

    Raises:
        ValueError: If the number of actions differs.

    Source:
        RULSTM's rule (fpv-iplab/rulstm, utils.py), without its gift of P(action 0) to parts that have no action.
    """
    if action_probs.shape[1] != len(part_of_action):
        raise ValueError(f"{action_probs.shape[1]} action scores but {len(part_of_action)} actions in the taxonomy")
    member = membership(part_of_action, num_parts)
    sums = np.empty((len(action_probs), num_parts))
    num_rows = max(1, _SCORES_AT_ONCE // len(part_of_action))
    for start in range(0, len(sums), num_rows):
        rows = slice(start, start + num_rows)
        # Actions first: each sum then adds whole rows, which stand together in memory.
        sums[rows] = (member @ np.ascontiguousarray(action_probs[rows].T, dtype=np.float64)).T
    return sums


TIE_TOLERANCE = 1e-12
"""Share by which two summed probabilities may differ and still tie: the order of adding shall not rank classes."""

_SCORES_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Grouping:
    """Classes that are sums of others: the verbs (or nouns) of actions.

    Args:
        part_of_class: Part of each class [K], in [0, num_parts).
        num_parts: Number of parts.
    """

    part_of_class: NDArray[np.int64]
    num_parts: int


@dataclass(frozen=True)
class SoftmaxPass:
    """What `softmax_pass` finds.

    Args:
        confidence: Probability of the best class [M].
        part_ranks: For each grouping, the rank of the true part [M], with ties that favour nobody.
        part_confidence: For each grouping, the probability of the best part [M].
    """

    confidence: NDArray[np.float64]
    part_ranks: list[NDArray[np.int64]]
    part_confidence: list[NDArray[np.float64]]


def softmax_pass(
    logits: NDArray[np.floating], targets: NDArray[np.int64], groupings: Sequence[Grouping] = ()
) -> SoftmaxPass:
    """Return the confidence of each row, and where the true part stands among summed probabilities.

    Blocks of rows are shared among as many threads as torch is set to use.

    Args:
        logits: Scores before softmax [M K].
        targets: Class of each sample [M], in [0, K).
        groupings: Parts to sum over.

    Raises:
        ValueError: If shapes disagree or a target is outside [0, K).
        PredictionError: If a logit is NaN or positive infinity, or all of a row are negative infinity.
    """
    check_targets(logits, targets)
    for grouping in groupings:
        if len(grouping.part_of_class) != logits.shape[1]:
            raise ValueError(f"{logits.shape[1]} classes, but the grouping has {len(grouping.part_of_class)}")
    num_samples, num_classes = logits.shape
    result = SoftmaxPass(
        confidence=np.empty(num_samples),
        part_ranks=[np.empty(num_samples, dtype=np.int64) for _ in groupings],
        part_confidence=[np.empty(num_samples) for _ in groupings],
    )
    members = [membership(grouping.part_of_class, grouping.num_parts) for grouping in groupings]
    part_targets = [grouping.part_of_class[targets] for grouping in groupings]
    num_rows = max(1, _SCORES_AT_ONCE // num_classes)

    def fill(start: int) -> None:
        rows = slice(start, start + num_rows)
        part = logits[rows]
        highest = part.max(axis=1, keepdims=True)
        if not np.isfinite(highest).all():
            row = start + int(np.flatnonzero(~np.isfinite(highest[:, 0]))[0])
            raise PredictionError(f"row {row} has a score that is not finite; a softmax of it is undefined")
        exponentials = np.subtract(part, highest, dtype=np.float64)
        np.exp(exponentials, out=exponentials)
        total = exponentials.sum(axis=1)
        result.confidence[rows] = 1.0 / total
        if not members:
            return
        by_class = np.ascontiguousarray(exponentials.T)
        for index, member in enumerate(members):
            sums = member @ by_class
            own = sums[part_targets[index][rows], np.arange(len(part))]
            better = np.count_nonzero(sums > own * (1 + TIE_TOLERANCE), axis=0)
            not_worse = np.count_nonzero(sums >= own * (1 - TIE_TOLERANCE), axis=0)
            result.part_ranks[index][rows] = (better + not_worse) // 2
            result.part_confidence[index][rows] = sums.max(axis=0) / total

    starts = range(0, num_samples, num_rows)
    with ThreadPoolExecutor(_num_threads()) as pool:
        list(pool.map(fill, starts))
    return result


Binning = Literal["width", "mass"]
"""Bins of equal width in confidence, or of (nearly) equal numbers of samples."""


def _num_threads() -> int:
    # A command that only reads scores does not load torch, which takes longer than its work.
    if torch := sys.modules.get("torch"):
        return torch.get_num_threads()
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() and int(stated) else os.cpu_count() or 1


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, in bins of ascending confidence. Bins without samples are NaN but for `counts`.

    Args:
        counts: Number of samples of each bin [B].
        confidence: Mean confidence of each bin [B].
        accuracy: Share of right guesses of each bin [B].
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of accuracy and confidence, weighted by samples, in [0, 1]."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.average(gaps, weights=self.counts[filled]))

    @property
    def max_gap(self) -> float:
        """Largest distance of accuracy and confidence in any bin, in [0, 1]."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))


@takes_tensors
def reliability(
    confidence: NDArray[np.floating],
    is_right: NDArray[np.bool_],
    *,
    num_bins: int = 15,
    binning: Binning = "width",
) -> Reliability:
    """Compare the probability of the best class with how often it is right.

    Args:
        confidence: Probability of the best class of each sample [M], in [0, 1].
        is_right: Whether the best class is the true one [M].
        num_bins: Number of bins B.
        binning: `width`: bin b holds confidences in (b/B, (b+1)/B], the first one 0 too. `mass`: each bin holds M/B
            samples as far as equal confidences, which stay together, allow.

    Returns:
        Counts, mean confidence and accuracy of each bin.

    Raises:
        ValueError: If shapes disagree, there is no sample, a confidence is outside [0, 1], or there is no bin.

    Source:
        Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equations 2 and 3 and their 15 bins; bins of
        equal mass after Nguyen and O'Connor (EMNLP 2015).
    """
    if confidence.shape != is_right.shape or confidence.ndim != 1 or not len(confidence):
        raise ValueError(f"expected two equal non-empty arrays [M], got {confidence.shape} and {is_right.shape}")
    if num_bins < 1:
        raise ValueError(f"num_bins={num_bins} must be at least 1")
    # Sums of float probabilities pass 1 by rounding.
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        raise ValueError(f"confidences must be in [0, 1], got {confidence.min()}..{confidence.max()}")
    if binning == "width":
        bins = np.ceil(np.minimum(confidence, 1.0) * num_bins).astype(np.int64) - 1
        bins = np.maximum(bins, 0)
    else:
        num_below = np.searchsorted(np.sort(confidence), confidence, side="left")
        bins = num_below * num_bins // len(confidence)
    counts = np.bincount(bins, minlength=num_bins)
    divisor = np.where(counts > 0, counts, np.nan)
    return Reliability(
        counts=counts,
        confidence=np.bincount(bins, weights=confidence, minlength=num_bins) / divisor,
        accuracy=np.bincount(bins, weights=is_right, minlength=num_bins) / divisor,
    )
