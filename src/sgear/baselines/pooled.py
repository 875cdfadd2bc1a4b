"""Logistic regression on features averaged over several spans of the observed window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sgear.data.dataset import AnticipationDataset
from sgear.segments import SegmentTable


class PooledRegression:
    """Average the last 1/8, 1/4, 1/2 and all of the steps, concatenate, classify.

    Args:
        inverse_regularization: C of the logistic regression.
    """

    name = "pooled logistic regression"

    def __init__(self, *, inverse_regularization: float = 0.01) -> None:
        self._classifier: Pipeline = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_regularization, max_iter=500)
        )

    def _pool(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        rows = []
        for index in range(len(dataset)):
            sample = dataset[index]
            steps = sample["clip"][sample["exists"]].numpy()
            spans = [max(1, dataset.protocol.num_steps // share) for share in (8, 4, 2, 1)]
            rows.append(np.concatenate([steps[-span:].mean(axis=0) for span in spans]))
        return np.stack(rows)

    def fit(self, train: AnticipationDataset, all_train: SegmentTable | None = None) -> PooledRegression:
        """Learn from the training windows; segments without one teach nothing here."""
        self._classifier.fit(self._pool(train), train.segments.column("action_id"))
        self._num_actions = train.segments.taxonomy.num_actions
        return self

    def logits(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        """Return log probabilities of the next action [M A]; a class without training samples gets 1e-6."""
        probs = np.full((len(dataset), self._num_actions), 1e-6)
        probs[:, self._classifier.classes_] = self._classifier.predict_proba(self._pool(dataset))
        return np.log(probs).astype(np.float32)
