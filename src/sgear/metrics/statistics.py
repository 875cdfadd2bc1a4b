"""How far could a number be off, had other samples been drawn, and is one model better than another on the same ones?

Means and class-means need no scores: a resample only counts how often each distinct (class, value) was drawn.
Accuracies are compared by an exact sign test. Class-means weigh samples differently, so there the test swaps the two
models at random, sample by sample: if they were equally good, that would change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.class_means import mean_of_present, mean_per_class
from sgear.metrics.ranks import takes_tensors

_RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True)
class Interval:
    """A number and its confidence interval, which contains it."""

    value: float
    low: float
    high: float


def mean_or_class_mean(values: NDArray[np.floating], targets: NDArray[np.int64] | None) -> float:
    """Return the mean over samples, or with `targets` the mean over present classes of the class means.

    Raises:
        ValueError: If shapes differ or there is no sample.
    """
    if values.ndim != 1 or not len(values) or (targets is not None and targets.shape != values.shape):
        shape = None if targets is None else targets.shape
        raise ValueError(f"expected non-empty values [M] and targets [M] or None, got {values.shape} and {shape}")
    if targets is None:
        return float(values.mean())
    return mean_of_present(mean_per_class(values, targets, int(targets.max()) + 1))


def resampled_means(
    values: NDArray[np.floating],
    targets: NDArray[np.int64] | None = None,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Draw the samples anew with replacement, and return the mean or class-mean of each draw.

    A class of which nothing was drawn is left out of that class-mean, as the metric does with absent classes.

    Args:
        values: Hit (0 or 1), or any number, of each sample [M].
        targets: Class of each sample [M]. Default: all samples weigh the same.
        num_resamples: Number of draws R.
        seed: Seed of the draws.

    Returns:
        Means [R].

    Raises:
        ValueError: If shapes differ, there is no sample, or `num_resamples` is not positive.
    """
    mean_or_class_mean(values, targets)
    if num_resamples < 1:
        raise ValueError(f"num_resamples={num_resamples} must be at least 1")
    num_samples = len(values)
    classes = np.zeros(num_samples, dtype=np.int64) if targets is None else targets
    distinct, value_of = np.unique(values.astype(np.float64), return_inverse=True)
    cells, cell_of = np.unique(classes * len(distinct) + value_of, return_inverse=True)
    cell_values, cell_classes = distinct[cells % len(distinct)], cells // len(distinct)
    first_cells = np.flatnonzero(np.diff(cell_classes, prepend=-1))
    rng = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        counts = np.empty((size, len(cells)))
        for row in counts:
            drawn = rng.integers(0, num_samples, num_samples, dtype=np.int32)
            row[:] = np.bincount(cell_of[drawn], minlength=len(cells))
        class_counts = np.add.reduceat(counts, first_cells, axis=1)
        class_sums = np.add.reduceat(counts * cell_values, first_cells, axis=1)
        is_present = class_counts > 0
        class_means = class_sums / np.where(is_present, class_counts, 1.0)
        means[start : start + size] = class_means.sum(axis=1) / is_present.sum(axis=1)
    return means


def centred_interval(value: float, resampled: NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """Return the percentile interval of resampled numbers, moved from their mean to the value itself.

    A class-mean over resamples is biased, since rare classes drop out of them, most of all those with one sample; its
    raw percentiles may miss the value that they are about. What is kept is the spread.

    Args:
        value: The number on the samples themselves.
        resampled: The number on each resample [R].
        level: Share of resamples in the interval, in (0, 1).

    Raises:
        ValueError: If `level` is not in (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1")
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2]) - resampled.mean() + value
    return Interval(value, min(float(low), value), max(float(high), value))


@takes_tensors
def bootstrap_interval(
    values: NDArray[np.floating],
    targets: NDArray[np.int64] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the mean of per-sample values, or their class-mean, with its bootstrap interval.

    Args:
        values: Hit (0 or 1), or any number, of each sample [M].
        targets: Class of each sample [M], for the class-mean. Default: all samples weigh the same.
        level: Share of resamples in the interval, in (0, 1).
        num_resamples: Number of resamples of the samples.
        seed: Seed of the resamples.

    Returns:
        Value and interval, within the smallest and the largest of `values`.

    Raises:
        ValueError: If shapes differ, there is no sample, or a number is out of range.

    Example:
        >>> bootstrap_interval(np.ones(4), np.array([0, 0, 1, 2]))
        Interval(value=1.0, low=1.0, high=1.0)
    """
    resampled = resampled_means(values, targets, num_resamples=num_resamples, seed=seed)
    interval = centred_interval(mean_or_class_mean(values, targets), resampled, level=level)
    low, high = max(interval.low, float(values.min())), min(interval.high, float(values.max()))
    return Interval(interval.value, min(low, interval.value), max(high, interval.value))


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.int64]], float],
    num_samples: int,
    *,
    level: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return any number of a table of samples with its bootstrap interval.

    Slower than `bootstrap_interval`, which serves whatever is a mean or class-mean of per-sample values; this one is
    for the rest, e.g. the calibration error.

    Args:
        statistic: Gives the number for the rows to use [M], some of them several times.
        num_samples: Number of samples M.
        level: Share of resamples in the interval, in (0, 1).
        num_resamples: Number of resamples of the samples.
        seed: Seed of the resamples.

    Raises:
        ValueError: If there is no sample or a number is out of range.
    """
    if num_samples < 1 or num_resamples < 1:
        raise ValueError(f"num_samples={num_samples} and num_resamples={num_resamples} must be at least 1")
    rng = np.random.default_rng(seed)
    resampled = [statistic(rng.integers(0, num_samples, num_samples)) for _ in range(num_resamples)]
    return centred_interval(float(statistic(np.arange(num_samples))), np.array(resampled), level=level)


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
            # Takes half a second to import, which scores alone need not wait for.
            from scipy.stats import binomtest  # noqa: PLC0415

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
