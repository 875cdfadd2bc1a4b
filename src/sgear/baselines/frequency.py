"""The commonest actions of the training set, whatever is seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.segments import SegmentTable


def frequency_logits(train: SegmentTable, num_samples: int) -> NDArray[np.float32]:
    """Return the logarithm of the class frequencies, with one count added to each class, per sample [M A]."""
    counts = train.action_counts() + 1.0
    return np.tile(np.log(counts / counts.sum()), (num_samples, 1)).astype(np.float32)
