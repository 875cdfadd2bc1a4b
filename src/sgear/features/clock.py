"""Whether the times of stored rows are those of their video: a clock that runs fast shows the future.

Rows that were taken 4 times a second and are read as 4.08 a second end too early; 1 % of the video before its end, a
row shows what comes 1 % of the video later. So the rows have to last as long as the video does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures
from sgear.features.lmdb_video import LmdbVideo
from sgear.features.store import FeatureStore, MappedVideo

TableOnDisk = FeatureStore | LmdbFeatures
"""Features that somebody made, at a rate that somebody said."""
LENGTH_TOLERANCE_S = 0.3
"""Seconds by which the length of rows may differ from that of their video, beside one period of the rows.

Published pictures of EPIC-KITCHENS differ from the published lengths by up to a quarter of a second.
"""


@dataclass(frozen=True)
class ClockFault:
    """A video whose rows do not last as long as the video.

    Args:
        video_id: The video.
        rate: Rows per second, or the rate at which an LMDB counts frames.
        found_s: When the last row has been shown.
        length_s: Length of the video; with `is_least`, when its last annotated action stops.
        is_least: Whether the video may be longer.
    """

    video_id: str
    rate: float
    found_s: float
    length_s: float
    is_least: bool

    @property
    def apart_s(self) -> float:
        """By how many seconds the two differ."""
        return abs(self.found_s - self.length_s)

    def __str__(self) -> str:
        begin = f"those of {self.video_id!r}, {self.rate:.5g} a second, end at {self.found_s:.3f} s"
        if self.is_least:
            return f"{begin}, but its last annotated action stops at {self.length_s:.3f} s"
        agreeing = self.rate * self.found_s / self.length_s
        return f"{begin}, but the video lasts {self.length_s:.3f} s, which {agreeing:.5g} a second would give"


def open_video(table: TableOnDisk, video_id: str) -> MappedVideo | LmdbVideo | None:
    """Return a video; None where it is missing or damaged, which its reading tells."""
    try:
        if video_id in table:
            return table[video_id]
    except FeatureError:
        return None
    return None


def clock_faults(
    table: TableOnDisk,
    video_ids: Iterable[str],
    lengths_s: Mapping[str, float],
    least_s: Mapping[str, float],
) -> tuple[list[ClockFault], list[str]]:
    """Hold the rows of each video against its length.

    They may differ by `LENGTH_TOLERANCE_S` and one period, since a begun period at the end may have a row or none. What
    stays unnoticed is a look of so little ahead, and that at the end of the longest video alone: the error of a clock
    grows with time.

    Args:
        table: The features.
        video_ids: Videos to look at; those that cannot be opened are left to their reading.
        lengths_s: Length of each video in seconds, where it is known.
        least_s: When the last annotated action of each video stops, in seconds: it is no shorter than that.

    Returns:
        What contradicts, and the videos of which the length is not known.
    """
    faults, unknown = [], []
    for video_id in video_ids:
        video = open_video(table, video_id)
        if video is None:
            continue
        period_s = video.period_s
        length_s, found_s = lengths_s.get(video_id), video.last_s + period_s
        if not length_s or not period_s:
            unknown.append(video_id)
        if not period_s:
            continue
        rate = table.layout.fps if isinstance(table, LmdbFeatures) else 1 / period_s
        allowed_s = LENGTH_TOLERANCE_S + period_s
        least = least_s.get(video_id, 0.0)
        if length_s and abs(found_s - length_s) > allowed_s:
            faults.append(ClockFault(video_id, rate, found_s, length_s, is_least=False))
        elif not length_s and found_s < least - allowed_s:
            faults.append(ClockFault(video_id, rate, found_s, least, is_least=True))
    return faults, unknown
