"""Is one model better than another on the same samples? A paired test with a bootstrap interval.

Accuracies are compared by an exact sign test. Class-means weigh samples differently, so there the test swaps the two
models at random, sample by sample: if they were equally good, that would change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from sgear.metrics.arrays import takes_tensors
from sgear.metrics.bootstrap import bootstrap_interval, mean_or_class_mean, resampled_means

Method = Literal["sign", "permutation", "bootstrap"]


@dataclass(frozen=True)
class PairedTest:
    """Result of `paired_test`; differences are first minus second, in [-1, 1]."""

    difference: float
    low: float
    high: float
    p_value: float
    num_first_only: int
    num_second_only: int


@takes_tensors
def paired_test(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    targets: NDArray[np.int64] | None = None,
    method: Method | None = None,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """Compare two models sample by sample.

    Where several seeds were run, give each sample's mean hit over the seeds: samples stay the unit of the test, since
    seeds of one sample are not independent evidence about the data.

    Args:
        first: Hit (0 or 1) or mean hit over seeds of each sample [M], first model.
        second: The same of the second model [M], same samples in the same order.
        targets: Class of each sample [M], to compare class-means (class-mean recall). Default: compare means
            (accuracy).
        method: Where the p-value comes from. `sign`: which model wins how many of the samples on which they differ,
            McNemar's exact test where values are 0 or 1; it knows nothing of classes. `permutation`: the two models
            are swapped at random on each sample. `bootstrap`: how often a resample differs from the mean resample by
            as much as the two models do. Default: `sign`, with `targets` `permutation`.
        num_resamples: Resamples of the bootstrap, and swaps of the permutation test.
        seed: Seed of both.

    Returns:
        Difference, its 95 % bootstrap interval over samples, the two-sided p-value, and the numbers of samples on
        which the first or the second model is better.

    Raises:
        ValueError: If shapes differ, there is no sample, or the sign test is asked about class-means.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"expected two equal non-empty arrays [M], got {first.shape} and {second.shape}")
    if method is None:
        method = "sign" if targets is None else "permutation"
    delta = first.astype(np.float64) - second.astype(np.float64)
    difference = mean_or_class_mean(delta, targets)
    num_first, num_second = int((delta > 0).sum()), int((delta < 0).sum())
    interval = bootstrap_interval(delta, targets, num_resamples=num_resamples, seed=seed)
    match method:
        case "sign":
            if targets is not None:
                raise ValueError("the sign test gives every sample the same weight; it cannot compare class-means")
            p_value = binomtest(num_first, num_first + num_second).pvalue if num_first + num_second else 1.0
        case "permutation":
            p_value = _share_as_far(difference, _swapped(delta, targets, num_resamples, seed))
        case "bootstrap":
            resampled = resampled_means(delta, targets, num_resamples=num_resamples, seed=seed)
            p_value = _share_as_far(difference, resampled - resampled.mean())
    return PairedTest(difference, interval.low, interval.high, float(p_value), num_first, num_second)


def _swapped(
    delta: NDArray[np.float64], targets: NDArray[np.int64] | None, num_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the differences after random swaps [R]; samples of equal weight share one binomial draw."""
    weights = np.abs(delta) / len(delta)
    if targets is not None:
        counts = np.bincount(targets)
        weights = np.abs(delta) / (counts[targets] * np.count_nonzero(counts))
    sizes, numbers = np.unique(weights[weights > 0], return_counts=True)
    kept = np.random.default_rng(seed).binomial(numbers, 0.5, size=(num_resamples, len(numbers)))
    return (2 * kept - numbers) @ sizes


def _share_as_far(difference: float, resampled: NDArray[np.float64]) -> float:
    # The samples as they are count as one of the draws, so a p-value is never 0.
    tolerance = 1e-12
    return (1 + np.count_nonzero(np.abs(resampled) >= abs(difference) - tolerance)) / (1 + len(resampled))
