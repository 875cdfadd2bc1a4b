"""Where the steps of a clip come from: stored features or cached frames. Both read at or before an instant."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgear.features.corruption import ClassConfusion
from sgear.features.table import StoredFeatures, VideoFeatures, pool_rows
from sgear.video.cache import FrameCache
from sgear.video.transforms import VIEWS, ClipTransform, View


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
        table: Features of the videos, in memory or read as they are asked for.
        pool_s: Average the rows of the last `pool_s` seconds of each step; 0 takes the newest row alone.
        confusion: Corrupts the rows of training videos before they are averaged, in training only.
    """

    def __init__(self, table: StoredFeatures, *, pool_s: float = 0.0, confusion: ClassConfusion | None = None) -> None:
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
        if rng is None or self.confusion is None:
            features, pts_s = video.read(timestamps_s, self.pool_s)
            return torch.from_numpy(features), pts_s
        assert isinstance(video, VideoFeatures), "class confusion is only built on features in memory"
        begin, last = video.spans(timestamps_s, self.pool_s)
        first = int(begin.min())
        rows = self.confusion.rows(video_id, first, int(last.max()) + 1, rng)
        return torch.from_numpy(pool_rows(rows, begin - first, last - first)), video.times_s[last]


class VideoSource:
    """Steps from frames kept in a cache, transformed as one clip.

    Args:
        cache: The frames.
        transform: Crop, augmentation, normalisation.
        view: Part of each frame that evaluation sees.
    """

    def __init__(self, cache: FrameCache, transform: ClipTransform, view: View = VIEWS["centre"][0]) -> None:
        self.cache = cache
        self.transform = transform
        self.view = view

    def first_s(self, video_id: str) -> float:
        """Return 0: times of a video count from its first frame."""
        return 0.0

    def read(
        self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Return frames [T 3 H W], normalised, and the time each was shown at."""
        batch = self.cache.frames_played_at(video_id, timestamps_s)
        if rng is None:
            return self.transform.evaluate(batch.frames, self.view), batch.pts_s
        return self.transform.train(batch.frames, rng), batch.pts_s
