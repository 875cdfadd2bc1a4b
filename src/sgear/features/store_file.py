"""One video in a feature store: a safetensors file with `features` [N F] and `times_s` [N].

The header says all about a file, so an index can be rebuilt without reading a single row. The rows themselves are
mapped into memory. A file appears under its name only when it is complete. Any safetensors library reads it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.files import partial_path, require_regular_file

SUFFIX = ".safetensors"
VIDEO_FORMAT = "sgear-features-1"
DTYPES = {"float32": "F32", "float16": "F16"}
_VIDEO_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_LENGTH_BYTES = 8
_PAGE_BYTES = 4096
_MAX_HEADER_BYTES = 1 << 20
_AGAIN = "delete it and extract or import this video again"


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What the header of a video's file says.

    Args:
        video_id: The video.
        rows: Number of rows N.
        width: Width F.
        dtype: `float32` or `float16`.
        first_s: Time of the first row.
        last_s: Time of the last row.
        fingerprint: Digest of times and features.
        provenance: Digest of the description of the store that it was written for.
        features_at: Offset of the features in the file, in bytes.
        times_at: Offset of the times in the file, in bytes.
    """

    video_id: str
    rows: int
    width: int
    dtype: str
    first_s: float
    last_s: float
    fingerprint: str
    provenance: str
    features_at: int
    times_at: int


def check_video_id(video_id: str) -> None:
    """Refuse an id that cannot be a file name, such as one that would leave the folder.

    Raises:
        FeatureError: If it holds anything but letters, digits, `_`, `.` and `-`.
    """
    if not _VIDEO_ID.fullmatch(video_id):
        raise FeatureError(
            f"video id {video_id!r} cannot be a file name; use letters, digits, '_', '.' and '-', a letter first"
        )


def fingerprint_of(times_s: NDArray[np.float64], features: NDArray) -> str:
    """Return 16 hexadecimal digits that any change of the rows changes."""
    digest = hashlib.sha256(np.ascontiguousarray(times_s).tobytes())
    digest.update(np.ascontiguousarray(features).data)
    return digest.hexdigest()[:16]


def write_video(path: Path, video_id: str, times_s: NDArray[np.float64], features: NDArray, *, provenance: str) -> None:
    """Write one checked video; the file appears whole or not at all.

    Rows begin at a page of memory: one of 1,024 float32 numbers is then one page to load, not two.
    """
    metadata = {
        "format": VIDEO_FORMAT,
        "video_id": video_id,
        "first_s": repr(float(times_s[0])),
        "last_s": repr(float(times_s[-1])),
        "fingerprint": fingerprint_of(times_s, features),
        "provenance": provenance,
    }
    end = features.nbytes + times_s.nbytes
    header = {
        "__metadata__": metadata,
        "features": {
            "dtype": DTYPES[features.dtype.name],
            "shape": [*features.shape],
            "data_offsets": [0, features.nbytes],
        },
        "times_s": {"dtype": "F64", "shape": [len(times_s)], "data_offsets": [features.nbytes, end]},
    }
    text = json.dumps(header).encode()
    # The format allows a header to end in spaces.
    text += b" " * (-(len(text) + _LENGTH_BYTES) % _PAGE_BYTES)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            file.write(np.ascontiguousarray(features).data)
            file.write(np.ascontiguousarray(times_s).data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> VideoHeader:
    """Read and check the header of a video's file, and that the file is as long as it says.

    Raises:
        FeatureError: If the file is missing, truncated, or not one of a feature store.
    """
    require_regular_file(path, FeatureError)
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            text = file.read(length) if length <= _MAX_HEADER_BYTES else b""
    except OSError as err:
        raise FeatureError(f"{path}: cannot be read ({err}); {_AGAIN}") from err
    begin = _LENGTH_BYTES + length
    if num_bytes < _LENGTH_BYTES or (length <= _MAX_HEADER_BYTES and num_bytes < begin):
        raise FeatureError(f"{path}: truncated within its header, {num_bytes} bytes are left; {_AGAIN}")
    try:
        header, end = _parse(json.loads(text), begin)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise FeatureError(
            f"{path}: not a file of a feature store (expected safetensors with features [N F] and times_s [N], "
            f"format {VIDEO_FORMAT}: {err}); write it with 'sgear features import'"
        ) from err
    if num_bytes != end:
        raise FeatureError(f"{path}: has {num_bytes} bytes instead of {end}, so it is truncated or damaged; {_AGAIN}")
    return header


def _parse(values: dict[str, Any], begin: int) -> tuple[VideoHeader, int]:
    """Return the header and the length of the whole file."""
    told, features, times = values["__metadata__"], values["features"], values["times_s"]
    if told["format"] != VIDEO_FORMAT:
        raise ValueError(f"its format is {told['format']!r}")
    names = {code: name for name, code in DTYPES.items()}
    (rows, width), dtype = features["shape"], names[features["dtype"]]
    if times["dtype"] != "F64" or times["shape"] != [rows] or min(rows, width) < 1:
        raise ValueError(f"features {features['shape']} do not go with times {times['shape']}")
    (features_at, features_end), (times_at, times_end) = features["data_offsets"], times["data_offsets"]
    itemsize = np.dtype(dtype).itemsize
    if features_end - features_at != rows * width * itemsize or times_end - times_at != rows * 8:
        raise ValueError("offsets and shapes disagree")
    header = VideoHeader(
        video_id=told["video_id"],
        rows=rows,
        width=width,
        dtype=dtype,
        first_s=float(told["first_s"]),
        last_s=float(told["last_s"]),
        fingerprint=told["fingerprint"],
        provenance=told["provenance"],
        features_at=begin + features_at,
        times_at=begin + times_at,
    )
    return header, begin + max(features_end, times_end)


def map_video(path: Path, header: VideoHeader) -> tuple[NDArray[np.float64], NDArray]:
    """Return times [N], in memory, and features [N F], mapped and read-only."""
    times_s = np.fromfile(path, np.float64, header.rows, offset=header.times_at)
    features = np.memmap(path, header.dtype, "r", header.features_at, (header.rows, header.width))
    # A plain array reads windows faster than its subclass does; it keeps the mapping alive.
    return times_s, np.asarray(features)
