"""The action of every observed step."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.segments import UNKNOWN_ACTION, SegmentTable
from sgear.timing import TIME_TOLERANCE_S


class StepLabels:
    """Answer which action happens at an instant of a video.

    Where segments overlap, the one whose centre is nearest wins; where none covers the instant, the label is -1.

    Args:
        timeline: The segments whose labels may be seen.
    """

    def __init__(self, timeline: SegmentTable) -> None:
        self._of_video: dict[str, tuple[NDArray, NDArray, NDArray]] = {}
        for (video_id,), rows in timeline.frame.sort("start_s").group_by(["video_id"], maintain_order=True):
            columns = rows.select(pl.col("start_s", "stop_s", "action_id"))
            starts, stops, actions = (columns[name].to_numpy() for name in columns.columns)
            self._of_video[str(video_id)] = (starts, stops, actions)

    def knows(self, video_id: str) -> bool:
        """Return whether anything is annotated in a video."""
        return video_id in self._of_video

    def last_s(self, video_id: str) -> float:
        """Return when the last annotated action of a video ends, in seconds; 0 where nothing is annotated."""
        return float(self._of_video[video_id][1].max()) if video_id in self._of_video else 0.0

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

    def newest(self, video_id: str, *, first_s: float, last_s: float) -> int:
        """Return the action that started last by `last_s` of those that went on after `first_s`, -1 if none did."""
        if video_id not in self._of_video:
            return UNKNOWN_ACTION
        starts, stops, actions = self._of_video[video_id]
        num_started = int(np.searchsorted(starts, last_s + TIME_TOLERANCE_S, side="right"))
        # A short action inside a longer one starts later and may end before the window.
        seen = np.flatnonzero(stops[:num_started] > first_s)
        return int(actions[seen[-1]]) if len(seen) else UNKNOWN_ACTION

    def history(self, video_id: str, at_s: float, *, length: int, is_over: bool = False) -> NDArray[np.float64]:
        """Return action, age and length so far of the newest actions that had started by an instant.

        In order of their starts, in seconds [at most length, 3]. Nothing depends on what comes after the instant: of an
        action under way, only what has passed of it is told.

        Args:
            video_id: The video.
            at_s: The instant.
            length: Largest number of actions.
            is_over: Count actions that had ended by then, instead of all that had started.
        """
        if video_id not in self._of_video:
            return np.empty((0, 3))
        starts, stops, actions = self._of_video[video_id]
        seen = np.arange(np.searchsorted(starts, at_s + TIME_TOLERANCE_S, side="right"))
        if is_over:
            seen = seen[stops[seen] <= at_s + TIME_TOLERANCE_S]
        seen = seen[len(seen) - length :] if len(seen) > length else seen
        ages_s = np.maximum(at_s - starts[seen], 0.0)
        lengths_s = np.minimum(stops[seen], at_s) - starts[seen]
        return np.stack([actions[seen].astype(np.float64), ages_s, np.maximum(lengths_s, 0.0)], axis=1)

    def next_after(
        self, video_id: str, timestamps_s: NDArray[np.float64], *, earliest_s: float, latest_s: float
    ) -> NDArray[np.int64]:
        """Return the first action that starts at least `earliest_s` after each instant [T].

        An instant after which none starts within `latest_s` gets -1: what comes is then too far away to ask for.
        """
        if video_id not in self._of_video:
            return np.full(len(timestamps_s), UNKNOWN_ACTION)
        starts, _, actions = self._of_video[video_id]
        first = np.searchsorted(starts, timestamps_s + earliest_s - TIME_TOLERANCE_S, side="left")
        found = np.minimum(first, len(starts) - 1)
        is_near = (first < len(starts)) & (starts[found] <= timestamps_s + latest_s + TIME_TOLERANCE_S)
        return np.where(is_near, actions[found], UNKNOWN_ACTION)
