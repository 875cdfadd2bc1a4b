"""The action of every observed step."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.segments import UNKNOWN_ACTION, SegmentTable


class StepLabels:
    """Answer which action happens at an instant of a video.

    Where segments overlap, the one whose centre is nearest wins; where none covers the instant, the label is -1.

    Args:
        timeline: All segments of the videos.
    """

    def __init__(self, timeline: SegmentTable) -> None:
        self._of_video: dict[str, tuple[NDArray, NDArray, NDArray]] = {}
        for (video_id,), rows in timeline.frame.sort("start_s").group_by(["video_id"], maintain_order=True):
            columns = rows.select(pl.col("start_s", "stop_s", "action_id"))
            starts, stops, actions = (columns[name].to_numpy() for name in columns.columns)
            self._of_video[str(video_id)] = (starts, stops, actions)

    def at(self, video_id: str, timestamps_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the action of each instant [T]."""
        if video_id not in self._of_video:
            return np.full(len(timestamps_s), UNKNOWN_ACTION)
        starts, stops, actions = self._of_video[video_id]
        times = timestamps_s[:, None]
        distance = np.abs(times - (starts + stops) / 2)
        distance[(times < starts) | (times >= stops)] = np.inf
        nearest = distance.argmin(axis=1)
        is_covered = np.isfinite(distance[np.arange(len(times)), nearest])
        return np.where(is_covered, actions[nearest], UNKNOWN_ACTION)
