"""A path or a list of names -> stored features: `rgb+flow+obj` under some folders, or a single store or LMDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sgear.errors import FeatureError
from sgear.features.lmdb import LmdbFeatures
from sgear.features.lmdb_layout import RULSTM, LmdbLayout
from sgear.features.store import FeatureStore
from sgear.features.store_index import DESCRIPTION_NAME

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
