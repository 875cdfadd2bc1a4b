"""Steps that show the annotated past itself: what a baseline reads that knows all actions so far and sees no film."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.data.labels import StepLabels
from sgear.data.sources import Reading
from sgear.video.transforms import no_colour

NO_ACTION = 0


class AnnotationSource:
    """Each step is the number of the action that started last by its instant, as annotated.

    Numbers count from 1; 0 is no action. An action that had ended before the window began is forgotten.

    Args:
        labels: What happens when.
        num_steps: Steps of a full window; with fewer, the window was cut by the start of the video.
        is_read: Whether anything is said; otherwise each step is 0, for a model that looks at nothing.
    """

    def __init__(self, labels: StepLabels, *, num_steps: int, is_read: bool = True) -> None:
        self.labels = labels
        self.num_steps = num_steps
        self.is_read = is_read

    def first_s(self, video_id: str) -> float:
        """Return 0: annotations count from the first frame."""
        return 0.0

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return numbers of actions [T 1]."""
        steps = self.empty(len(timestamps_s))
        if self.is_read:
            first_s = float(timestamps_s[0]) if len(timestamps_s) == self.num_steps else 0.0
            newest = [self.labels.newest(video_id, first_s=first_s, last_s=float(each_s)) for each_s in timestamps_s]
            steps[:, 0] = torch.tensor(newest) + 1
        return Reading(steps, timestamps_s, no_colour())

    def empty(self, num_steps: int) -> Tensor:
        """Return steps without action [T 1]."""
        return torch.full((num_steps, 1), float(NO_ACTION))
