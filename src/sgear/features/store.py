"""`FeatureStore`: features of many videos on disk, one file each, read through memory maps.

    STORE/store.json              how the features were made
    STORE/index.parquet           one row per video
    STORE/videos/<video>.safetensors

A window of steps touches the pages of its rows and nothing else, whatever the length of the video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.store_index import StoreDescription, check_header, load_index, read_header, video_file
from sgear.features.table import (
    VideoFeatures,
    as_float32,
    check_finite,
    check_times,
    missing_video_error,
    row_not_finite,
    sampled_deviation,
)
from sgear.files import require_unchanged, state_of

# The kernel allows a process some 65,000 maps.
_MAX_OPEN = 4096
_USUAL_GAP_PERIODS = 3.0


@dataclass(frozen=True)
class MappedVideo(VideoFeatures):
    """Features of one video of a store, float32 or float16.

    The writer refuses what is not finite. What a disk did to the rows since is looked for as they are read, so a window
    still touches the pages of its rows alone.

    Args:
        fingerprint: Digest of times and features.
        video: What the video is known by that the rows were made of; empty where they were imported.
        video_s: Length of that video in seconds by its own clock; 0 where it is not known.
    """

    features: NDArray[Any]
    fingerprint: str = ""
    video: str = ""
    video_s: float = 0.0

    def __post_init__(self) -> None:
        check_times(self.times_s, self.features.shape, self.origin)

    def read(
        self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `StoredVideo.read`.

        Raises:
            FeatureError: If an instant has no row, or a row that was read is not finite.
        """
        features, pts_s = super().read(timestamps_s, pool_s)
        step = row_not_finite(features)
        if step is not None:
            begin, last = self.spans(timestamps_s, pool_s)
            read = np.arange(begin[step], last[step] + 1) if pool_s else last[[step]]
            bad = int(read[row_not_finite(as_float32(self.features[read])) or 0])
            raise FeatureError(
                f"{self.origin}: row {bad} ({self.times_s[bad]:.3f} s) is not finite, the file is damaged; delete it, "
                "and extract or import this video again"
            )
        return features, pts_s


class FeatureStore:
    """Read a store.

    It may be sent to loader workers; each then maps the files for itself.

    Args:
        root: Folder that a `FeatureStoreWriter` filled.

    Raises:
        FeatureError: If there is no store, it is empty, or its files disagree.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.description = StoreDescription.load(self.root)
        self.index = load_index(self.root, self.description)
        if self.index.is_empty():
            raise FeatureError(f"{self.root}: the store holds no finished video yet; extract or import some")
        self._fingerprints = dict(self.index.select("video_id", "fingerprint").iter_rows())
        # Each with its file, and what that was when it was mapped.
        self._open: dict[str, tuple[MappedVideo, Path, tuple[int, int]]] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.root)!r}, {len(self._fingerprints)} videos, width {self.width})"

    @property
    def width(self) -> int:
        """Width F of the features."""
        return self.description.width

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted."""
        return sorted(self._fingerprints)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._fingerprints

    def __getitem__(self, video_id: str) -> MappedVideo:
        if video_id not in self._open:
            if len(self._open) >= _MAX_OPEN:
                self._open.pop(next(iter(self._open)))
            path = video_file(self.root, video_id)
            before = state_of(path)
            self._open[video_id] = self._map(video_id), path, before
        video, path, before = self._open[video_id]
        # Rows of a file that is written over would be of both, and those of one that is cut off kill the process.
        require_unchanged(path, before, FeatureError)
        return video

    def standard_deviation(self, video_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature [F], from rows spread evenly over each video."""
        return sampled_deviation(self, video_ids)

    def verify(self, video_id: str) -> None:
        """Read a whole video and hold it against its fingerprint.

        Raises:
            FeatureError: If a value changed since it was written, or is not finite.
        """
        video = self[video_id]
        check_finite(video.features, video.origin)
        found = fingerprint_of(video.times_s, video.features)
        if found != self._fingerprints[video_id]:
            raise FeatureError(
                f"{video.origin}: its content has the fingerprint {found}, not {self._fingerprints[video_id]} as when "
                "it was written; delete it and extract this video again"
            )

    def _map(self, video_id: str) -> MappedVideo:
        if video_id not in self._fingerprints:
            raise missing_video_error(video_id, self.video_ids, f"{self.root}: ")
        path = video_file(self.root, video_id)
        if not path.is_file():
            raise FeatureError(
                f"{path}: the file is gone, but the index lists it; bring it back or extract this video again, or "
                "forget it with 'sgear features inspect --reindex'"
            )
        header = read_header(path)
        check_header(header, path, self.description)
        if header.fingerprint != self._fingerprints[video_id]:
            raise FeatureError(f"{path}: was written anew after the index; run 'sgear features inspect --reindex'")
        times_s = np.fromfile(path, np.float64, header.rows, offset=header.times_at)
        # A plain array reads windows faster than a memmap does; it keeps the mapping alive.
        rows = np.asarray(np.memmap(path, header.dtype, "r", header.features_at, (header.rows, header.width)))
        known = {name: getattr(header, name) for name in ("fingerprint", "video", "video_s")}
        video = MappedVideo(times_s, rows, str(path), **known)
        max_gap_s, fps = self.description.max_gap_s, self.description.fps
        if max_gap_s is None:
            # A single row has no distance to another.
            max_gap_s = _USUAL_GAP_PERIODS * (video.period_s or (1 / fps if fps else 0.0))
        return replace(video, max_gap_s=max_gap_s)


def fingerprint_of(times_s: NDArray[np.float64], features: NDArray) -> str:
    """Return 16 hexadecimal digits that any change of the rows changes."""
    digest = hashlib.sha256(np.ascontiguousarray(times_s).tobytes())
    digest.update(np.ascontiguousarray(features).data)
    return digest.hexdigest()[:16]
