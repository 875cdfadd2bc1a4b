"""The commonest actions of the training set, whatever is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.data.dataset import AnticipationDataset
from sgear.segments import SegmentTable


def frequency_logits(train: SegmentTable, num_samples: int) -> NDArray[np.float32]:
    """Return the logarithm of the class frequencies, with one count added to each class, per sample [M A]."""
    counts = train.action_counts() + 1.0
    return np.tile(np.log(counts / counts.sum()), (num_samples, 1)).astype(np.float32)


class FrequencyBaseline:
    """Say the class frequencies of the training set."""

    name = "frequency"

    def fit(self, train: AnticipationDataset, all_train: SegmentTable | None = None) -> FrequencyBaseline:
        """Count the actions of the whole training split, by default of the samples."""
        self._train = train.segments if all_train is None else all_train
        return self

    def logits(self, dataset: AnticipationDataset) -> NDArray[np.float32]:
        """Return log probabilities of the next action [M A]."""
        return frequency_logits(self._train, len(dataset))
