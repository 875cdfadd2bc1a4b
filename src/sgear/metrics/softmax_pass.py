"""What needs probabilities, in one pass over the logits: confidence, and ranks of classes that are sums of others.

Nothing of the size of the table is written: each block of rows is turned into exponentials, summed, ranked and
forgotten. Exponentials and sums are float64; float32 sums could swap two verbs that are nearly equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.errors import PredictionError
from sgear.metrics.marginalize import membership
from sgear.metrics.ranks import check_targets

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
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, starts))
    return result
