"""From segments to batches."""

from sgear.data.batch import Batch, collate
from sgear.data.dataset import AnticipationDataset, RecognitionDataset, WindowDataset
from sgear.data.labels import StepLabels
from sgear.data.sources import FeatureSource, StepSource, VideoSource

__all__ = [
    "AnticipationDataset",
    "Batch",
    "FeatureSource",
    "RecognitionDataset",
    "StepLabels",
    "StepSource",
    "VideoSource",
    "WindowDataset",
    "collate",
]
