"""Last action + frequency: which action follows the one that is seen now, by the counts of the training segments.

The last action is recognised by a frame classifier, whose probabilities weigh the rows of the counts, or taken from
the annotations. The counts fall back to the class frequencies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sgear.data.dataset import AnticipationDataset
from sgear.segments import UNKNOWN_ACTION, SegmentTable

PASTS = ("recognised", "annotated")


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
    """Take the last observed action and follow the transition counts.

    Args:
        past: `recognised`: the probabilities that a logistic regression gives the last step. `annotated`: the action
            that started last in the observed window, as annotated; an oracle of the past, which reads no features.
            Where the window shows no action, the counts of first actions are followed.
        smoothing: Counts added to each row of transitions, in proportion to the class frequencies, > 0: an action
            that was rarely seen falls back to them.
        inverse_regularization: C of the logistic regression (`recognised`).

    Raises:
        ValueError: If `past` is unknown or `smoothing` is not positive.
    """

    def __init__(
        self, *, past: str = "recognised", smoothing: float = 1.0, inverse_regularization: float = 0.01
    ) -> None:
        if past not in PASTS:
            raise ValueError(f"past must be one of {', '.join(PASTS)}, got {past!r}")
        if not smoothing > 0:
            raise ValueError(f"smoothing must be positive, got {smoothing}; without it unseen actions have no score")
        self.past = past
        self.smoothing = smoothing
        self._recogniser: Pipeline = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_regularization, max_iter=500)
        )

    @property
    def name(self) -> str:
        """Name of the row in a table."""
        return f"last {self.past} action + frequency"

    def fit(self, train: AnticipationDataset, all_train: SegmentTable | None = None) -> MarkovBaseline:
        """Count transitions; learn to recognise from all labelled steps of the training windows.

        Args:
            train: Training samples.
            all_train: The whole training split, whose transitions are counted: samples lack the first action of a
                video where nothing can be seen before it. Default: the segments of the samples.
        """
        segments = train.segments if all_train is None else all_train
        self._transitions = transition_probs(segments, smoothing=self.smoothing)
        if self.past == "annotated":
            return self
        features, labels = [], []
        for index in range(len(train)):
            sample = train[index]
            known = sample["exists"] & (sample["step_labels"] != UNKNOWN_ACTION)
            features.append(sample["clip"][known].numpy())
            labels.append(sample["step_labels"][known].numpy())
        self._recogniser.fit(np.concatenate(features), np.concatenate(labels))
        return self

    def _annotated_rows(self, dataset: AnticipationDataset) -> NDArray[np.int64]:
        """Return the row of the transitions that each sample's window ends with [M]."""
        none = len(self._transitions) - 1
        rows = []
        for segment in dataset.segments:
            instants_s = dataset.instants(segment, None)
            first_s = max(float(instants_s[0]), dataset.source.first_s(segment.video_id))
            action = dataset.labels.newest(segment.video_id, first_s=first_s, last_s=float(instants_s[-1]))
            rows.append(none if action == UNKNOWN_ACTION else action)
        return np.array(rows, dtype=np.int64)

    def logits(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        """Return log probabilities of the next action [M A]."""
        if self.past == "annotated":
            return np.log(self._transitions).astype(np.float32)[self._annotated_rows(dataset)]
        last_steps = np.stack([dataset[index]["clip"][-1].numpy() for index in range(len(dataset))])
        now = np.zeros((len(dataset), self._transitions.shape[1]))
        now[:, self._recogniser.classes_] = self._recogniser.predict_proba(last_steps)
        return np.log(now @ self._transitions[:-1]).astype(np.float32)
