"""Data sets: loaders of published and own annotations, each found by its name."""

from sgear.datasets.base import (
    DatasetSpec,
    Places,
    annotation_folder,
    corpus_of,
    data_folder,
    dataset_names,
    dataset_spec,
    load_dataset,
)
from sgear.datasets.benchmark import Benchmark, TextRules, participant_folds
from sgear.datasets.videos import (
    LENGTH_TOLERANCE_S,
    VideoInfo,
    dataset_folder,
    feature_places,
    numbering_rates,
    read_video_info,
    require_stated_length,
    stated_lengths,
    video_places,
)

__all__ = [
    "LENGTH_TOLERANCE_S",
    "Benchmark",
    "DatasetSpec",
    "Places",
    "TextRules",
    "VideoInfo",
    "annotation_folder",
    "corpus_of",
    "data_folder",
    "dataset_folder",
    "dataset_names",
    "dataset_spec",
    "feature_places",
    "load_dataset",
    "numbering_rates",
    "participant_folds",
    "read_video_info",
    "require_stated_length",
    "stated_lengths",
    "video_places",
]
