"""Small feature stores and LMDBs, and the slow way to read them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import lmdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.features import FeatureStore, FeatureStoreWriter, Provenance
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
PAGE = 4096
LEAF, OVERFLOW = 2, 4
MADE_BY = Provenance(encoder="test", weights="0123", preprocessing="none", fps=4.0)


def random_rows(num_rows: int, width: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((num_rows, width), dtype=np.float32)


def make_store(
    root: Path, videos: Mapping[str, tuple[NDArray[np.float64], NDArray]], *, dtype: str = "float32"
) -> FeatureStore:
    width = next(iter(videos.values()))[1].shape[1]
    writer = FeatureStoreWriter(root, MADE_BY, width=width, dtype=dtype)
    for video_id, (times_s, features) in videos.items():
        writer.write(video_id, times_s, features)
    return writer.finish()


def make_lmdb(path: Path, entries: Mapping[str, bytes]) -> Path:
    """An LMDB with exactly these entries, written as a user of the package would."""
    with (
        lmdb.open(str(path), map_size=1 << 24, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in entries.items():
            transaction.put(key.encode(), value)
    return path


def rulstm_entries(video_id: str, numbers, width: int = 4) -> dict[str, bytes]:
    """Rows that hold their own frame number."""
    return {f"{video_id}_frame_{n:010d}.jpg": np.full(width, n, dtype=np.float32).tobytes() for n in numbers}


def pages_of(file: Path, kind: int) -> list[int]:
    """Numbers of all pages of an LMDB that say they are of a kind."""
    content = file.read_bytes()
    pages = range(2, len(content) // PAGE)
    return [page for page in pages if struct.unpack_from("<Q2H", content, page * PAGE)[::2] == (page, kind)]


def overwrite(file: Path, page: int, content: bytes) -> None:
    """Put something else in the place of a page."""
    with file.open("r+b") as stream:
        stream.seek(page * PAGE)
        stream.write(content)


def segments_of(*rows: tuple[str, float, float, int]) -> SegmentTable:
    """Segments given as (video, start, stop, action)."""
    actions = [action for _, _, _, action in rows]
    frame = pl.DataFrame(
        {
            "uid": [f"{row[0]}_{index}" for index, row in enumerate(rows)],
            "participant_id": [row[0].split("_")[0] for row in rows],
            "video_id": [row[0] for row in rows],
            "start_s": [float(row[1]) for row in rows],
            "stop_s": [float(row[2]) for row in rows],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="test")
