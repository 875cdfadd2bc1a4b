"""Stored features: one row per step of a video, read without looking ahead."""

from sgear.features.lmdb import LmdbFeatures, LmdbVideo
from sgear.features.lmdb_layout import LmdbLayout
from sgear.features.opening import (
    LMDB_FILE,
    MultiFeatures,
    find_features,
    is_stored,
    open_features,
    side_by_side,
)
from sgear.features.store import FeatureStore, MappedVideo
from sgear.features.store_index import DESCRIPTION_NAME, OF_RUN, Provenance, StoreDescription, write_index
from sgear.features.store_writer import FeatureStoreWriter
from sgear.features.table import FeatureTable, StoredFeatures, StoredVideo, VideoFeatures, pool_rows

__all__ = [
    "DESCRIPTION_NAME",
    "LMDB_FILE",
    "OF_RUN",
    "FeatureStore",
    "FeatureStoreWriter",
    "FeatureTable",
    "LmdbFeatures",
    "LmdbLayout",
    "LmdbVideo",
    "MappedVideo",
    "MultiFeatures",
    "Provenance",
    "StoreDescription",
    "StoredFeatures",
    "StoredVideo",
    "VideoFeatures",
    "find_features",
    "is_stored",
    "open_features",
    "pool_rows",
    "side_by_side",
    "write_index",
]
