"""What is in a store or an LMDB, and which segments of a data set it can serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures
from sgear.features.store import FeatureStore
from sgear.features.table import StoredFeatures, StoredVideo
from sgear.segments import ActionSegment, SegmentTable
from sgear.timing import AnticipationProtocol, observable


@dataclass(frozen=True, kw_only=True)
class VideoSummary:
    """Rows of one video.

    Args:
        video_id: The video.
        rows: Number of rows.
        first_s: Time of the first row.
        last_s: Time of the last row.
        rate: Rows per second; 0 for a single row.
        holes: Stretches between two rows that cannot be read: from and until when, in seconds.
    """

    video_id: str
    rows: int
    first_s: float
    last_s: float
    rate: float
    holes: tuple[tuple[float, float], ...]


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
        videos: Each video that can be opened.
        damaged: Why each of the others cannot.
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
    damaged: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of a split can be read.

    Args:
        missing_videos: Annotated videos without features.
        num_segments: Segments of the split.
        num_of_missing_videos: Segments of the missing videos.
        num_blind: Segments before which nothing can be seen: features begin later than `tau_a` before them.
        unreadable: Uids of other segments of whose window an instant has no row: it lies in a hole, or behind the end.
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
    """Describe a store or an LMDB; of a store all times are read, of an LMDB all keys.

    Raises:
        FeatureError: If not even the list of its videos can be read.
    """
    return _summarise_store(table) if isinstance(table, FeatureStore) else _summarise_lmdb(table)


def _summarise_lmdb(table: LmdbFeatures) -> Summary:
    layout, video_ids = table.layout, table.video_ids

    def describe(video_id: str) -> VideoSummary:
        video = table[video_id]
        numbers = video.numbers()
        step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 0.0
        return VideoSummary(
            video_id=video_id,
            rows=len(numbers),
            first_s=video.first_s,
            last_s=video.last_s,
            rate=layout.fps / step if step else 0.0,
            holes=tuple(video.holes(numbers)),
        )

    videos, damaged = _each(video_ids, describe)
    first, last = table[video_ids[0]], table[video_ids[-1]]
    return Summary(
        path=table.path,
        kind="lmdb",
        width=table.width,
        dtype=layout.dtype,
        rows=table.num_entries,
        first_key=layout.encode(first.video_id, first.first).decode(),
        last_key=layout.encode(last.video_id, last.last).decode(),
        origin={"keys": layout.key, "numbering": f"{layout.fps:g} frames a second"},
        videos=videos,
        damaged=damaged,
    )


def _summarise_store(store: FeatureStore) -> Summary:
    def describe(video_id: str) -> VideoSummary:
        video = store[video_id]
        rows = len(video.times_s)
        return VideoSummary(
            video_id=video_id,
            rows=rows,
            first_s=video.first_s,
            last_s=video.last_s,
            rate=(rows - 1) / (video.last_s - video.first_s) if rows > 1 else 0.0,
            holes=tuple(video.holes),
        )

    videos, damaged = _each(store.video_ids, describe)
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
        videos=videos,
        damaged=damaged,
    )


def _each(
    video_ids: list[str], describe: Callable[[str], VideoSummary]
) -> tuple[tuple[VideoSummary, ...], dict[str, str]]:
    """Return what is to be said of each video, and why it cannot be said of the others."""
    videos, damaged = [], {}
    for video_id in video_ids:
        try:
            videos.append(describe(video_id))
        except FeatureError as err:
            damaged[video_id] = str(err)
    return tuple(videos), damaged


def find_damage(
    table: FeatureStore | LmdbFeatures, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Read every value.

    Args:
        table: A store or an LMDB.
        progress: Called with the number of finished videos and of all.

    Returns:
        What is wrong with each video that is damaged.
    """
    video_ids = table.video_ids
    wrong: dict[str, str] = {}
    for num_done, video_id in enumerate(video_ids, start=1):
        try:
            if isinstance(table, FeatureStore):
                table.verify(video_id)
            else:
                table[video_id].verify()
        except FeatureError as err:
            wrong[video_id] = str(err)
        if progress is not None:
            progress(num_done, len(video_ids))
    return wrong


def coverage(table: StoredFeatures, segments: SegmentTable, protocol: AnticipationProtocol) -> Coverage:
    """Return which segments of a split can be read: each instant of their window from the first row on has a row.

    Args:
        table: The features.
        segments: The split.
        protocol: The window before each segment.
    """
    missing: list[str] = []
    num_missing, num_blind, unreadable = 0, 0, []
    for video_id in segments.video_ids:
        asked = list(segments.of_video(video_id))
        try:
            if video_id not in table:
                missing.append(video_id)
                num_missing += len(asked)
                continue
            is_blind, is_read = _look(table[video_id], asked, protocol)
        except FeatureError:
            is_blind = is_read = np.zeros(len(asked), dtype=bool)
        num_blind += int(is_blind.sum())
        unreadable += [asked[row].uid for row in np.flatnonzero(~(is_blind | is_read))]
    return Coverage(
        missing_videos=tuple(missing),
        num_segments=len(segments),
        num_of_missing_videos=num_missing,
        num_blind=num_blind,
        unreadable=tuple(unreadable),
    )


def _look(
    video: StoredVideo, asked: Sequence[ActionSegment], protocol: AnticipationProtocol
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return before which segments nothing can be seen [M], and of which every instant that exists has a row [M]."""
    anchors_s = [protocol.anchor_s(segment.start_s, segment.stop_s) for segment in asked]
    instants_s = np.stack([protocol.timestamps(anchor_s) for anchor_s in anchors_s])
    exists = observable(instants_s, video.first_s)
    is_found = np.ones(exists.shape, dtype=bool)
    is_found[exists] = video.covers(instants_s[exists])
    return ~exists[:, -1], np.logical_and.reduce(is_found, axis=1)
