"""Samples without steps: what a baseline that reads annotations alone needs, before any film or feature is there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.data.dataset import AnticipationDataset, observable_segments
from sgear.data.labels import StepLabels
from sgear.data.sources import Reading
from sgear.errors import ConfigError
from sgear.segments import SegmentTable
from sgear.timing import WindowProtocol


class AnnotationsOnly:
    """A source of steps that knows when videos begin and nothing else."""

    def first_s(self, video_id: str) -> float:
        """Return 0: annotations count from the first frame."""
        return 0.0

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Raise: there is nothing to read.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"{video_id}: these samples hold annotations alone; use frequency or the last annotated action, or make "
            "samples from films or features"
        )

    def empty(self, num_steps: int) -> Tensor:
        """Return a clip of width 0."""
        return torch.zeros(num_steps, 0)


def annotated_samples(
    segments: SegmentTable, protocol: WindowProtocol, labels: StepLabels
) -> tuple[AnticipationDataset, SegmentTable]:
    """Return the samples of the segments before which something can be seen, and the other segments."""
    source = AnnotationsOnly()
    is_seen = observable_segments(segments, protocol, source)
    return AnticipationDataset(segments.take(is_seen), protocol, labels, source, seed=None), segments.take(~is_seen)
