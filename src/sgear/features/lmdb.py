"""Read-only LMDB in the format of the published features: one entry per frame, its value a float32 buffer.

RULSTM's rgb, flow and obj features (1024, 1024, 352) and AVT's irCSN-152 features (2048) share one key,
`P01_01_frame_0000000030.jpg`. Frame n counts as seen at n / fps: the released loaders read frame floor(t * fps) at t,
one before the frame on screen, and a film re-encoded to another rate may show a picture half a frame early.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.deviation import sampled_deviation
from sgear.features.lmdb_handle import LmdbHandle, Transaction
from sgear.features.table import missing_video_error
from sgear.timing import TIME_TOLERANCE_S

_KEY = re.compile(r"([^{}]*)\{video\}([^{}]+)\{number:0(\d+)d\}([^{}]*)")
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LmdbLayout:
    """How keys and times of an LMDB belong together.

    Args:
        key: Format of a key: `{video}`, some text, then the frame number padded with zeros.
        fps: Rate of the numbering in frames per second, > 0. All published features count at 30.
        max_gap_s: A frame that is missing is replaced by the nearest earlier one, up to so many seconds before it.
            The default is the reach of AVT's loader: nine frames at 30 a second.

    Raises:
        ValueError: If a value is out of range or the key has another form.

    Source:
        fpv-iplab/rulstm@1de783f RULSTM/dataset.py (keys, floor(t * 30)); facebookresearch/AVT@5ac3801
        datasets/epic_kitchens.py, EpicRULSTMFeatsReader (the same keys for irCSN-152, ten frames back).
    """

    key: str = "{video}_frame_{number:010d}.jpg"
    fps: float = 30.0
    max_gap_s: float = 0.3

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(
                f"key must look like '{{video}}_frame_{{number:010d}}.jpg' (the number last and padded with zeros, so "
                f"that keys are in order of time), got {self.key!r}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0 and self.max_gap_s >= 0):
            raise ValueError(f"fps must be positive and max_gap_s not negative, got {self.fps} and {self.max_gap_s}")

    def parts(self, video_id: str) -> tuple[bytes, int, bytes]:
        """Return what all keys of a video begin with, the number of digits, and what they end with."""
        before, between, digits, after = self._parsed
        return f"{before}{video_id}{between}".encode(), int(digits), after.encode()

    def encode(self, video_id: str, number: int) -> bytes:
        """Return the key of a frame."""
        return self.key.format(video=video_id, number=number).encode()

    def parse(self, key: bytes) -> tuple[str, int] | None:
        """Return video and frame number of a key, or None for a key of another form."""
        before, between, digits, after = self._parsed
        pattern = rf"{re.escape(before)}(.+){re.escape(between)}(\d{{{digits}}}){re.escape(after)}"
        found = re.fullmatch(pattern, key.decode("utf-8", errors="replace"))
        return (found[1], int(found[2])) if found else None

    @property
    def _parsed(self) -> tuple[str, ...]:
        match = _KEY.fullmatch(self.key)
        assert match is not None, "the key was checked when the layout was made"
        return match.groups()


RULSTM = LmdbLayout()
"""The layout of RULSTM's and AVT's published features."""


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
        self._reach = math.floor((layout.max_gap_s + TIME_TOLERANCE_S) * layout.fps)

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

    def read(
        self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `StoredVideo.read`.

        Raises:
            FeatureError: If a frame and its neighbours before it are missing, or a value is no vector of this width.
        """
        asked = np.floor((timestamps_s + TIME_TOLERANCE_S) * self.layout.fps)
        with self._handle.begin() as transaction:
            if pool_s > 0:
                features, found = self._pooled(transaction, self._numbers(timestamps_s - pool_s), asked.tolist())
            else:
                features, found = self._newest(transaction, asked.tolist())
        pts_s = (asked if found is None else np.array(found, dtype=np.float64)) / self.layout.fps
        self._require_finite(features, pts_s)
        return features, pts_s

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
            FeatureError: If one is missing, has another width, or is not finite.
        """
        with self._handle.begin() as transaction:
            features, _ = self._newest(transaction, numbers)
        self._require_finite(features, np.array(numbers) / self.layout.fps)
        return features

    def _numbers(self, timestamps_s: NDArray[np.float64]) -> list[int]:
        return np.floor((timestamps_s + TIME_TOLERANCE_S) * self.layout.fps).astype(np.int64).tolist()

    def _number(self, key: Any) -> int:
        return int(bytes(key[self._digits]))

    def _newest(
        self, transaction: Transaction, numbers: Sequence[int | float]
    ) -> tuple[NDArray[np.float32], list[int] | None]:
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
        self, transaction: Transaction, before: Sequence[int], numbers: Sequence[int | float]
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
            raise FeatureError(
                f"{self._handle.file}: the value of {(self._template % numbers[wrong]).decode()!r} has "
                f"{len(values[wrong])} bytes, expected {self._num_bytes} ({self._num_bytes // _FLOAT_BYTES} float32 "
                "numbers) as at the first key; the database mixes features of several widths"
            )
        # A bytearray is writable memory, as torch wants it; one join copies all rows.
        return np.frombuffer(bytearray().join(values), np.float32).reshape(len(values), -1)

    def _require_finite(self, features: NDArray[np.float32], pts_s: NDArray[np.float64]) -> None:
        is_finite = np.isfinite(features)
        if not is_finite.all():
            bad = int(np.argmin(is_finite.all(axis=1)))
            raise FeatureError(f"{self.origin}: the row at {pts_s[bad]:.3f} s is not finite; extract this video again")

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
            "inspect' lists what is missing"
        )


class LmdbFeatures:
    """Features in an LMDB, never written to.

    It may be sent to loader workers and live through a fork: each process opens the database for itself when it
    first reads.

    Args:
        path: Folder with `data.mdb`, or the file itself.
        layout: Keys and times.

    Raises:
        FeatureError: If there is no LMDB, it is empty or truncated, or its keys have another form.
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
            video_id, number = self._parse(cursor)
            self._num_bytes = len(cursor.value())
        if not self._num_bytes or self._num_bytes % _FLOAT_BYTES:
            raise FeatureError(
                f"{self._handle.file}: the value of {layout.encode(video_id, number).decode()!r} has "
                f"{self._num_bytes} bytes, which is no row of float32 numbers; export it again as float32 buffers"
            )

    def __repr__(self) -> str:
        return f"LmdbFeatures({str(self.path)!r}, width {self.width})"

    @property
    def width(self) -> int:
        """Width F of the features."""
        return self._num_bytes // _FLOAT_BYTES

    @property
    def num_entries(self) -> int:
        """Number of frames of all videos."""
        return self._handle.num_entries

    @property
    def video_ids(self) -> list[str]:
        """All video ids, sorted; found by jumping from video to video."""
        return sorted(self._each_video())

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._videos or self._span(video_id) is not None

    def __getitem__(self, video_id: str) -> LmdbVideo:
        if video_id not in self._videos:
            span = self._span(video_id)
            if span is None:
                raise missing_video_error(video_id, self.video_ids, f"{self._handle.file}: ")
            self._videos[video_id] = LmdbVideo(self._handle, self.layout, video_id, span, self._num_bytes)
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
