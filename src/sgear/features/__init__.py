"""Stored features: one row per step of a video, read without looking ahead."""

from sgear.features.table import FeatureTable, VideoFeatures

__all__ = ["FeatureTable", "VideoFeatures"]
