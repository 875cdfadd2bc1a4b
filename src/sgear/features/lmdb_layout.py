"""Keys of an LMDB, the times they stand for, and what its values are: what they should be, and what they look like.

RULSTM's rgb, flow and obj features (1024, 1024, 352) and AVT's irCSN-152 features (2048) share one key,
`P01_01_frame_0000000030.jpg`. Frame n counts as seen at n / fps: the released loaders read frame floor(t * fps) at t,
one before the frame on screen, and a video re-encoded to another rate may show an image half a frame early.

Values that are no float32 are named and refused. A container tells itself by its first bytes. Plain numbers are told by
their period: rows of numbers of k bytes look the same when they are shifted by k bytes, and different when they are
shifted by less, since the byte with sign and exponent takes few values and those of the mantissa take all.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError, FeatureWidthError
from sgear.files import quoted
from sgear.timing import TIME_TOLERANCE_S

VALUE_DTYPES = ("float32", "float16", "bfloat16", "float64", "npy")
"""What values can be read as; `npy` is what `numpy.save` writes."""

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "npy": 1}
# Features of one size only leave it open which of the two they are.
_OTHER_HALVES = {"float16": " (or bfloat16, if that was written)", "bfloat16": " (or float16, if that was written)"}
# Read as float32 each of these has a number above 1e8 or below 1e-30, so no row of features begins with it.
_CONTAINERS = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "a zip archive (numpy.savez, torch.save)",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x89PNG\r\n\x1a\n": "a png image",
    **dict.fromkeys((b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xdb"), "a jpeg image"),
    b"\x1f\x8b\x08\x00": "gzip",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
_LEAST_DISTINCT = 32
"""Different words below which nothing is said about bytes; that many random ones are never alike by chance."""
_MOST_ALIKE = 0.4
"""Share of bytes in which two places of a word may differ; other places differ in more than 0.6, alike ones in 0.2."""
_MOST_OCTAVES = 5.7
"""Deviation of log2 of features: near 2; of float16 that are read as bfloat16, eight times that."""
_USUAL = (1e-12, 1e12)
_MOST_UNUSUAL = 0.05
_KEY = re.compile(r"([^{}]*)\{video\}([^{}]+)\{number:0(\d+)d\}([^{}]*)")


@dataclass(frozen=True, kw_only=True)
class LmdbLayout:
    """How keys and times of an LMDB belong together.

    Args:
        key: Format of a key: `{video}`, some text, then the frame number padded with zeros.
        fps: Rate of the numbering in frames per second, > 0. All published features count at 30.
        max_gap_s: A frame that is missing is replaced by the nearest earlier one, up to so many seconds before it.
            The default is the reach of AVT's loader: nine frames at 30 a second.
        dtype: What the values are, one of `VALUE_DTYPES`. All published features are float32.

    Raises:
        ValueError: If a value is out of range or the key has another form.

    Source:
        fpv-iplab/rulstm@1de783f RULSTM/dataset.py (keys, floor(t * 30)); facebookresearch/AVT@5ac3801
        datasets/epic_kitchens.py, EpicRULSTMFeatsReader (the same keys for irCSN-152, ten frames back).
    """

    key: str = "{video}_frame_{number:010d}.jpg"
    fps: float = 30.0
    max_gap_s: float = 0.3
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(
                f"key must look like '{{video}}_frame_{{number:010d}}.jpg' (the number last and padded with zeros, so "
                f"that keys are in order of time), got {self.key!r}"
            )
        if not (math.isfinite(self.fps) and self.fps > 0 and self.max_gap_s >= 0):
            raise ValueError(f"fps must be positive and max_gap_s not negative, got {self.fps} and {self.max_gap_s}")
        if self.dtype not in VALUE_DTYPES:
            raise ValueError(f"values of an LMDB are read as {', '.join(VALUE_DTYPES)}, got {self.dtype!r}")

    @property
    def reach(self) -> int:
        """Number of frames by which a row may come before the frame that is asked for."""
        return math.floor((self.max_gap_s + TIME_TOLERANCE_S) * self.fps)

    @property
    def reach_s(self) -> float:
        """Seconds by which a row may be older than an instant, up to the end of the frame that the instant lies in."""
        return round((self.reach + 1) / self.fps - 3 * TIME_TOLERANCE_S, 6)

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


def require_dtype(values: bytes, dtype: str, path: Path, origin: str) -> None:
    """Refuse values that are not what they are read as, and say what they look like and how they are read.

    Args:
        values: One value of the database, or several in a row.
        dtype: One of `VALUE_DTYPES`.
        path: The database.
        origin: What the values are, for the message.

    Raises:
        FeatureWidthError: If they are a container of another kind, their length is none of such numbers, or they are
            read as float32 and make sense as something else alone.
    """
    kind = _container(values)
    if kind is None and (not values or len(values) % _BYTES[dtype] or dtype == "npy"):
        raise FeatureWidthError(
            f"{origin} has {len(values)} bytes, which is no row of {dtype} numbers; export it again as float32 buffers"
        )
    if kind is None and dtype == "float32":
        kind = _other_numbers(values)
    if kind is None or kind == dtype:
        return
    remedy = "export it again as float32 buffers"
    if kind in VALUE_DTYPES:
        command = f"sgear features import {quoted(path)} --out STORE --lmdb-dtype {kind}"
        remedy = f"{remedy}, or make a store of it with: {command}{_OTHER_HALVES.get(kind, '')}"
    raise FeatureWidthError(f"{origin} looks like {kind}, and {dtype} numbers are read here; {remedy}")


def rows_of(values: Sequence[bytes | memoryview], dtype: str, origin: str) -> NDArray[np.float32]:
    """Return the numbers of values of one length [N F], in memory that may be written to.

    Raises:
        FeatureError: If a value of dtype `npy` is damaged, holds an object, or has more than one axis.
    """
    if dtype == "npy":
        return np.stack([_loaded(value, origin) for value in values])
    # A bytearray is writable memory, as torch wants it; one join copies all rows.
    joined = bytearray().join(values)
    if dtype == "float32":
        rows = np.frombuffer(joined, np.float32)
    elif dtype == "bfloat16":
        # The upper half of a float32.
        rows = (np.frombuffer(joined, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        # What is too large becomes infinite, which readers refuse.
        with np.errstate(over="ignore"):
            rows = np.frombuffer(joined, dtype).astype(np.float32)
    return rows.reshape(len(values), -1)


def _loaded(value: bytes | memoryview, origin: str) -> NDArray[np.float32]:
    try:
        row = np.load(io.BytesIO(value), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as err:
        raise FeatureError(
            f"{origin}: a value is no whole npy array of numbers, and nothing else is read ({err}); export it again"
        ) from err
    if row.ndim != 1 or row.dtype.kind != "f":
        raise FeatureError(
            f"{origin}: a value holds {row.dtype} of shape {row.shape}, expected floats [F]; export it again"
        )
    return row.astype(np.float32)


def _container(values: bytes) -> str | None:
    """Return what a value says in its first bytes that it is. A pickle says it in the last one, too."""
    if values[:1] == b"\x80" and values[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and values[-1:] == b".":
        return "a pickle, which is never executed"
    return next((kind for begin, kind in _CONTAINERS.items() if values.startswith(begin)), None)


def _other_numbers(values: bytes) -> str | None:
    """Return what numbers look like, where they do not look like float32."""
    words = np.frombuffer(values, np.uint32)
    words = words[words != 0]
    if len(np.unique(words)) >= _LEAST_DISTINCT:
        halves = words.view(np.uint16)
        if _are_alike(halves[::2] >> 4, halves[1::2] >> 4) and _are_alike(halves[::2] >> 12, halves[1::2] >> 12):
            halves = halves[halves != 0]
            return "uint8, or compressed" if _are_alike(halves >> 4, halves >> 12) else _kind_of_halves(halves)
    # Of a float32 of normal size the bits are a larger number.
    if len(words) and (np.abs(words.view(np.int32).astype(np.int64)) < 1 << 23).all():
        return "int32 or int64"
    if not _is_usual(np.frombuffer(values, np.float32)):
        for name, kind in (("<f8", "float64"), (">f4", "float32 in the other order of bytes")):
            dtype = np.dtype(name)
            if len(values) % dtype.itemsize == 0 and _is_usual(np.frombuffer(values, dtype)):
                return kind
    return None


def _are_alike(one: NDArray[np.integer], other: NDArray[np.integer]) -> bool:
    """Return whether the lowest four bits of two series of numbers take each value about as often."""
    shares = [np.bincount(numbers & 15, minlength=16) / len(numbers) for numbers in (one, other)]
    return bool(np.abs(shares[0] - shares[1]).sum() / 2 < _MOST_ALIKE)


def _kind_of_halves(halves: NDArray[np.uint16]) -> str:
    numbers = (halves.astype(np.uint32) << 16).view(np.float32)
    if not np.isfinite(numbers).all():
        return "float16"
    return "bfloat16" if np.log2(np.abs(numbers[numbers != 0])).std() < _MOST_OCTAVES else "float16"


def _is_usual(numbers: NDArray) -> bool:
    """Return whether all numbers are finite and few of them, other than 0, are of a size that features do not have."""
    if not np.isfinite(numbers).all():
        return False
    sizes = np.abs(numbers[numbers != 0].astype(np.float64))
    unusual = (sizes < _USUAL[0]) | (sizes > _USUAL[1])
    return bool(unusual.sum() <= _MOST_UNUSUAL * len(sizes))
