"""What the recipes of 50 Salads do against learning 40 videos by heart: class confusion, and a frame classifier.

Features of a network that was fitted to the training videos are cleaner there than anywhere else, so a model that
reads them learns to trust them too much. Stretches of a training video are therefore mixed with stretches of other
actions that look alike, some of them in the same wrong way throughout the video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.table import FeatureTable

_BLOCK_S = 4.0
_PERSISTENT = 0.5
_VIDEO_SPREAD = 0.35
_TEMPERATURE = 0.15
# Logit of a class without a training row: its probability is 0 in float32.
_ABSENT = -1000.0


class ClassConfusion:
    """Mix blocks of rows with rows of confusable classes of the training videos.

    A block lasts 4 s on average. With probability 1/2 its partner is the one that this draw gives to all blocks of
    its class, otherwise a new one; partners are drawn by the cosine of the centered class means. The partner's share
    is u^(1/g) with u uniform and g = strength * exp(0.35 n), n normal, drawn once per call.

    Args:
        table: Features.
        labels: Action of each row of each training video, -1 for none.
        num_actions: Number of actions A; rows without an action are class A.
        strength: How much is mixed in. See research/LOG.md for how 0.8 was found for 50 Salads.

    Raises:
        ValueError: If the strength is not positive.
    """

    def __init__(
        self,
        table: FeatureTable,
        labels: Mapping[str, NDArray[np.int64]],
        *,
        num_actions: int,
        strength: float,
    ) -> None:
        if not strength > 0:
            raise ValueError(f"strength must be positive, got {strength}")
        self.strength = strength
        self._table = table
        self._none = num_actions
        self._classes = {name: self._to_class(values) for name, values in labels.items()}
        self._rows_per_block = _BLOCK_S / (table[next(iter(labels))].period_s or _BLOCK_S)
        rows = np.concatenate([table[name].features for name in labels])
        classes = np.concatenate(list(self._classes.values()))
        order = np.argsort(classes, kind="stable")
        self._bank = rows[order]
        self._count = np.bincount(classes, minlength=num_actions + 1)
        self._offset = np.cumsum(self._count) - self._count
        self._partner_cdf = np.cumsum(self._partner_probs(rows, classes), axis=1)

    def _to_class(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(labels < 0, self._none, labels)

    def _partner_probs(self, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return for each class how likely each other class is taken for it [A + 1, A + 1]."""
        present, absent = np.flatnonzero(self._count), np.flatnonzero(self._count == 0)
        standard = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-4)
        means = np.stack([standard[classes == label].mean(axis=0, dtype=np.float64) for label in present])
        means = means - means.mean(axis=0)
        means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-12
        affinity = np.exp((means @ means.T - 1.0) / _TEMPERATURE)
        if len(present) > 1:
            np.fill_diagonal(affinity, 0.0)
        probs = np.zeros((len(self._count), len(self._count)))
        probs[np.ix_(present, present)] = affinity / affinity.sum(axis=1, keepdims=True)
        probs[np.ix_(absent, present)] = 1.0 / len(present)
        return probs

    def _draw_partners(self, classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        draws = rng.random(len(classes))[:, None]
        return np.minimum((self._partner_cdf[classes] < draws).sum(axis=1), self._partner_cdf.shape[1] - 1)

    def corrupt(
        self, rows: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return the rows of one video in another, less sure form [N F].

        Args:
            rows: Consecutive features of one video [N F].
            labels: Their actions, -1 for none [N].
            rng: The only source of randomness.
        """
        starts_block = rng.random(len(rows)) < 1.0 / self._rows_per_block
        starts_block[0] = True
        first = np.flatnonzero(starts_block)
        block = np.cumsum(starts_block) - 1
        classes = self._to_class(labels)[first]
        of_class = self._draw_partners(np.arange(len(self._count)), rng)
        is_persistent = rng.random(len(first)) < _PERSISTENT
        partner = np.where(is_persistent, of_class[classes], self._draw_partners(classes, rng))
        strength = self.strength * np.exp(_VIDEO_SPREAD * rng.standard_normal())
        share = (rng.random(len(first)) ** (1.0 / strength)).astype(np.float32)
        begin = (rng.random(len(first)) * self._count[partner]).astype(np.int64)
        within = (begin[block] + np.arange(len(rows)) - first[block]) % self._count[partner][block]
        mixed_in = self._bank[self._offset[partner][block] + within]
        return rows + share[block][:, None] * (mixed_in - rows)

    def rows(self, video_id: str, first: int, stop: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return rows [first, stop) of a training video, corrupted; what is mixed in is of any training video.

        Raises:
            KeyError: If the video is not one of the training videos.
        """
        features = self._table[video_id].features[first:stop]
        return self.corrupt(features, self._classes[video_id][first:stop], rng)


@dataclass(frozen=True, kw_only=True)
class FrameClassifier:
    """Which action, or none, does a single row show? Multinomial logistic regression on standardised rows.

    Its posteriors are a narrow summary of wide features: a model that reads them instead of the features cannot learn
    the few training videos by heart.

    Args:
        mean: Mean of each feature over the training rows [F].
        scale: Standard deviation of each feature, 1 where it is constant [F].
        weight: One row per class, "no action" last [A + 1, F].
        bias: One value per class [A + 1].
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def fit_frame_classifier(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    num_actions: int,
    inverse_regularization: float = 0.01,
) -> FrameClassifier:
    """Fit on training rows.

    Args:
        rows: Features [N F].
        labels: Action of each row in [0, A), -1 for none [N].
        num_actions: Number of actions A.
        inverse_regularization: C of the logistic regression; small, since neighbouring rows repeat each other.

    Raises:
        FeatureError: If the rows show fewer than two classes.
    """
    classes = np.where(labels < 0, num_actions, labels)
    if len(np.unique(classes)) < 2:
        raise FeatureError(f"a frame classifier needs rows of two classes, got {len(rows)} of one or none")
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - for the recipes of 50 Salads alone

    regression = LogisticRegression(C=inverse_regularization, max_iter=1000, tol=1e-3)
    regression.fit((rows - mean) / scale, classes)
    coefficients, intercepts = np.asarray(regression.coef_), np.asarray(regression.intercept_)
    if len(coefficients) == 1:
        # Two classes give one row: the logit of the second against the first.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = np.zeros((num_actions + 1, rows.shape[1]), dtype=np.float32)
    bias = np.full(num_actions + 1, _ABSENT, dtype=np.float32)
    weight[regression.classes_], bias[regression.classes_] = coefficients, intercepts
    return FrameClassifier(mean=mean.astype(np.float32), scale=scale.astype(np.float32), weight=weight, bias=bias)
