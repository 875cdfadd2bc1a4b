"""Features of whole videos in memory, with the times they were seen at; and what every kind of storage offers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.timing import TIME_TOLERANCE_S

_SAMPLED_ROWS = 64


@runtime_checkable
class StoredVideo(Protocol):
    """Features of one video, wherever they are kept."""

    @property
    def first_s(self) -> float:
        """Time of the first row."""
        ...

    @property
    def last_s(self) -> float:
        """Time of the last row."""
        ...

    def read(self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0) -> tuple[NDArray, NDArray[np.float64]]:
        """Return the features at or before each instant [T F], float32, and the time of the newest row of each [T].

        With `pool_s`, each is the mean of the rows of the last `pool_s` seconds.
        """
        ...

    def covers(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return at which instants `read` would find a row [T]."""
        ...


@runtime_checkable
class StoredFeatures(Protocol):
    """Features of many videos, of one width: a `FeatureTable`, a `FeatureStore`, an LMDB, or several side by side."""

    @property
    def width(self) -> int:
        """Width F of the features."""
        ...

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted."""
        ...

    def __contains__(self, video_id: str) -> bool: ...

    def __getitem__(self, video_id: str) -> StoredVideo: ...

    def standard_deviation(self, video_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature over the given videos [F]."""
        ...


def as_float32(rows: NDArray) -> NDArray[np.float32]:
    """Return rows as float32."""
    if rows.dtype == np.float32:
        return rows
    # torch widens half precision with vector instructions, six times faster than numpy.
    return torch.from_numpy(rows).float().numpy()


def pool_rows(rows: NDArray, begin: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean of rows begin[t]..last[t] for each step [T F]; only these rows are touched."""
    lengths = last + 1 - begin
    starts = np.cumsum(lengths) - lengths
    idx = np.arange(lengths.sum()) + np.repeat(begin - starts, lengths)
    sums = np.add.reduceat(as_float32(rows[idx]), starts, axis=0)
    return np.asarray(sums / lengths[:, None].astype(np.float32), dtype=np.float32)


def row_not_finite(rows: NDArray[np.float32]) -> int | None:
    """Return the first row [T F] that holds a value which is not finite, or None."""
    # One dot product takes half as long as looking at each value; it may overflow, too.
    if math.isfinite(np.vdot(rows, rows)):
        return None
    is_finite = np.isfinite(rows).all(axis=1)
    return None if is_finite.all() else int(np.argmin(is_finite))


def missing_video_error(video_id: str, video_ids: Sequence[str], origin: str) -> FeatureError:
    """Return the error for a video without features."""
    return FeatureError(
        f"{origin}no features of video {video_id!r}; {len(video_ids)} videos are there, for example "
        f"{list(video_ids[:3])}. Extract or copy the missing file"
    )


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video: row i was seen at `times_s[i]`.

    Args:
        times_s: Ascending seconds [N].
        features: Values [N F], float32, finite.
        origin: File they come from, for messages.
        max_gap_s: A row stands for the instants until the next one, but no longer than this. Where it is infinite, the
            last row stands for one period of the rows.

    Raises:
        FeatureError: If shapes disagree, times do not ascend, or a value is not finite.
    """

    times_s: NDArray[np.float64]
    features: NDArray[np.float32]
    origin: str
    max_gap_s: float = math.inf

    def __post_init__(self) -> None:
        check_times(self.times_s, self.features.shape, self.origin)
        check_finite(self.features, self.origin)

    @property
    def first_s(self) -> float:
        """Time of the first row."""
        return float(self.times_s[0])

    @property
    def last_s(self) -> float:
        """Time of the last row."""
        return float(self.times_s[-1])

    @cached_property
    def period_s(self) -> float:
        """Median distance between two rows in seconds; 0 for a single row."""
        return float(np.median(np.diff(self.times_s))) if len(self.times_s) > 1 else 0.0

    @cached_property
    def holes(self) -> list[tuple[float, float]]:
        """The stretches between two rows that cannot be read: from and until when, in seconds."""
        before = np.flatnonzero(np.diff(self.times_s) > self.max_gap_s + 2 * TIME_TOLERANCE_S)
        return [(float(self.times_s[row]) + self.max_gap_s, float(self.times_s[row + 1])) for row in before]

    @cached_property
    def _readable_s(self) -> tuple[float, float]:
        reach_s = self.max_gap_s if math.isfinite(self.max_gap_s) else self.period_s
        return self.first_s - TIME_TOLERANCE_S, self.last_s + reach_s + TIME_TOLERANCE_S

    @cached_property
    def _later_s(self) -> NDArray[np.float64]:
        """Times from which on each row but the first is to be read: how many have passed is the newest row."""
        return self.times_s[1:] - TIME_TOLERANCE_S

    def rows_at(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the newest row at or before each instant [T].

        Raises:
            FeatureError: If an instant lies before the first row, too long after the last, or in a hole.
        """
        # Lists of some fifteen numbers have their bounds sooner than arrays have.
        asked_s = timestamps_s.tolist()
        first_s, last_s = self._readable_s
        if asked_s and (min(asked_s) < first_s or max(asked_s) > last_s):
            raise FeatureError(
                f"{self.origin}: asked for {min(asked_s):.3f} to {max(asked_s):.3f} s, but the features "
                f"cover {self.first_s:.3f} to {self.last_s:.3f} s; the file looks truncated or belongs to "
                "another video"
            )
        last = self._later_s.searchsorted(timestamps_s, side="right")
        if self.holes and asked_s:
            self._require_new(timestamps_s, last)
        return last

    def _require_new(self, timestamps_s: NDArray[np.float64], last: NDArray[np.int64]) -> None:
        age_s = timestamps_s - self.times_s[last]
        step = int(age_s.argmax())
        if age_s[step] > self.max_gap_s + TIME_TOLERANCE_S:
            row = int(last[step])
            raise FeatureError(
                f"{self.origin}: no row for t = {timestamps_s[step]:.3f} s: row {row} is {age_s[step]:.3f} s older, "
                f"more than {self.max_gap_s:.3g} s, and the next one comes at {self.times_s[row + 1]:.3f} s. 'sgear "
                "features inspect' lists all holes. Extract or import this video again, or set max_gap_s in store.json "
                "where the rows lie further apart on purpose"
            )

    def spans(self, timestamps_s: NDArray[np.float64], pool_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last row of the `pool_s` seconds that end at each instant [T]."""
        last = self.rows_at(timestamps_s)
        begin = np.searchsorted(self.times_s, timestamps_s - pool_s + TIME_TOLERANCE_S, side="right")
        return np.minimum(begin, last), last

    def read(
        self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `StoredVideo.read`."""
        if pool_s == 0:
            last = self.rows_at(timestamps_s)
            return as_float32(self.features.take(last, axis=0)), self.times_s[last]
        begin, last = self.spans(timestamps_s, pool_s)
        return pool_rows(self.features, begin, last), self.times_s[last]

    def covers(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """See `StoredVideo.covers`."""
        first_s, last_s = self._readable_s
        is_within = (timestamps_s >= first_s) & (timestamps_s <= last_s)
        if not self.holes:
            return is_within
        rows = self._later_s.searchsorted(timestamps_s, side="right")
        return is_within & (timestamps_s - self.times_s[rows] <= self.max_gap_s + TIME_TOLERANCE_S)


def check_times(times_s: NDArray[np.float64], shape: tuple[int, ...], origin: str) -> None:
    """Hold times [N] against features [N F].

    Raises:
        FeatureError: If shapes disagree, there is no row, or times do not ascend.
    """
    if len(shape) != 2 or times_s.shape != shape[:1] or not len(times_s):
        raise FeatureError(
            f"{origin}: expected times [N] and features [N F] with N > 0, got {times_s.shape} and {shape}"
        )
    if not np.isfinite(times_s).all():
        raise FeatureError(f"{origin}: the time of row {int(np.argmin(np.isfinite(times_s)))} is not a number")
    if (np.diff(times_s) <= 0).any():
        raise FeatureError(f"{origin}: times must ascend; row {int(np.diff(times_s).argmin())} does not")


def check_finite(features: NDArray, origin: str) -> None:
    """Refuse features that are not numbers [N F].

    Raises:
        FeatureError: Counts the rows and names the first.
    """
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise FeatureError(f"{origin}: {len(bad)} rows are not finite, first row {bad[0]}; extract again")


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
            raise missing_video_error(video_id, self.video_ids, "")
        return self._videos[video_id]

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted."""
        return sorted(self._videos)

    def standard_deviation(self, video_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature over the given videos [F]."""
        rows = np.concatenate([self[name].features for name in video_ids])
        return rows.std(axis=0, dtype=np.float64).astype(np.float32)


def sampled_deviation(table: StoredFeatures, video_ids: Sequence[str]) -> NDArray[np.float32]:
    """Return the standard deviation of each feature [F], from 64 rows spread evenly over each video.

    Mean and squares are merged video by video, so memory does not grow with their number.
    """
    count, mean, squares = 0, np.zeros(table.width), np.zeros(table.width)
    for video_id in video_ids:
        video = table[video_id]
        timestamps_s = np.linspace(video.first_s, video.last_s, _SAMPLED_ROWS)
        rows = video.read(timestamps_s[video.covers(timestamps_s)])[0].astype(np.float64)
        difference = rows.mean(axis=0) - mean
        total = count + len(rows)
        squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0) + difference**2 * count * len(rows) / total
        mean += difference * len(rows) / total
        count = total
    return np.sqrt(squares / max(count, 1)).astype(np.float32)
