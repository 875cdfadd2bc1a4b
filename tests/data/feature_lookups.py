"""Three segments: one that can be read, one past the end of its features, one of a video that is not there."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from sgear.data import StepLabels
from sgear.features import FeatureTable, VideoFeatures
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion"])
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=3.0, fps=1.0)
_TIMES_S = np.arange(80) / 4
FEATURES = FeatureTable(
    {"v": VideoFeatures(_TIMES_S, np.stack([_TIMES_S, _TIMES_S], axis=1).astype(np.float32), "v.npz")}
)
SEGMENTS = SegmentTable(
    pl.DataFrame(
        {
            "uid": ["whole", "late", "gone"],
            "participant_id": ["P01"] * 3,
            "video_id": ["v", "v", "lost"],
            "start_s": [5.0, 30.0, 6.0],
            "stop_s": [6.0, 31.0, 7.0],
            "verb_id": [0, 1, 0],
            "noun_id": [0, 0, 0],
            "action_id": [0, 1, 0],
        }
    ),
    TAXONOMY,
    origin="test",
)
LABELS = StepLabels(SEGMENTS)


class Failing:
    """A source that knows every video and reads none."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def first_s(self, video_id: str) -> float:
        return 0.0

    def read(self, video_id, timestamps_s, rng):
        raise self.error

    def empty(self, num_steps: int) -> torch.Tensor:
        return torch.zeros(num_steps, 2)
