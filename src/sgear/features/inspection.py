"""What is in a store or an LMDB, which segments of a data set it can serve, and whether its clock is right.

A clock that runs fast shows the future: rows that were taken 4 times a second and are read as 4.08 a second end too
early; 1 % of the video before its end, a row shows what comes 1 % of the video later. So rows have to last as long as
their video does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures, LmdbVideo
from sgear.features.lmdb_layout import LmdbLayout
from sgear.features.store import FeatureStore, MappedVideo
from sgear.features.table import StoredFeatures, StoredVideo
from sgear.segments import ActionSegment, SegmentTable
from sgear.timing import AnticipationProtocol, observable
from sgear.workers import LostWorker, run_jobs


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
        table: A store or an LMDB. The latter is read in a process of its own, which a damaged page may end.
        progress: Called with how many percent are done, and 100.

    Returns:
        What is wrong with each video that is damaged.

    Raises:
        FeatureError: If the process that read an LMDB ended.
    """

    def report(_: int, share: float) -> None:
        if progress is not None:
            progress(round(100 * share), 100)

    if isinstance(table, FeatureStore):
        return _damage_of(table, lambda share: report(0, share))
    # With two workers the single job is done in another process.
    with closing(run_jobs(_verify_lmdb, [(table.path, table.layout)], num_workers=2, progress=report)) as outcomes:
        [(_, outcome)] = outcomes
    if isinstance(outcome, LostWorker):
        raise FeatureError(f"{table.path}: the process that read it {outcome.how}; it is damaged: copy it again")
    return outcome


def _verify_lmdb(job: tuple[Path, LmdbLayout], tell: Callable[[float], None]) -> dict[str, str]:
    return _damage_of(LmdbFeatures(*job), tell)


def _damage_of(table: FeatureStore | LmdbFeatures, tell: Callable[[float], None]) -> dict[str, str]:
    video_ids, wrong = table.video_ids, {}
    for num_done, video_id in enumerate(video_ids, start=1):
        try:
            if isinstance(table, FeatureStore):
                table.verify(video_id)
            else:
                table[video_id].verify()
        except FeatureError as err:
            wrong[video_id] = str(err)
        tell(num_done / len(video_ids))
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
    mask = observable(instants_s, video.first_s)
    is_found = np.ones(mask.shape, dtype=bool)
    is_found[mask] = video.covers(instants_s[mask])
    return ~mask[:, -1], np.logical_and.reduce(is_found, axis=1)


TableOnDisk = FeatureStore | LmdbFeatures
"""Features that somebody made, at a rate that somebody said."""
LENGTH_TOLERANCE_S = 0.3
"""Seconds by which the length of rows may differ from that of their video, beside one period of the rows.

Published images of EPIC-KITCHENS differ from the published lengths by up to a quarter of a second.
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


def rows_of_video(table: TableOnDisk, video_id: str) -> MappedVideo | LmdbVideo | None:
    """Return a video; None where it is missing or damaged, which its reading tells."""
    try:
        if video_id in table:
            return table[video_id]
    except FeatureError:
        return None
    return None


def largest_gap_s(table: TableOnDisk, video_ids: Iterable[str], lengths_s: Mapping[str, float]) -> float:
    """Return by how many seconds rows end before their video at most: so far ahead a clock that is accepted may look.

    Videos that were extracted here have exact times, which nobody said.
    """
    gaps_s = [0.0]
    for video_id in video_ids:
        video = rows_of_video(table, video_id)
        is_exact = isinstance(video, MappedVideo) and video.video_s > 0
        if video is not None and video.period_s and video_id in lengths_s and not is_exact:
            gaps_s.append(lengths_s[video_id] - video.last_s - video.period_s)
    return max(gaps_s)


def clock_faults(
    table: TableOnDisk,
    video_ids: Iterable[str],
    lengths_s: Mapping[str, float],
    least_s: Mapping[str, float],
) -> tuple[list[ClockFault], list[str]]:
    """Check the rows of each video against its length.

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
        video = rows_of_video(table, video_id)
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
