"""50 Salads from stored frame features with frame-wise labels (TCN layout): 17 mid-level actions, 25 users.

A segment is a maximal run of one label. Those that start at least two seconds into the file are asked for; the
earlier ones are seen as past only. Row i of the features was seen at i / 3 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.text_table import read_text
from sgear.errors import AnnotationError, FeatureError
from sgear.features import FeatureTable, VideoFeatures
from sgear.files import require_regular_file
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

FPS = 3.0
GAP = 0
FIRST_START_S = 2.0
SPLITS = (1, 2)


@dataclass(frozen=True)
class Salads50:
    """The benchmark and the features of its videos."""

    benchmark: Benchmark
    features: FeatureTable


def label_runs(labels: NDArray[np.integer]) -> list[tuple[int, int, int]]:
    """Return (first row, row after the last, label) of each maximal run of one label, gaps left out."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    bounds = [0, *edges.tolist(), len(labels)]
    runs = [(first, stop, int(labels[first])) for first, stop in pairwise(bounds)]
    return [run for run in runs if run[2] != GAP]


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a text file.

    Raises:
        AnnotationError: If it is missing, empty or no text.
    """
    text = read_text(path, remedy="Point SGEAR_DATA to a folder that holds 50salads/.")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_arrays(path: Path, names: tuple[str, ...]) -> list[NDArray]:
    require_regular_file(path, FeatureError, "Copy it there or leave its video out of the split.")
    try:
        # numpy leaves a file that it opened itself open where it is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile, MemoryError) as err:
        raise FeatureError(f"{path}: cannot read arrays {list(names)} ({err}); copy the file again") from err


def _segments_of_video(video_id: str, labels: NDArray[np.integer], path: Path, num_actions: int) -> pl.DataFrame:
    if labels.max(initial=0) > num_actions:
        raise AnnotationError(f"{path}: label {labels.max()} is unknown; the action list has {num_actions} lines")
    runs = label_runs(labels)
    return pl.DataFrame(
        {
            "uid": [f"{video_id}_{index}" for index in range(len(runs))],
            "participant_id": [video_id.split("-")[1]] * len(runs),
            "video_id": [video_id] * len(runs),
            "start_s": [first / FPS for first, _, _ in runs],
            "stop_s": [stop / FPS for _, stop, _ in runs],
            "action_id": [label - 1 for _, _, label in runs],
        }
    )


def load_salads50(root: Path, *, split: int, modality: str = "spatialcnn") -> Salads50:
    """Load one split.

    Args:
        root: Folder of the data set.
        split: 1 or 2, the splits whose features are published.
        modality: `spatialcnn` (128-d, trained on that split's training videos) or `accelerometer` (30-d).

    Raises:
        AnnotationError: If a list or label file is missing or contradicts itself.
        FeatureError: If a feature file is missing or damaged.
        ValueError: If split or modality is unknown.
    """
    if split not in SPLITS:
        raise ValueError(f"50 Salads has features for splits {SPLITS}, got split {split}")
    if modality not in ("spatialcnn", "accelerometer"):
        raise ValueError(f"50 Salads has the modalities spatialcnn and accelerometer, got {modality!r}")
    taxonomy = Taxonomy.from_labels(read_lines(root / "mid_level_actions.txt"))
    labelled = root / "spatialcnn_mid" / f"split_{split}"
    tables: dict[str, pl.DataFrame] = {}
    videos: dict[str, VideoFeatures] = {}
    for part in ("train", "test"):
        frames = []
        for video_id in read_lines(root / "splits" / f"split_{split}" / f"{part}.txt"):
            path = labelled / f"{video_id}.npz"
            features, labels = _read_arrays(path, ("features", "labels"))
            frames.append(_segments_of_video(video_id, labels, path, taxonomy.num_actions))
            if modality == "accelerometer":
                path = root / "accelerometer" / f"{video_id}.npz"
                (features,) = _read_arrays(path, ("features",))
            if len(features) != len(labels):
                raise FeatureError(f"{path}: {len(features)} rows, but {len(labels)} labels in {labelled.name}")
            times_s = np.arange(len(features)) / FPS
            videos[video_id] = VideoFeatures(times_s, features.astype(np.float32), str(path))
        tables[part] = pl.concat(frames)
    both = pl.concat(tables.values()).with_columns(
        pl.col("action_id").replace_strict(range(taxonomy.num_actions), taxonomy.verb_of_action).alias("verb_id"),
        pl.col("action_id").replace_strict(range(taxonomy.num_actions), taxonomy.noun_of_action).alias("noun_id"),
    )
    in_test = pl.col("video_id").is_in(tables["test"]["video_id"].unique().to_list())
    is_asked = pl.col("start_s") >= FIRST_START_S
    origin = f"50 Salads split {split}"
    benchmark = Benchmark(
        name=f"salads50-split{split}",
        taxonomy=taxonomy,
        train=SegmentTable(both.filter(~in_test & is_asked), taxonomy, origin=origin),
        validation=SegmentTable(both.filter(in_test & is_asked), taxonomy, origin=origin),
        unscored=SegmentTable(both.filter(~is_asked), taxonomy, origin=origin),
    )
    return Salads50(benchmark, FeatureTable(videos))
