"""Rankings that survive a change of number format.

Fused scores and scores read from a file are float64, tables of predictions hold float32; two scores that differ must
not become equal on the way. A number format is a lattice of values, so order is kept by pushing a score up to the next
free lattice point wherever rounding would have joined two of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LOG_OF_ZERO = -1000.0
"""Stands for log 0. Lower than the log of any float64, and its exponential is exactly 0 again."""

_ROWS_AT_ONCE = 512


def log_probabilities(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm, `LOG_OF_ZERO` where a probability is 0."""
    is_zero = probs == 0
    return np.where(is_zero, LOG_OF_ZERO, np.log(np.where(is_zero, 1.0, probs)))


def push_apart(values: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest integers not below `values` that rise by at least 1 with each rank.

    Args:
        values: Integers in ascending order along the last axis [M K].
        ranks: 0 at the start, then 0 or 1 more at each step: one rank per group of equal scores [M K].

    Returns:
        Integers [M K], equal where ranks are equal.
    """
    return np.maximum.accumulate(values - ranks, axis=-1) + ranks


def float32_in_order(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32 such that each row keeps its exact order, ties included.

    Args:
        scores: Finite scores [M K] of a size that float32 can hold.

    Returns:
        Scores [M K], off by one rounding step, or by as many steps as there are scores that would have met.

    Example:
        >>> int(float32_in_order(np.array([[1.0, 1.0 + 1e-12, 1.0]])).argmax())
        1
    """
    result = scores.astype(np.float32)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        part = scores[start : start + _ROWS_AT_ONCE]
        ascending = np.sort(part, axis=1)
        rises = np.diff(ascending, axis=1) > 0
        rounded = ascending.astype(np.float32)
        rows = np.flatnonzero((rises & (np.diff(rounded, axis=1) == 0)).any(axis=1))
        if not len(rows):
            continue
        ranks = np.zeros((len(rows), part.shape[1]), dtype=np.int64)
        ranks[:, 1:] = np.cumsum(rises[rows], axis=1)
        apart = _float_of_key(push_apart(_key_of_float(rounded[rows]), ranks))
        fixed = np.empty_like(apart)
        np.put_along_axis(fixed, np.argsort(part[rows], axis=1), apart, axis=1)
        result[start + rows] = fixed
    return result


def _key_of_float(values: NDArray[np.float32]) -> NDArray[np.int64]:
    # Neighbouring floats are neighbouring integers; the sign bit is turned into a sign.
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _float_of_key(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = np.where(keys >= 0, keys, -keys | 0x80000000)
    return bits.astype(np.uint32).view(np.float32)


def best_first(
    scores: NDArray[np.floating],
    uids: Sequence[str],
    *,
    num_best: int,
    counts: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return the best classes of each sample, best first, with ties that favour no class id.

    Equal scores are put in order of `counts`, then by a number drawn from `seed`, the sample's uid and the class, so
    that the order depends neither on the position of the class nor on the position of the sample.

    Args:
        scores: Any ranking [M K], higher is likelier.
        uids: The uid of each sample.
        num_best: Number of classes to return, in [1, K].
        counts: Training segments of each class [K]; among equal scores the frequent class comes first.
        seed: Seed of the draw.

    Returns:
        Class ids [M num_best].
    """
    best = np.empty((len(scores), num_best), dtype=np.int64)
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        part = scores[start : start + _ROWS_AT_ONCE]
        # One class beyond the last: a tie across the border decides who is in.
        num_seen = min(num_best + 1, part.shape[1])
        order = np.argpartition(-part, num_seen - 1, axis=1)[:, :num_seen]
        seen = np.take_along_axis(part, order, axis=1)
        inner = np.argsort(-seen, axis=1)
        order, seen = np.take_along_axis(order, inner, axis=1), np.take_along_axis(seen, inner, axis=1)
        best[start : start + _ROWS_AT_ONCE] = order[:, :num_best]
        for row in np.flatnonzero((np.diff(seen, axis=1) == 0).any(axis=1)).tolist():
            lot = np.random.default_rng([seed, zlib.crc32(uids[start + row].encode("utf-8", "surrogatepass"))])
            keys = [lot.random(part.shape[1]), -part[row]]
            if counts is not None:
                keys.insert(1, -counts)
            best[start + row] = np.lexsort(keys)[:num_best]
    return best
