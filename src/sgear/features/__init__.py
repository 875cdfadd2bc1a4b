"""Stored features: one row per step of a video, read without looking ahead."""

from sgear.features.lmdb import LmdbFeatures
from sgear.features.lmdb_layout import LmdbLayout
from sgear.features.multi import MultiFeatures
from sgear.features.opening import open_features
from sgear.features.store import FeatureStore
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.features.table import FeatureTable, StoredFeatures, StoredVideo, VideoFeatures

__all__ = [
    "FeatureStore",
    "FeatureStoreWriter",
    "FeatureTable",
    "LmdbFeatures",
    "LmdbLayout",
    "MultiFeatures",
    "Provenance",
    "StoredFeatures",
    "StoredVideo",
    "VideoFeatures",
    "open_features",
]
