"""Annotation rows against the videos that they speak of: each video is there, and each row lies within it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sgear.datasets import LENGTH_TOLERANCE_S, Benchmark, VideoInfo
from sgear.segments import SegmentTable
from sgear.video.base import VideoSpan


@dataclass(frozen=True)
class RowProblem:
    """A row that lies outside its video.

    Args:
        split: Split of the row.
        uid: The row.
        video_id: Its video.
        text: What is wrong.
    """

    split: str
    uid: str
    video_id: str
    text: str


@dataclass
class RowCheck:
    """What was found out about the rows of a data set.

    Args:
        num_rows: Rows of each split.
        missing: Videos without a video, and the number of their rows.
        unchecked: Videos whose video cannot be read, and the number of their rows.
        outside: Rows that start or stop after their video.
        lengths: What is wrong with videos that are not as long as the data set says, by video.
        without_rows: Videos that no row speaks of. No mistake by itself.
    """

    num_rows: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    unchecked: dict[str, int] = field(default_factory=dict)
    outside: list[RowProblem] = field(default_factory=list)
    lengths: dict[str, str] = field(default_factory=dict)
    without_rows: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether every row lies within a readable video of the right length."""
        return not (self.missing or self.unchecked or self.outside or self.lengths)


def all_splits(benchmark: Benchmark) -> dict[str, SegmentTable]:
    """Return every table of a data set by the name of its split."""
    unscored = {} if benchmark.unscored is None else {"unscored": benchmark.unscored}
    return {"train": benchmark.train, "validation": benchmark.validation, **benchmark.tests, **unscored}


def annotated_videos(splits: Mapping[str, SegmentTable]) -> list[str]:
    """Return the video ids of all splits, each once, sorted."""
    return sorted({video_id for table in splits.values() for video_id in table.video_ids})


def check_rows(
    splits: Mapping[str, SegmentTable],
    spans: Mapping[str, VideoSpan | None],
    info: Mapping[str, VideoInfo] | None = None,
) -> RowCheck:
    """Hold every row against its video.

    Args:
        splits: Rows of each split.
        spans: Span of each video that is there; None of one that cannot be read.
        info: What the data set says about the length of its videos, where it does.
    """
    result = RowCheck(num_rows={split: len(table) for split, table in splits.items()})
    for split, table in splits.items():
        videos = table.column("video_id")
        for video_id in table.video_ids:
            rows = np.flatnonzero(videos == video_id)
            span = spans.get(video_id)
            if video_id not in spans:
                result.missing[video_id] = result.missing.get(video_id, 0) + len(rows)
            elif span is None:
                result.unchecked[video_id] = result.unchecked.get(video_id, 0) + len(rows)
            else:
                result.outside += _outside(split, table, rows, span)
    asked = set(annotated_videos(splits))
    result.without_rows = sorted(set(spans) - asked)
    for video_id, span in sorted(spans.items()):
        stated = (info or {}).get(video_id)
        if span is None or stated is None or video_id not in asked:
            continue
        if abs(span.end_s - stated.duration_s) > LENGTH_TOLERANCE_S:
            result.lengths[video_id] = (
                f"the video ends at {span.end_s:.3f} s, the video info csv says {stated.duration_s:.3f} s: it is "
                "truncated, cut in another place, or plays at another speed"
            )
    return result


def _outside(split: str, table: SegmentTable, rows: np.ndarray, span: VideoSpan) -> list[RowProblem]:
    starts_s, stops_s = table.column("start_s")[rows], table.column("stop_s")[rows]
    uids, videos = table.column("uid")[rows], table.column("video_id")[rows]
    problems = []
    for uid, video_id, start_s, stop_s in zip(uids, videos, starts_s, stops_s, strict=True):
        # A row that starts after the end stops there, too; one text says both.
        if span.is_past(float(stop_s)):
            part = f"starts at {start_s:.3f} s" if span.is_past(float(start_s)) else f"stops at {stop_s:.3f} s"
            text = f"{part}, after the video, which ends at {span.end_s:.3f} s"
            problems.append(RowProblem(split, str(uid), str(video_id), text))
    return problems
