"""Read-only LMDB in the format of the published features: one entry per frame, its value a buffer of numbers.

Steps are read at or before their instants, within the reach of the layout and never later. The library trusts its
file: a page that an unfinished download left as zeros may end the process that follows it, so `sgear features inspect
--verify` reads in a process of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError, FeatureWidthError
from sgear.features.lmdb_handle import LmdbHandle
from sgear.features.lmdb_layout import RULSTM, LmdbLayout, require_dtype, rows_of
from sgear.features.table import missing_video_error, row_not_finite, sampled_deviation
from sgear.timing import TIME_TOLERANCE_S

_CHUNK_ROWS = 1024
# A page of zeros in place of a row leaves this many numbers at its begin zero, at the least.
_NUM_LOOKED_AT = 64
_PAGE_HEADER_BYTES = 16


class LmdbVideo:
    """Features of one video in an LMDB; nothing of it is in memory but its first and last frame number.

    Args:
        handle: The database.
        layout: Keys and times.
        video_id: The video.
        span: Its first and its last frame number.
        num_bytes: Length of every value.
    """

    def __init__(
        self, handle: LmdbHandle, layout: LmdbLayout, video_id: str, span: tuple[int, int], num_bytes: int
    ) -> None:
        self.layout = layout
        self.video_id = video_id
        self.first, self.last = span
        self._handle = handle
        self._num_bytes = num_bytes
        prefix, digits, suffix = layout.parts(video_id)
        self._digits = slice(len(prefix), len(prefix) + digits)
        self._template = prefix.replace(b"%", b"%%") + b"%%0%dd" % digits + suffix.replace(b"%", b"%%")
        self._reach = layout.reach

    @property
    def origin(self) -> str:
        """Database and video, for messages."""
        return f"{self._handle.file}, video {self.video_id}"

    @property
    def first_s(self) -> float:
        """Time of the first frame that is there."""
        return self.first / self.layout.fps

    @property
    def last_s(self) -> float:
        """Time of the last frame that is there."""
        return self.last / self.layout.fps

    @property
    def period_s(self) -> float:
        """Seconds from one row to the next: a frame, or as many as the layout was told that they lie apart."""
        max_gap_s = self.layout.max_gap_s
        return max_gap_s if max_gap_s > RULSTM.max_gap_s else 1 / self.layout.fps

    def read(
        self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `StoredVideo.read`.

        Raises:
            FeatureError: If a frame and its neighbours before it are missing, a value is no vector of this width or not
                finite, or the database is damaged there.
        """
        asked = np.floor((timestamps_s + TIME_TOLERANCE_S) * self.layout.fps)
        with self._handle.begin() as transaction:
            if pool_s > 0:
                features, found = self._pooled(transaction, self._numbers(timestamps_s - pool_s), asked.tolist())
            else:
                features, found = self._newest(transaction, asked.tolist())
        return features, (asked if found is None else np.array(found, dtype=np.float64)) / self.layout.fps

    def covers(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """See `StoredVideo.covers`."""
        with self._handle.begin() as transaction:
            cursor = transaction.cursor()
            return np.array([self._is_found(cursor, number) for number in self._numbers(timestamps_s)], dtype=bool)

    def numbers(self) -> list[int]:
        """Return the numbers of all frames of the video, ascending; reads every key of it."""
        numbers = []
        with self._handle.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(self._template % self.first)
            for key in cursor.iternext(keys=True, values=False):
                numbers.append(self._number(key))
                if numbers[-1] == self.last:
                    break
        return numbers

    def rows(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return the features of frames that are there [N F].

        Raises:
            FeatureError: If one is missing, has another width or type, or is not finite.
        """
        with self._handle.begin() as transaction:
            features, _ = self._newest(transaction, numbers)
        if self.layout.dtype == "float32":
            # Many rows tell more than the first one, which may be zeros.
            origin = f"{self.origin}: a stretch of {len(features)} rows"
            require_dtype(features.tobytes(), self.layout.dtype, self._handle.file, origin)
        return features

    def holes(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Return the stretches within the video that cannot be read: from and until when, in seconds.

        Args:
            numbers: All frames that are there.
        """
        fps, reach = self.layout.fps, self._reach
        return [((one + reach + 1) / fps, other / fps) for one, other in pairwise(numbers) if other - one > reach + 1]

    def verify(self) -> None:
        """Read all rows.

        Raises:
            FeatureError: If one is damaged, has another width or dtype, or is not finite.
        """
        numbers = self.numbers()
        for begin in range(0, len(numbers), _CHUNK_ROWS):
            self.rows(numbers[begin : begin + _CHUNK_ROWS])

    def _numbers(self, timestamps_s: NDArray[np.float64]) -> list[int]:
        return np.floor((timestamps_s + TIME_TOLERANCE_S) * self.layout.fps).astype(np.int64).tolist()

    def _number(self, key: Any) -> int:
        text = bytes(key[self._digits])
        if not text.isdigit():
            raise FeatureError(
                f"{self._handle.file}: key {bytes(key).decode(errors='replace')!r} lies among those of video "
                f"{self.video_id!r} and does not have the form {self.layout.key!r}; remove it from the database"
            )
        return int(text)

    def _newest(self, transaction: Any, numbers: Sequence[int | float]) -> tuple[NDArray[np.float32], list[int] | None]:
        """Return the frame of each number or its nearest earlier one [T F], and their numbers where they differ."""
        get, template = transaction.get, self._template
        values = [get(template % number) for number in numbers]
        # A buffer is true; comparing fifteen of them with None would take as long as copying them.
        if all(values):
            return self._stack(values, numbers), None
        found = list(map(int, numbers))
        cursor = transaction.cursor()
        for idx, value in enumerate(values):
            if value is None:
                found[idx] = self._seek(cursor, found[idx])
                values[idx] = cursor.value()
        return self._stack(values, found), found

    def _pooled(
        self, transaction: Any, before: Sequence[int], numbers: Sequence[int | float]
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Return the mean of the frames after `before` until each number [T F], and the newest of each."""
        means, newest = [], []
        cursor = transaction.cursor()
        for earliest, number in zip(before, numbers, strict=True):
            found = [self._seek(cursor, int(number))]
            values = [cursor.value()]
            while found[-1] > self.first and cursor.prev() and self._number(cursor.key()) > earliest:
                found.append(self._number(cursor.key()))
                values.append(cursor.value())
            means.append(self._stack(values, found).mean(axis=0))
            newest.append(found[0])
        return np.stack(means), newest

    def _stack(self, values: list, numbers: Sequence[int | float]) -> NDArray[np.float32]:
        if set(map(len, values)) != {self._num_bytes}:
            wrong = next(idx for idx, value in enumerate(values) if len(value) != self._num_bytes)
            raise FeatureWidthError(
                f"{self._handle.file}: the value of {(self._template % numbers[wrong]).decode()!r} has "
                f"{len(values[wrong])} bytes, expected {self._num_bytes} as at the first key; the database mixes "
                "features of several widths"
            )
        rows = rows_of(values, self.layout.dtype, self.origin)
        bad = row_not_finite(rows)
        if bad is not None:
            raise FeatureError(
                f"{self.origin}: the row at {numbers[bad] / self.layout.fps:.3f} s is not finite; extract this video "
                "again"
            )
        if not rows[:, 0].all():
            self._require_written(values, rows, numbers)
        return rows

    def _require_written(self, values: list, rows: NDArray[np.float32], numbers: Sequence[int | float]) -> None:
        """Tell rows of zeros that were written so from those of which a broken copy left nothing but zeros."""
        page_bytes = self._handle.environment.page_bytes
        for row in np.flatnonzero(~rows[:, :_NUM_LOOKED_AT].any(axis=1)).tolist():
            header_at = np.frombuffer(values[row], np.uint8).ctypes.data - _PAGE_HEADER_BYTES
            # A long row begins on a page of its own, of which the library writes number and kind before it.
            if header_at % page_bytes == 0 and not any(ctypes.string_at(header_at, _PAGE_HEADER_BYTES)):
                key = (self._template % numbers[row]).decode()
                raise FeatureError(
                    f"{self._handle.file}: nothing but zeros is left of the page of key {key!r}; the file was copied "
                    "in part, or the disk lost a piece of it: copy it again"
                )

    def _newest_until(self, cursor: Any, number: int) -> int:
        """Place the cursor on the newest frame at or before a number that is not before the first, and return it."""
        if number >= self.last:
            cursor.set_key(self._template % self.last)
            return self.last
        cursor.set_range(self._template % number)
        if self._number(cursor.key()) > number:
            cursor.prev()
        return self._number(cursor.key())

    def _is_found(self, cursor: Any, number: int) -> bool:
        return number >= self.first and number - self._newest_until(cursor, number) <= self._reach

    def _seek(self, cursor: Any, number: int) -> int:
        """Place the cursor on the newest frame at or before a number, and return it.

        Raises:
            FeatureError: If there is none near enough; names the key asked for and the nearest one.
        """
        if self._is_found(cursor, number):
            return self._number(cursor.key())
        if number < self.first:
            nearest, distance = self.first, "later"
        else:
            nearest, distance = self._number(cursor.key()), "earlier"
        raise FeatureError(
            f"{self._handle.file}: key {(self._template % number).decode()!r} (t = {number / self.layout.fps:.3f} s) "
            f"is missing, and so are those of the {self.layout.max_gap_s:g} s before it; the nearest {distance} key is "
            f"{(self._template % nearest).decode()!r}, {abs(number - nearest) / self.layout.fps:.3f} s away. Check "
            f"that this database holds this split and counts {self.layout.fps:g} frames a second; 'sgear features "
            "inspect' lists all holes. Where the rows lie further apart on purpose, set source.lmdb_max_gap_s "
            "(--max-gap) to their distance"
        )


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
        return self._handle.environment.lmdb.stat()["entries"]

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
        prefix = self.layout.parts(video_id)[0]
        with self._handle.begin() as transaction:
            cursor = transaction.cursor()
            first = self._parse(cursor) if cursor.set_range(prefix) else None
            if first is None or first[0] != video_id:
                return None
            # ':' comes after the digits, so this is behind all frames of the video.
            behind = prefix + b":"
            while True:
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
                is_there = cursor.set_range(self.layout.encode(video_id, self[video_id].last) + b"\0")

    def _parse(self, cursor: Any) -> tuple[str, int]:
        key = bytes(cursor.key())
        parsed = self.layout.parse(key)
        if parsed is None:
            raise FeatureError(
                f"{self._handle.file}: key {key.decode(errors='replace')!r} does not have the form "
                f"{self.layout.key!r}; give the key format of this database (source.lmdb_key, --key)"
            )
        return parsed
