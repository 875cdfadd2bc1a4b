"""Write an LMDB in RULSTM's format, for code that reads nothing else.

A row seen at t becomes the frame on screen at t, number floor(t * fps) + 1. Readers count frame n as seen at n / fps,
which is later than t, so an export can delay a row by up to one frame but never show it early.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.lmdb_handle import import_lmdb
from sgear.features.lmdb_layout import RULSTM, LmdbLayout
from sgear.features.store import FeatureStore
from sgear.features.table import check_finite, check_times
from sgear.timing import TIME_TOLERANCE_S

_PAGE_BYTES = 4096
_KEY_BYTES = 256
_SPARE_BYTES = 1 << 24

Rows = tuple[str, NDArray[np.float64], NDArray]
"""Video id, times in seconds [N], features [N F]."""


def frame_numbers(times_s: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Return the number of the frame on screen at each time [N], counted from 1."""
    return np.floor((times_s + TIME_TOLERANCE_S) * fps).astype(np.int64) + 1


def write_lmdb(path: Path, videos: Iterable[Rows], *, num_rows: int, width: int, layout: LmdbLayout = RULSTM) -> None:
    """Write features of videos to a new LMDB folder; it appears when it is complete.

    Args:
        path: Folder to make.
        videos: The rows of each video, one video at a time.
        num_rows: Rows of all videos, for the size of the database; more than there are does no harm.
        width: Width F.
        layout: Keys and times.

    Raises:
        FeatureError: If the folder exists, rows are wrong, or two rows of a video fall on one frame.
    """
    if path.exists():
        raise FeatureError(f"{path}: exists; delete it or export to another folder")
    lmdb = import_lmdb()
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.partial")
    partial.mkdir(parents=True)
    pages = -(-(width * 4 + _KEY_BYTES) // _PAGE_BYTES) + 1
    size = 2 * num_rows * (pages * _PAGE_BYTES + _KEY_BYTES) + _SPARE_BYTES
    try:
        with lmdb.open(str(partial), map_size=size, lock=False) as environment:
            for video_id, times_s, features in videos:
                origin = f"features of video {video_id!r}"
                check_times(times_s, features.shape, origin)
                check_finite(features, origin)
                if features.shape[1] != width:
                    raise FeatureError(f"{origin} are {features.shape[1]} wide, expected {width} as the others are")
                numbers = frame_numbers(times_s, layout.fps)
                if (np.diff(numbers) < 1).any():
                    row = int(np.argmin(np.diff(numbers)))
                    raise FeatureError(
                        f"{origin}: rows {row} and {row + 1} ({times_s[row]:.3f} and {times_s[row + 1]:.3f} s) fall on "
                        f"one frame at {layout.fps:g} frames a second; export at a higher rate"
                    )
                with environment.begin(write=True) as transaction:
                    for number, row in zip(numbers.tolist(), features.astype(np.float32), strict=True):
                        transaction.put(layout.encode(video_id, number), row.tobytes())
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def export_store(
    store: FeatureStore,
    path: Path,
    *,
    layout: LmdbLayout = RULSTM,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Write all videos of a store to a new LMDB folder.

    Args:
        store: The features.
        path: Folder to make.
        layout: Keys and times.
        progress: Called with the number of finished videos and of all.

    Returns:
        The largest distance of two rows of a video in seconds; a reader that looks back less far finds nothing there.

    Raises:
        FeatureError: See `write_lmdb`.
    """
    furthest_s = 0.0

    def videos() -> Iterable[Rows]:
        nonlocal furthest_s
        for num_done, video_id in enumerate(store.video_ids, start=1):
            video = store[video_id]
            numbers = frame_numbers(video.times_s, layout.fps)
            furthest_s = max(furthest_s, float(np.diff(numbers).max(initial=0)) / layout.fps)
            yield video_id, video.times_s, video.features
            if progress is not None:
                progress(num_done, len(store.video_ids))

    num_rows = int(store.index["rows"].sum())
    write_lmdb(path, videos(), num_rows=num_rows, width=store.width, layout=layout)
    return furthest_s
