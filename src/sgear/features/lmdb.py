"""Read-only LMDB in the format of the published features: one entry per frame, its value a buffer of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.deviation import sampled_deviation
from sgear.features.lmdb_dtype import require_dtype, rows_of
from sgear.features.lmdb_handle import LmdbHandle
from sgear.features.lmdb_layout import RULSTM, LmdbLayout
from sgear.features.lmdb_video import LmdbVideo
from sgear.features.table import missing_video_error


class LmdbFeatures:
    """Features in an LMDB, never written to.

    It may be sent to loader workers and live through a fork: each process opens the database for itself when it
    first reads.

    Args:
        path: Folder with `data.mdb`, or the file itself.
        layout: Keys, times and type of values.

    Raises:
        FeatureError: If there is no LMDB, it is empty or truncated, its keys have another form, or its values are of
            another type.
    """

    def __init__(self, path: Path, layout: LmdbLayout = RULSTM) -> None:
        self.path = Path(path)
        self.layout = layout
        self._handle = LmdbHandle(self.path)
        self._videos: dict[str, LmdbVideo] = {}
        with self._handle.begin() as transaction:
            self._handle.pages.require_sound(b"", b"")
            cursor = transaction.cursor()
            if not cursor.first():
                raise FeatureError(f"{self._handle.file}: the LMDB holds no entry; copy it again or export to it")
            key = layout.encode(*self._parse(cursor))
            value = bytes(cursor.value())
            origin = f"{self._handle.file}: the value of {key.decode()!r}"
            require_dtype(value, layout.dtype, self.path, origin)
            self._num_bytes, self._width = len(value), rows_of([value], layout.dtype, origin).shape[1]

    def __repr__(self) -> str:
        return f"LmdbFeatures({str(self.path)!r}, width {self.width})"

    @property
    def width(self) -> int:
        """Width F of the features."""
        return self._width

    @property
    def num_entries(self) -> int:
        """Number of frames of all videos."""
        return self._handle.num_entries

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted; found by jumping from video to video."""
        return sorted(self._each_video())

    def __contains__(self, video_id: str) -> bool:
        if video_id not in self._videos and (span := self._span(video_id)) is not None:
            self._videos[video_id] = LmdbVideo(self._handle, self.layout, video_id, span, self._num_bytes)
        return video_id in self._videos

    def __getitem__(self, video_id: str) -> LmdbVideo:
        if video_id not in self:
            raise missing_video_error(video_id, self.video_ids, f"{self._handle.file}: ")
        return self._videos[video_id]

    def standard_deviation(self, video_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature [F], from rows spread evenly over each video."""
        return sampled_deviation(self, video_ids)

    def _span(self, video_id: str) -> tuple[int, int] | None:
        """Return the first and the last frame number of a video, or None."""
        prefix, require_sound = self.layout.parts(video_id)[0], self._handle.pages.require_sound
        with self._handle.begin() as transaction:
            cursor = transaction.cursor()
            require_sound(prefix, prefix)
            first = self._parse(cursor) if cursor.set_range(prefix) else None
            if first is None or first[0] != video_id:
                return None
            # ':' comes after the digits, so this is behind all frames of the video.
            behind = prefix + b":"
            while True:
                require_sound(behind, behind)
                is_before = cursor.prev() if cursor.set_range(behind) else cursor.last()
                assert is_before, "the first frame lies before"
                last_video, last = self._parse(cursor)
                if last_video == video_id:
                    return first[1], last
                # The id of another video may begin with all of this prefix.
                behind = self.layout.parts(last_video)[0]

    def _each_video(self) -> Iterator[str]:
        with self._handle.begin() as transaction:
            cursor = transaction.cursor()
            is_there = cursor.first()
            while is_there:
                video_id, _ = self._parse(cursor)
                yield video_id
                behind = self.layout.encode(video_id, self[video_id].last) + b"\0"
                self._handle.pages.require_sound(behind, behind)
                is_there = cursor.set_range(behind)

    def _parse(self, cursor: Any) -> tuple[str, int]:
        key = bytes(cursor.key())
        parsed = self.layout.parse(key)
        if parsed is None:
            raise FeatureError(
                f"{self._handle.file}: key {key.decode(errors='replace')!r} does not have the form "
                f"{self.layout.key!r}; give the key format of this database (source.lmdb_key, --key)"
            )
        return parsed
