"""Features of whole videos in memory, with the times they were seen at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.timing import TIME_TOLERANCE_S


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video: row i was seen at `times_s[i]`.

    Args:
        times_s: Ascending seconds [N].
        features: Values [N F], float32, finite.
        origin: File they come from, for messages.

    Raises:
        FeatureError: If shapes disagree, times do not ascend, or a value is not finite.
    """

    times_s: NDArray[np.float64]
    features: NDArray[np.float32]
    origin: str

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.times_s.shape != self.features.shape[:1] or not len(self.times_s):
            raise FeatureError(
                f"{self.origin}: expected times [N] and features [N F] with N > 0, got {self.times_s.shape} and "
                f"{self.features.shape}"
            )
        if (np.diff(self.times_s) <= 0).any():
            raise FeatureError(f"{self.origin}: times must ascend; row {int(np.diff(self.times_s).argmin())} does not")
        bad = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
        if len(bad):
            raise FeatureError(f"{self.origin}: {len(bad)} rows are not finite, first row {bad[0]}; extract again")

    @property
    def first_s(self) -> float:
        """Time of the first row."""
        return float(self.times_s[0])

    @property
    def period_s(self) -> float:
        """Median distance between two rows in seconds; 0 for a single row."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else 0.0

    def rows_at(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the newest row at or before each instant [T].

        Raises:
            FeatureError: If an instant lies before the first row, or later than one period after the last.
        """
        rows = np.searchsorted(self.times_s, timestamps_s + TIME_TOLERANCE_S, side="right") - 1
        last_s = float(self.times_s[-1]) + self.period_s + TIME_TOLERANCE_S
        if len(rows) and (rows.min() < 0 or timestamps_s.max() > last_s):
            raise FeatureError(
                f"{self.origin}: asked for {timestamps_s.min():.3f} to {timestamps_s.max():.3f} s, but the features "
                f"cover {self.first_s:.3f} to {self.times_s[-1]:.3f} s; the file looks truncated or belongs to "
                "another video"
            )
        return rows


class FeatureTable:
    """Features of many videos, of one width.

    Args:
        videos: Features of each video id.

    Raises:
        FeatureError: If widths differ or there is no video.
    """

    def __init__(self, videos: Mapping[str, VideoFeatures]) -> None:
        widths = {video.features.shape[1]: name for name, video in videos.items()}
        if len(widths) != 1:
            raise FeatureError(f"features must have one width, got {widths or 'no video at all'}")
        self._videos = dict(videos)
        self.width = next(iter(widths))

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._videos

    def __getitem__(self, video_id: str) -> VideoFeatures:
        if video_id not in self._videos:
            raise FeatureError(
                f"no features of video {video_id!r}; {len(self._videos)} videos are there, for example "
                f"{sorted(self._videos)[:3]}. Extract or copy the missing file"
            )
        return self._videos[video_id]

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted."""
        return sorted(self._videos)

    def standard_deviation(self, video_ids: list[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature over the given videos [F]."""
        rows = np.concatenate([self[name].features for name in video_ids])
        return rows.std(axis=0, dtype=np.float64).astype(np.float32)
