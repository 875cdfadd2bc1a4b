"""Where the steps of a clip come from: stored features or cached frames. Both read at or before an instant."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.features import FeatureTable
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.cache import FrameCache
from sgear.video.transforms import ClipTransform


class StepSource(Protocol):
    """Reads steps of a video at given instants."""

    def first_s(self, video_id: str) -> float:
        """Return the first instant that can be read."""
        ...

    def read(
        self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Return steps [T ...] and the latest time in seconds that each of them shows [T].

        `rng` is given in training only; it drives augmentation.
        """
        ...


class FeatureSource:
    """Steps from stored features.

    Args:
        table: Features of the videos.
        pool_s: Average the rows of the last `pool_s` seconds of each step; 0 takes the newest row alone.
    """

    def __init__(self, table: FeatureTable, *, pool_s: float = 0.0) -> None:
        self.table = table
        self.pool_s = pool_s

    def first_s(self, video_id: str) -> float:
        """Return the time of the first row."""
        return self.table[video_id].first_s

    def read(
        self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Return features [T F] and the time of the newest row of each."""
        video = self.table[video_id]
        last = video.rows_at(timestamps_s)
        if self.pool_s == 0:
            return torch.from_numpy(video.features[last]), video.times_s[last]
        begin = np.searchsorted(video.times_s, timestamps_s - self.pool_s + TIME_TOLERANCE_S, side="right")
        begin = np.minimum(begin, last)
        sums = np.concatenate([np.zeros((1, self.table.width)), np.cumsum(video.features, axis=0, dtype=np.float64)])
        pooled = (sums[last + 1] - sums[begin]) / (last + 1 - begin)[:, None]
        return torch.from_numpy(pooled.astype(np.float32)), video.times_s[last]


class VideoSource:
    """Steps from frames kept in a cache, transformed as one clip."""

    def __init__(self, cache: FrameCache, transform: ClipTransform) -> None:
        self.cache = cache
        self.transform = transform

    def first_s(self, video_id: str) -> float:
        """Return 0: times of a video count from its first frame."""
        return 0.0

    def read(
        self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Return frames [T 3 H W], normalised, and the time each was shown at."""
        batch = self.cache.frames_played_at(video_id, timestamps_s)
        frames = self.transform.evaluate(batch.frames) if rng is None else self.transform.train(batch.frames, rng)
        return frames, batch.pts_s
