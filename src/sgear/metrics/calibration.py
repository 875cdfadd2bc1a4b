"""Does a model that says 30 % come true in 30 % of the cases? Reliability, and scores of whole distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sgear.metrics.arrays import takes_tensors
from sgear.metrics.ranks import check_targets

Binning = Literal["width", "mass"]
"""Bins of equal width in confidence, or of (nearly) equal numbers of samples."""


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


@takes_tensors
def expected_calibration_error(
    confidence: NDArray[np.floating],
    is_right: NDArray[np.bool_],
    *,
    num_bins: int = 15,
    binning: Binning = "width",
) -> float:
    """Return the mean distance of confidence and accuracy over bins; see `reliability`, which it sums up."""
    return reliability(confidence, is_right, num_bins=num_bins, binning=binning).ece


@takes_tensors
def brier_score(probs: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Return the mean squared distance of the probabilities to the truth, summed over classes; in [0, 2], 0 is best.

    Args:
        probs: Probabilities [M K].
        targets: Class of each sample [M], in [0, K).

    Raises:
        ValueError: If shapes disagree, a target is outside [0, K), or there is no sample.

    Source:
        Brier, Verification of forecasts expressed in terms of probability (1950).
    """
    own = _own_probs(probs, targets)
    return float(((probs.astype(np.float64) ** 2).sum(axis=1) - 2 * own + 1).mean())


@takes_tensors
def negative_log_likelihood(probs: NDArray[np.floating], targets: NDArray[np.int64]) -> float:
    """Return the mean of -log P(true class) in nats; infinite where a true class was given 0.

    Args:
        probs: Probabilities [M K].
        targets: Class of each sample [M], in [0, K).

    Raises:
        ValueError: If shapes disagree, a target is outside [0, K), or there is no sample.
    """
    own = _own_probs(probs, targets)
    return float("inf") if (own == 0).any() else float(-np.log(own).mean())


def _own_probs(probs: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    check_targets(probs, targets)
    if not len(targets):
        raise ValueError("a mean over no samples is undefined")
    return probs[np.arange(len(targets)), targets].astype(np.float64)
