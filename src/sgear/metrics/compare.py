"""Is one model better than another on the same samples? An exact paired sign test with a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


@dataclass(frozen=True)
class PairedTest:
    """Result of `paired_test`; differences are first minus second, in [-1, 1]."""

    difference: float
    low: float
    high: float
    p_value: float
    num_first_only: int
    num_second_only: int


def paired_test(
    first: NDArray[np.floating], second: NDArray[np.floating], *, num_resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Compare two models sample by sample.

    Where several seeds were run, give each sample's mean hit over the seeds: samples stay the unit of the test, since
    seeds of one sample are not independent evidence about the data.

    Args:
        first: Hit (0 or 1) or mean hit over seeds of each sample [M], first model.
        second: The same of the second model [M], same samples in the same order.
        num_resamples: Bootstrap resamples of the samples.
        seed: Seed of the bootstrap.

    Returns:
        Mean difference, its 95 % bootstrap interval, the two-sided p-value of the sign test over the samples on which
        the two differ (McNemar's exact test where values are 0 or 1), and the numbers of such samples.

    Raises:
        ValueError: If shapes differ or there is no sample.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"expected two equal non-empty arrays [M], got {first.shape} and {second.shape}")
    delta = first.astype(np.float64) - second.astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.array([delta[rng.integers(0, len(delta), len(delta))].mean() for _ in range(num_resamples)])
    low, high = np.quantile(means, [0.025, 0.975])
    num_first, num_second = int((delta > 0).sum()), int((delta < 0).sum())
    p_value = binomtest(num_first, num_first + num_second).pvalue if num_first + num_second else 1.0
    return PairedTest(float(delta.mean()), float(low), float(high), float(p_value), num_first, num_second)
