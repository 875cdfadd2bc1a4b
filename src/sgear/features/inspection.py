"""What is in a store or an LMDB, and which segments of a data set it can serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgear.features.lmdb import LmdbFeatures
from sgear.features.store import FeatureStore
from sgear.features.table import StoredFeatures
from sgear.segments import SegmentTable
from sgear.timing import TIME_TOLERANCE_S


@dataclass(frozen=True, kw_only=True)
class VideoSummary:
    """Rows of one video."""

    video_id: str
    rows: int
    first_s: float
    last_s: float
    rate: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A store or LMDB in numbers.

    Args:
        path: Where it is.
        kind: `store` or `lmdb`.
        width: Width F.
        dtype: Type of the stored values.
        rows: Rows of all videos.
        first_key: First key of an LMDB, or the first file of a store.
        last_key: Last key or file.
        origin: How the features were made, where that is known.
        videos: Each video.
    """

    path: Path
    kind: str
    width: int
    dtype: str
    rows: int
    first_key: str
    last_key: str
    origin: dict[str, str]
    videos: tuple[VideoSummary, ...]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a split can be read.

    Args:
        missing_videos: Annotated videos without features.
        num_segments: Segments of the split.
        num_of_missing_videos: Segments of the missing videos.
        num_blind: Segments before which nothing can be seen: features begin later than `tau_a` before them.
        unreadable: Uids of other segments whose last observed instant has no row, e.g. behind the end.
    """

    missing_videos: tuple[str, ...]
    num_segments: int
    num_of_missing_videos: int
    num_blind: int
    unreadable: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every segment can be asked."""
        return not (self.missing_videos or self.unreadable)


def summarise(table: FeatureStore | LmdbFeatures) -> Summary:
    """Describe a store or an LMDB; of an LMDB every key is read."""
    if isinstance(table, FeatureStore):
        return _summarise_store(table)
    videos, layout = [], table.layout
    for video_id in table.video_ids:
        numbers = table[video_id].numbers()
        step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 0.0
        videos.append(
            VideoSummary(
                video_id=video_id,
                rows=len(numbers),
                first_s=numbers[0] / layout.fps,
                last_s=numbers[-1] / layout.fps,
                rate=layout.fps / step if step else 0.0,
            )
        )
    first, last = table[videos[0].video_id], table[videos[-1].video_id]
    return Summary(
        path=table.path,
        kind="lmdb",
        width=table.width,
        dtype="float32",
        rows=table.num_entries,
        first_key=layout.encode(first.video_id, first.first).decode(),
        last_key=layout.encode(last.video_id, last.last).decode(),
        origin={"keys": layout.key, "numbering": f"{layout.fps:g} frames a second"},
        videos=tuple(videos),
    )


def _summarise_store(store: FeatureStore) -> Summary:
    videos = [
        VideoSummary(
            video_id=row["video_id"],
            rows=row["rows"],
            first_s=row["first_s"],
            last_s=row["last_s"],
            rate=(row["rows"] - 1) / (row["last_s"] - row["first_s"]) if row["rows"] > 1 else 0.0,
        )
        for row in store.index.sort("video_id").iter_rows(named=True)
    ]
    told = store.description
    return Summary(
        path=store.root,
        kind="store",
        width=store.width,
        dtype=told.dtype,
        rows=int(store.index["rows"].sum()),
        first_key=store.index["file"][0],
        last_key=store.index["file"][-1],
        origin={"encoder": told.encoder, "weights": told.weights or "not known", "preprocessing": told.preprocessing},
        videos=tuple(videos),
    )


def coverage(table: StoredFeatures, segments: SegmentTable, *, tau_a_s: float) -> Coverage:
    """Return which segments of a split have a row at their last observed instant, `tau_a_s` before the start."""
    known = {video_id: table[video_id] for video_id in segments.video_ids if video_id in table}
    num_missing, num_blind, unreadable = 0, 0, []
    for segment in segments:
        video, instant_s = known.get(segment.video_id), segment.start_s - tau_a_s
        if video is None:
            num_missing += 1
        elif instant_s < video.first_s - TIME_TOLERANCE_S:
            num_blind += 1
        elif not video.covers(np.array([instant_s]))[0]:
            unreadable.append(segment.uid)
    return Coverage(
        missing_videos=tuple(video_id for video_id in segments.video_ids if video_id not in known),
        num_segments=len(segments),
        num_of_missing_videos=num_missing,
        num_blind=num_blind,
        unreadable=tuple(unreadable),
    )
