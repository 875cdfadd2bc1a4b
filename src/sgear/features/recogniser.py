"""A linear recogniser of single feature rows: which action, or none, does this row show?

Its posteriors are a narrow summary of wide features. A model that reads them instead of the features cannot learn
the few training videos by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sgear.errors import FeatureError

# Logit of a class without a training row: its probability is 0 in float32.
_ABSENT = -1000.0


@dataclass(frozen=True, kw_only=True)
class LinearRecogniser:
    """Multinomial logistic regression on standardised rows.

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


def fit_recogniser(
    rows: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    num_actions: int,
    inverse_regularization: float = 0.01,
) -> LinearRecogniser:
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
        raise FeatureError(f"a recogniser needs rows of at least two classes, got {len(rows)} rows of one or none")
    mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
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
    return LinearRecogniser(mean=mean.astype(np.float32), scale=scale.astype(np.float32), weight=weight, bias=bias)
