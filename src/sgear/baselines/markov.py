"""Markov chain on the recognised past: which action follows the one that is seen now.

A frame classifier says which action is going on at the last observed instant; the transition counts of the training
segments, weighted by its probabilities, say what comes next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sgear.data.dataset import AnticipationDataset
from sgear.segments import UNKNOWN_ACTION, SegmentTable


def transition_probs(segments: SegmentTable, *, smoothing: float) -> NDArray[np.float64]:
    """Return P(next action | action) over consecutive segments of each video [A + 1, A]; the last row is the start.

    Args:
        segments: Segments of whole videos.
        smoothing: Counts added in proportion to the class frequencies.
    """
    num_actions = segments.taxonomy.num_actions
    counts = np.zeros((num_actions + 1, num_actions))
    for video_id in segments.video_ids:
        actions = segments.of_video(video_id).column("action_id")
        np.add.at(counts, (np.concatenate([[num_actions], actions[:-1]]), actions), 1.0)
    prior = (segments.action_counts() + 1.0) / (len(segments) + num_actions)
    counts += smoothing * prior
    return counts / counts.sum(axis=1, keepdims=True)


class MarkovBaseline:
    """Recognise the last step, then follow the transition counts.

    Args:
        smoothing: Counts added to each row of transitions, in proportion to the class frequencies.
        inverse_regularization: C of the logistic regression that recognises the last step.
    """

    def __init__(self, *, smoothing: float = 1.0, inverse_regularization: float = 0.01) -> None:
        self.smoothing = smoothing
        self._recogniser: Pipeline = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_regularization, max_iter=500)
        )

    def fit(self, train: AnticipationDataset) -> MarkovBaseline:
        """Learn to recognise from all labelled steps of the training windows, and count transitions."""
        self._transitions = transition_probs(train.segments, smoothing=self.smoothing)
        features, labels = [], []
        for index in range(len(train)):
            sample = train[index]
            known = sample["exists"] & (sample["step_labels"] != UNKNOWN_ACTION)
            features.append(sample["clip"][known].numpy())
            labels.append(sample["step_labels"][known].numpy())
        self._recogniser.fit(np.concatenate(features), np.concatenate(labels))
        return self

    def logits(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        """Return log probabilities of the next action [M A]."""
        last_steps = np.stack([dataset[index]["clip"][-1].numpy() for index in range(len(dataset))])
        now = np.zeros((len(dataset), self._transitions.shape[1]))
        now[:, self._recogniser.classes_] = self._recogniser.predict_proba(last_steps)
        return np.log(now @ self._transitions[:-1]).astype(np.float32)
