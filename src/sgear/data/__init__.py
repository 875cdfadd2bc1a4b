"""From segments to batches."""

from sgear.data.annotations import AnnotationSource
from sgear.data.batch import Batch, collate
from sgear.data.dataset import AnticipationDataset, RecognitionDataset, WindowDataset
from sgear.data.labels import StepLabels
from sgear.data.sources import FeatureSource, StepSource, VideoSource

__all__ = [
    "AnnotationSource",
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
