"""From segments to batches."""

from sgear.data.dataset import AnticipationDataset, Batch, RecognitionDataset, WindowDataset, collate
from sgear.data.labels import StepLabels
from sgear.data.sources import AnnotationSource, FeatureSource, PastSource, StepSource, VideoSource

__all__ = [
    "AnnotationSource",
    "AnticipationDataset",
    "Batch",
    "FeatureSource",
    "PastSource",
    "RecognitionDataset",
    "StepLabels",
    "StepSource",
    "VideoSource",
    "WindowDataset",
    "collate",
]
