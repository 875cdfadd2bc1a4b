"""What a feature store says about itself: `store.json` (how it was made) and `index.parquet` (what is in it).

The index is a copy of the headers of the files. One that is missing, or older than the files, is made again from
them, so a store can never lose a finished video.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import polars as pl

from sgear.errors import FeatureError, FeatureWidthError
from sgear.features.store_file import DTYPES, SUFFIX, VideoHeader, read_header
from sgear.files import create_exclusively, partial_path

STORE_FORMAT = "sgear-feature-store-1"
DESCRIPTION_NAME = "store.json"
INDEX_NAME = "index.parquet"
VIDEO_FOLDER = "videos"
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
            `sgear.predictions.skipped`.
    """

    encoder: str
    weights: str
    preprocessing: str
    fps: float
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoreDescription(Provenance):
    """The content of `store.json`: the provenance, and the shape of a row.

    Args:
        width: Width F.
        dtype: `float32` or `float16`.
    """

    width: int
    dtype: str

    @property
    def digest(self) -> str:
        """12 hexadecimal digits; they stand in every file of the store."""
        return hashlib.sha256(json.dumps(self._written(), sort_keys=True).encode()).hexdigest()[:12]

    def _written(self) -> dict[str, object]:
        # Stores without skipped segments have no entry for them, nor had any store before there was one.
        return {name: value for name, value in asdict(self).items() if name != "skipped" or value}

    def save_new(self, root: Path) -> None:
        """Write the description of a new store, or hold it against the one that is there.

        Raises:
            FeatureError: If the store was made otherwise; names what differs.
        """
        text = json.dumps({"format": STORE_FORMAT, **self._written()}, indent=1) + "\n"
        try:
            create_exclusively(root / DESCRIPTION_NAME, text)
        except FileExistsError:
            found = StoreDescription.load(root)
            ours, theirs = asdict(self), asdict(found)
            differing = [
                f"{name} is {theirs[name]!r:.200}, not {ours[name]!r:.200}"
                for name in ours
                if ours[name] != theirs[name]
            ]
            if differing:
                raise FeatureError(
                    f"{root}: holds features that were made otherwise: {'; '.join(differing)}. Write to another folder"
                ) from None

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
            plain = [item for item in fields(cls) if item.name != "skipped"]
            kinds = {item.name: {"str": str, "int": int, "float": float}[str(item.type)] for item in plain}
            if values.keys() != kinds.keys() or values["dtype"] not in DTYPES:
                raise ValueError(f"expected the keys {sorted(kinds)}, dtype {' or '.join(DTYPES)}")
            return cls(**{name: kinds[name](value) for name, value in values.items()}, skipped=skipped)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise FeatureError(f"{path}: damaged description of a store ({err}); restore it or extract again") from err


def _checked_skipped(found: object) -> dict[str, dict[str, str]]:
    is_whole = isinstance(found, dict) and all(
        isinstance(reasons, dict) and all(isinstance(reason, str) for reason in reasons.values())
        for reasons in found.values()
    )
    if not isinstance(found, dict) or not is_whole:
        raise ValueError(f"expected skipped segments by split and uid, got {found!r:.80}")
    return found


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
    if header.provenance != description.digest or f"{header.video_id}{SUFFIX}" != path.name:
        raise FeatureError(
            f"{path}: was written as video {header.video_id!r} of another store ({header.provenance}, this one is "
            f"{description.digest}); remove it and extract this video here"
        )


def build_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Return the index of all finished videos, from the headers of their files.

    Raises:
        FeatureError: If a file is damaged or does not belong to this store.
    """
    rows = []
    for name in _listed(root):
        path = root / VIDEO_FOLDER / name
        header = read_header(path)
        check_header(header, path, description)
        values = {column: getattr(header, column) for column in INDEX_SCHEMA if column != "file"}
        rows.append({"file": f"{VIDEO_FOLDER}/{name}", **values})
    return pl.DataFrame(rows, schema=INDEX_SCHEMA)


def write_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Make the index again and put it in place of the old one."""
    index = build_index(root, description)
    partial = partial_path(root / INDEX_NAME)
    try:
        index.write_parquet(partial)
        partial.replace(root / INDEX_NAME)
    finally:
        partial.unlink(missing_ok=True)
    return index


def load_index(root: Path, description: StoreDescription) -> pl.DataFrame:
    """Return the index; from the files themselves where the written one does not list exactly these.

    Raises:
        FeatureError: If a file is damaged or does not belong to this store.
    """
    path = root / INDEX_NAME
    if path.is_file():
        try:
            index = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as err:
            raise FeatureError(f"{path}: damaged index ({err}); delete it, it is made from the files again") from err
        expected = [f"{VIDEO_FOLDER}/{name}" for name in _listed(root)]
        if index.schema == pl.Schema(INDEX_SCHEMA) and index["file"].to_list() == expected:
            return index
    return build_index(root, description)
