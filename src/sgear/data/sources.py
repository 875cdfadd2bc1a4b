"""Where the steps of a clip come from: stored features or cached frames. Both read at or before an instant."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.features import FeatureTable
from sgear.features.corruption import ClassConfusion
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.cache import FrameCache
from sgear.video.transforms import ClipTransform


@runtime_checkable
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
        confusion: Corrupts the rows of training videos before they are averaged, in training only.
    """

    def __init__(self, table: FeatureTable, *, pool_s: float = 0.0, confusion: ClassConfusion | None = None) -> None:
        self.table = table
        self.pool_s = pool_s
        self.confusion = confusion

    def first_s(self, video_id: str) -> float:
        """Return the time of the first row."""
        return self.table[video_id].first_s

    def read(
        self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Return features [T F] and the time of the newest row of each."""
        video = self.table[video_id]
        last = video.rows_at(timestamps_s)
        begin = last
        if self.pool_s > 0:
            begin = np.searchsorted(video.times_s, timestamps_s - self.pool_s + TIME_TOLERANCE_S, side="right")
            begin = np.minimum(begin, last)
        first, stop = int(begin.min()), int(last.max()) + 1
        if rng is None or self.confusion is None:
            rows = video.features[first:stop]
        else:
            rows = self.confusion.rows(video_id, first, stop, rng)
        if self.pool_s == 0:
            return torch.from_numpy(rows[last - first]), video.times_s[last]
        # Every second interval of the bounds is a step; the row at the end lets a bound lie behind the last row.
        bounds = np.stack([begin, last + 1], axis=1).reshape(-1) - first
        sums = np.add.reduceat(np.concatenate([rows, rows[-1:]]), bounds, axis=0)[::2]
        pooled = sums / (last + 1 - begin)[:, None].astype(np.float32)
        return torch.from_numpy(pooled), video.times_s[last]


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
