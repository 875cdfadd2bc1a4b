"""What a feature store says about itself: `store.json` (how it was made) and `index.parquet` (what is in it).

Each video is a safetensors file with `features` [N F] and `times_s` [N], of which any safetensors library can read. Its
header says all about it, so an index can be rebuilt without reading a single row.

The index is a copy of the headers of the files. One that is missing is made again from them, and files that are newer
are added, so a store can never lose a finished video.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgear.errors import FeatureError, FeatureWidthError
from sgear.files import create_exclusively, replacing, require_regular_file
from sgear.lineage import Lineage

SUFFIX = ".safetensors"
VIDEO_FORMAT = "sgear-features-1"
DTYPES = {"float32": "F32", "float16": "F16"}
LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 1 << 20
_AGAIN = "delete it and extract or import this video again"
STORE_FORMAT = "sgear-feature-store-1"
DESCRIPTION_NAME = "store.json"
INDEX_NAME = "index.parquet"
VIDEO_FOLDER = "videos"
OF_RUN = " of run "
"""What stands in the name of an encoder before the run that it was taken from."""
INDEX_SCHEMA = {
    "video_id": pl.String,
    "file": pl.String,
    "rows": pl.Int64,
    "width": pl.Int64,
    "dtype": pl.String,
    "first_s": pl.Float64,
    "last_s": pl.Float64,
    "fingerprint": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How features were made. Videos of one store agree in all of it.

    Args:
        encoder: Name of the network, or of the release that was imported.
        weights: Digest of its weights; empty where they are not known (imports).
        preprocessing: How frames were cut, resized, normalised, and which views were averaged.
        fps: Rows per second; 0 where they come at no fixed rate.
        skipped: Why segments were left out when the encoder was trained, by split and uid; see
            `sgear.predictions.provenance`.
        lineage: What the encoder was learnt from, as `sgear.lineage.Lineage.to_dict` gives it; empty if it is no run.
    """

    encoder: str
    weights: str
    preprocessing: str
    fps: float
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoreDescription(Provenance):
    """The content of `store.json`: the provenance, the shape of a row, and how long a row stands.

    Args:
        width: Width F.
        dtype: `float32` or `float16`.
        max_gap_s: An instant is served by the newest row before it, if that is no more seconds older. It says how rows
            are read, not how they were made, so it may be changed by hand. None, or no such entry: three periods of the
            video's own rate.
    """

    width: int
    dtype: str
    max_gap_s: float | None = None

    @property
    def digest(self) -> str:
        """12 hexadecimal digits; they stand in every file of the store."""
        return hashlib.sha256(json.dumps(self._made(), sort_keys=True).encode()).hexdigest()[:12]

    def _made(self) -> dict[str, object]:
        # Stores without skipped segments or lineage have no entry for them, nor had any store before there was one.
        made = {name: value for name, value in asdict(self).items() if name not in ("skipped", "lineage") or value}
        del made["max_gap_s"]
        return made

    def save_new(self, root: Path) -> StoreDescription:
        """Write the description of a new store, or hold it against the one that is there.

        Returns:
            The description that the store has now.

        Raises:
            FeatureError: If the store was made otherwise; names what differs.
        """
        gap = {} if self.max_gap_s is None else {"max_gap_s": self.max_gap_s}
        text = json.dumps({"format": STORE_FORMAT, **self._made(), **gap}, indent=1) + "\n"
        try:
            create_exclusively(root / DESCRIPTION_NAME, text)
        except FileExistsError:
            found = StoreDescription.load(root)
            ours, theirs = asdict(replace(self, max_gap_s=found.max_gap_s)), asdict(found)
            differing = [
                f"{name} is {theirs[name]!r:.200}, not {ours[name]!r:.200}"
                for name in ours
                if ours[name] != theirs[name]
            ]
            if differing:
                raise FeatureError(
                    f"{root}: holds features that were made otherwise: {'; '.join(differing)}. Write to another folder"
                ) from None
            return found
        return self

    @classmethod
    def load(cls, root: Path) -> StoreDescription:
        """Read the description of a store.

        Raises:
            FeatureError: If there is no store, or its description is damaged.
        """
        path = root / DESCRIPTION_NAME
        if not path.is_file():
            raise FeatureError(f"{root}: no feature store there ({DESCRIPTION_NAME} is missing); check the path")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("format") != STORE_FORMAT:
                raise ValueError(f"expected format {STORE_FORMAT}")
            skipped = _checked_skipped(values.pop("skipped", {}))
            lineage = values.pop("lineage", {})
            if lineage:
                Lineage.from_dict(lineage, name=str(root))
            max_gap_s = _checked_gap(values.pop("max_gap_s", None))
            plain = [item for item in fields(cls) if item.name not in ("skipped", "lineage", "max_gap_s")]
            kinds = {item.name: {"str": str, "int": int, "float": float}[str(item.type)] for item in plain}
            if values.keys() != kinds.keys() or values["dtype"] not in DTYPES:
                raise ValueError(f"expected the keys {sorted(kinds)}, dtype {' or '.join(DTYPES)}")
            made = {name: kinds[name](value) for name, value in values.items()}
            return cls(**made, skipped=skipped, lineage=lineage, max_gap_s=max_gap_s)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise FeatureError(f"{path}: damaged description of a store ({err}); restore it or extract again") from err


def _checked_gap(found: object) -> float | None:
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < math.inf:
        raise ValueError(f"expected max_gap_s in seconds, got {found!r:.80}")
    return float(found)


def _checked_skipped(found: object) -> dict[str, dict[str, str]]:
    is_whole = isinstance(found, dict) and all(
        isinstance(reasons, dict) and all(isinstance(reason, str) for reason in reasons.values())
        for reasons in found.values()
    )
    if not isinstance(found, dict) or not is_whole:
        raise ValueError(f"expected skipped segments by split and uid, got {found!r:.80}")
    return found


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
        video: What the video is known by that the rows were made of; empty where they were imported.
        video_s: Length of that video in seconds by its own clock; 0 where it is not known.
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
    video: str = ""
    video_s: float = 0.0


def read_header(path: Path) -> VideoHeader:
    """Read and check the header of a video's file, and that the file is as long as it says.

    Raises:
        FeatureError: If the file is missing, truncated, or not one of a feature store.
    """
    require_regular_file(path, FeatureError)
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            text = file.read(length) if length <= _MAX_HEADER_BYTES else b""
    except OSError as err:
        raise FeatureError(f"{path}: cannot be read ({err}); {_AGAIN}") from err
    begin = LENGTH_BYTES + length
    if num_bytes < LENGTH_BYTES or (length <= _MAX_HEADER_BYTES and num_bytes < begin):
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
    metadata, features, times = values["__metadata__"], values["features"], values["times_s"]
    if metadata["format"] != VIDEO_FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}")
    names = {code: name for name, code in DTYPES.items()}
    (rows, width), dtype = features["shape"], names[features["dtype"]]
    if times["dtype"] != "F64" or times["shape"] != [rows] or min(rows, width) < 1:
        raise ValueError(f"features {features['shape']} do not go with times {times['shape']}")
    (features_at, features_end), (times_at, times_end) = features["data_offsets"], times["data_offsets"]
    itemsize = np.dtype(dtype).itemsize
    if features_end - features_at != rows * width * itemsize or times_end - times_at != rows * 8:
        raise ValueError("offsets and shapes disagree")
    header = VideoHeader(
        video_id=metadata["video_id"],
        rows=rows,
        width=width,
        dtype=dtype,
        first_s=float(metadata["first_s"]),
        last_s=float(metadata["last_s"]),
        fingerprint=metadata["fingerprint"],
        provenance=metadata["provenance"],
        features_at=begin + features_at,
        times_at=begin + times_at,
        video=metadata.get("film", ""),
        video_s=float(metadata.get("film_s", 0.0)),
    )
    return header, begin + max(features_end, times_end)


def video_file(root: Path, video_id: str) -> Path:
    """Return where a video of a store lies."""
    return root / VIDEO_FOLDER / f"{video_id}{SUFFIX}"


def _listed(root: Path) -> list[str]:
    names = os.listdir(root / VIDEO_FOLDER) if (root / VIDEO_FOLDER).is_dir() else []
    return sorted(name for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def check_header(header: VideoHeader, path: Path, description: StoreDescription) -> None:
    """Hold the header of a video against the store that it lies in.

    Raises:
        FeatureError: If it is of another width or provenance, or its file was renamed.
    """
    ours, theirs = (description.width, description.dtype), (header.width, header.dtype)
    if ours != theirs:
        raise FeatureWidthError(
            f"{path}: has features of (width, dtype) {theirs}, but its store says {ours}; extract again"
        )
    if header.provenance != description.digest:
        raise FeatureError(
            f"{path}: was written for another store ({header.provenance}, this one is {description.digest}), whose "
            "features were made otherwise; remove it and extract this video here"
        )
    if f"{header.video_id}{SUFFIX}" != path.name:
        raise FeatureError(
            f"{path}: was written as video {header.video_id!r}, so the file was renamed; give it back the name "
            f"{header.video_id}{SUFFIX}, or remove it and extract this video again"
        )


def build_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Return the index of all finished videos, from the headers of their files.

    Raises:
        FeatureError: If a file is damaged or does not belong to this store.
    """
    return _index_of(_listed(root), root, description)


def _index_of(names: Sequence[str], root: Path, description: StoreDescription) -> pl.DataFrame:
    rows = []
    for name in names:
        path = root / VIDEO_FOLDER / name
        header = read_header(path)
        check_header(header, path, description)
        values = {column: getattr(header, column) for column in INDEX_SCHEMA if column != "file"}
        rows.append({"file": f"{VIDEO_FOLDER}/{name}", **values})
    return pl.DataFrame(rows, schema=INDEX_SCHEMA)


def write_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Make the index again and put it in place of the old one."""
    index = build_index(root, description)
    with replacing(root / INDEX_NAME) as partial:
        index.write_parquet(partial)
    return index


def load_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Return the index, with the files that are newer than the written one.

    Videos that the written index lists and whose file is gone or damaged stay in it: reading them tells.

    Raises:
        FeatureError: If the index or a newer file is damaged, or does not belong to this store.
    """
    path = root / INDEX_NAME
    if not path.is_file():
        return build_index(root, description)
    try:
        index = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as err:
        raise FeatureError(f"{path}: damaged index ({err}); delete it, it is made from the files again") from err
    if index.schema != pl.Schema(INDEX_SCHEMA):
        return build_index(root, description)
    known = set(index["file"])
    newer = [name for name in _listed(root) if f"{VIDEO_FOLDER}/{name}" not in known]
    return pl.concat([index, _index_of(newer, root, description)]).sort("file") if newer else index
