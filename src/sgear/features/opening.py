"""A path or a list of names -> stored features: a store, an LMDB, or several kinds side by side (early fusion).

Several kinds are aligned by time alone: of each kind the newest row at or before an instant, so nobody sees the future.
The clip is as wide as all together; `widths` says where one kind ends and the next begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures
from sgear.features.lmdb_layout import RULSTM, LmdbLayout
from sgear.features.store import FeatureStore
from sgear.features.store_index import DESCRIPTION_NAME
from sgear.features.table import FeatureTable, StoredFeatures, StoredVideo, VideoFeatures

LMDB_FILE = "data.mdb"
LMDB_SUFFIXES = (".lmdb", ".mdb")


def is_stored(path: Path) -> bool:
    """Return whether a path is a feature store or an LMDB."""
    if path.is_dir():
        return (path / DESCRIPTION_NAME).is_file() or (path / LMDB_FILE).is_file()
    return path.is_file() and path.suffix in LMDB_SUFFIXES


def open_features(path: Path, layout: LmdbLayout = RULSTM) -> FeatureStore | LmdbFeatures:
    """Open a feature store or an LMDB.

    Args:
        path: Folder of a store, folder of an LMDB, or the file of an LMDB.
        layout: Keys and times of an LMDB.

    Raises:
        FeatureError: If there is neither, or it is damaged.
    """
    if (path / DESCRIPTION_NAME).is_file():
        return FeatureStore(path)
    if is_stored(path):
        return LmdbFeatures(path, layout)
    inside = sorted(each.name for each in path.iterdir())[:5] if path.is_dir() else []
    raise FeatureError(
        f"{path}: neither a feature store ({DESCRIPTION_NAME}) nor an LMDB ({LMDB_FILE}); "
        + (f"the folder holds {inside}" if path.is_dir() else "there is no such folder")
        + ". Give the folder itself, or make a store with 'sgear features extract' or 'import'"
    )


def find_features(name: str, roots: Sequence[Path]) -> Path:
    """Return the first of `name` itself, and `name` under each root, that is a store or an LMDB.

    Raises:
        FeatureError: If none is; lists the places.
    """
    places = [Path(name), *(root / name for root in roots)]
    for place in places:
        if is_stored(place):
            return place
    raise FeatureError(
        f"features {name!r} were not found: no feature store or LMDB at {', '.join(map(str, places))}; give the path, "
        "or the folder around it in source.feature_roots (of a run: --feature-root)"
    )


@dataclass(frozen=True)
class MultiVideo:
    """Features of one video, one storage per modality."""

    parts: tuple[StoredVideo, ...]

    @property
    def first_s(self) -> float:
        """Time from which on every modality is there."""
        return max(part.first_s for part in self.parts)

    @property
    def last_s(self) -> float:
        """Time of the last row of the modality that ends first."""
        return min(part.last_s for part in self.parts)

    def read(
        self, timestamps_s: NDArray[np.float64], pool_s: float = 0.0
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """See `StoredVideo.read`; the time of a step is that of its newest modality."""
        read = [part.read(timestamps_s, pool_s) for part in self.parts]
        features = np.concatenate([features for features, _ in read], axis=1)
        return features, np.stack([pts_s for _, pts_s in read]).max(axis=0)

    def covers(self, timestamps_s: NDArray[np.float64]) -> NDArray[np.bool_]:
        """See `StoredVideo.covers`; every modality must be there."""
        return np.logical_and.reduce([part.covers(timestamps_s) for part in self.parts])


def side_by_side(modalities: Mapping[str, StoredFeatures]) -> StoredFeatures:
    """Return several kinds of features as one; in memory where all are, of the same videos, at the same times.

    Args:
        modalities: Features by name, in the order in which they stand in a clip.

    Raises:
        ValueError: If there is none.
    """
    tables = [table for table in modalities.values() if isinstance(table, FeatureTable)]
    if not modalities or len(tables) < len(modalities):
        return MultiFeatures(modalities)
    video_ids = tables[0].video_ids
    if any(set(table.video_ids) != set(video_ids) for table in tables):
        # They say which kind a video lacks.
        return MultiFeatures(modalities)
    joined: dict[str, VideoFeatures] = {}
    for video_id in video_ids:
        parts = [table[video_id] for table in tables]
        if not all(np.array_equal(part.times_s, parts[0].times_s) for part in parts):
            return MultiFeatures(modalities)
        rows = np.concatenate([part.features for part in parts], axis=1)
        joined[video_id] = VideoFeatures(parts[0].times_s, rows, " + ".join(part.origin for part in parts))
    return FeatureTable(joined)


class MultiFeatures:
    """Several kinds of features as one.

    Args:
        modalities: Features by name, in the order in which they stand in a clip.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, modalities: Mapping[str, StoredFeatures]) -> None:
        if not modalities:
            raise ValueError("at least one modality is needed")
        self.modalities = dict(modalities)

    def __repr__(self) -> str:
        return f"MultiFeatures({self.widths})"

    @property
    def widths(self) -> dict[str, int]:
        """Width of each modality, in order."""
        return {name: table.width for name, table in self.modalities.items()}

    @property
    def width(self) -> int:
        """Width F of all modalities together."""
        return sum(self.widths.values())

    @property
    def video_ids(self) -> list[str]:
        """Ids of the videos that have every modality, sorted."""
        return sorted(set.intersection(*(set(table.video_ids) for table in self.modalities.values())))

    def __contains__(self, video_id: str) -> bool:
        return all(video_id in table for table in self.modalities.values())

    def __getitem__(self, video_id: str) -> MultiVideo:
        absent = [name for name, table in self.modalities.items() if video_id not in table]
        if absent:
            there = [name for name in self.modalities if name not in absent]
            raise FeatureError(
                f"video {video_id!r} has no features of modality {', '.join(absent)} (it has "
                f"{', '.join(there) or 'none'}); extract or copy them, or leave the modality out of source.features"
            )
        return MultiVideo(tuple(table[video_id] for table in self.modalities.values()))

    def standard_deviation(self, video_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the standard deviation of each feature over the given videos [F]."""
        return np.concatenate([table.standard_deviation(video_ids) for table in self.modalities.values()])
