"""50 Salads from labels of each row or frame: its splits, `groundTruth/*.txt`, and stored features with labels.

Frame-wise labels are at 30 frames a second, frame i shown at i / 30 s of the video. `action_start` and `action_end`
fill the video before the first and after the last action: two classes beside the 17 actions, in the dense protocol
(`sgear.datasets.dense`) and in AVT's.

Stored features (TCN layout) have one label for each row, 17 mid-level actions; row i was seen at i / 3 s.

A segment is a maximal run of one label. Those that start at least two seconds into the file are asked for; the
earlier ones are seen as past only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.csv_table import read_lines, shown
from sgear.errors import AnnotationError, FeatureError
from sgear.features import FeatureTable, VideoFeatures
from sgear.files import require_regular_file
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

FPS = 30.0
START, END = "action_start", "action_end"
_VIDEO_ID = re.compile(r"rgb-([0-9]{2})-[0-9]")
REMEDY = "Check the folder of 50 Salads, or get the file again."
_TCN_FPS = 3.0
_TCN_REMEDY = "Point SGEAR_DATA to a folder that holds 50salads/."
_GAP = 0
_FIRST_START_S = 2.0


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
    return [run for run in runs if run[2] != _GAP]


def read_videos(path: Path) -> list[str]:
    """Return the video ids of a split file: one id per line, with or without a folder and `.txt`."""
    videos: dict[str, int] = {}
    for number, line in read_lines(path, remedy=REMEDY):
        video_id = line.rsplit("/", 1)[-1].removesuffix(".txt")
        if not _VIDEO_ID.fullmatch(video_id):
            raise AnnotationError(
                f"{path}, line {number}: {shown(line)}, expected a video such as rgb-01-2. Correct the file."
            )
        if video_id in videos:
            raise AnnotationError(
                f"{path}, line {number}: {video_id} stands on line {videos[video_id]} already. Remove one."
            )
        videos[video_id] = number
    return list(videos)


def read_fold(root: Path, split: int) -> dict[str, list[str]]:
    """Return the training and test videos of one of the five folds of `splits_abu_farha` (or `splits`)."""
    folder = root / "splits_abu_farha"
    if not folder.is_dir() and (root / "splits" / f"train.split{split}.bundle").is_file():
        folder = root / "splits"
    parts = {part: read_videos(folder / f"{part}.split{split}.bundle") for part in ("train", "test")}
    train, test = ({video_id.split("-")[1] for video_id in parts[part]} for part in ("train", "test"))
    if train & test:
        raise AnnotationError(f"{folder}: users {sorted(train & test)} are in train and in test. Get the files again.")
    return parts


def read_mapping(root: Path) -> dict[str, int]:
    """Return the id of each of the 19 frame classes, as `mapping.txt` numbers them."""
    path = root / "mapping.txt"
    ids: dict[str, int] = {}
    for number, line in read_lines(path, remedy=REMEDY):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r"[0-9]{1,3}", parts[0]) or parts[1] in ids:
            raise AnnotationError(f"{path}, line {number}: {shown(line)}, expected an id and a new name. Correct it.")
        ids[parts[1]] = int(parts[0])
    if sorted(ids.values()) != list(range(len(ids))) or not {START, END} < ids.keys():
        raise AnnotationError(
            f"{path}: expected the ids 0..{len(ids) - 1} once each, with {START} and {END}. Correct the file."
        )
    return ids


def read_frame_labels(root: Path, video_id: str, mapping: dict[str, int]) -> NDArray[np.int64]:
    """Return the class of each frame [T], 30 a second, in the ids of `mapping`."""
    path = root / "groundTruth" / f"{video_id}.txt"
    labels = []
    for number, name in read_lines(path, remedy=REMEDY):
        if name not in mapping:
            raise AnnotationError(f"{path}, line {number}: {shown(name)} is not in mapping.txt. Correct the file.")
        if number != len(labels) + 1:
            raise AnnotationError(
                f"{path}, line {number - 1}: a blank line, expected a label on each. Correct the file."
            )
        labels.append(mapping[name])
    if labels[0] != mapping[START]:
        raise AnnotationError(
            f"{path}, line 1: expected {START}, which every video of 50 Salads begins with; without it nothing says "
            f"when the video starts. {REMEDY}"
        )
    return np.array(labels, dtype=np.int64)


def action_runs(
    labels: NDArray[np.int64], mapping: dict[str, int], *, without: Sequence[str] = (START, END)
) -> list[tuple[int, int, str]]:
    """Return (first frame, frame after the last, name) of each maximal run of one class, some classes left out."""
    names = {index: name for name, index in mapping.items()}
    outside = np.isin(labels, [mapping[name] for name in without])
    return [(first, stop, names[code - 1]) for first, stop, code in label_runs(np.where(outside, 0, labels + 1))]


def load_salads50_avt(root: Path, *, split: int) -> Benchmark:
    """Load one of the five folds as AVT asks over it: 19 classes in the order of `mapping.txt`.

    A segment is a maximal run of one label. `action_start` is never asked for, since nothing is seen before it, and no
    observed step is labelled with it; `action_end` is a segment like any other: 949 segments in the 50 videos.

    Args:
        root: Folder with `groundTruth/`, `mapping.txt` and `splits_abu_farha/`.
        split: Fold, 1 to 5.

    Source:
        github.com/facebookresearch/AVT, datasets/breakfast_50salads.py and expts/13_50s_avt.txt, which the S-GEAR
        release keeps. Times are exact here; AVT rounds them to float16, by up to 0.17 s.
    """
    mapping = read_mapping(root)
    names = sorted(mapping, key=lambda name: mapping[name])
    taxonomy = Taxonomy.from_labels(names)
    parts = read_fold(root, split)
    require_labels(root, [*parts["train"], *parts["test"]])
    tables = {}
    for part, video_ids in parts.items():
        rows = [
            (video_id, first / FPS, stop / FPS, mapping[name])
            for video_id in video_ids
            for first, stop, name in action_runs(read_frame_labels(root, video_id, mapping), mapping, without=[START])
        ]
        tables[part] = SegmentTable(segment_frame(rows, taxonomy), taxonomy, origin=str(root / "groundTruth"))
    return Benchmark(
        name=f"salads50-avt-fold{split}",
        taxonomy=taxonomy,
        train=tables["train"],
        validation=tables["test"],
    )


def require_labels(root: Path, video_ids: list[str]) -> None:
    """Raise where frame-wise labels are missing: they alone say when the first action of a video starts."""
    folder = root / "groundTruth"
    missing = [video_id for video_id in video_ids if not (folder / f"{video_id}.txt").is_file()]
    if missing:
        raise AnnotationError(
            f"{folder}: no frame-wise labels of {len(missing)} of {len(video_ids)} videos, first {missing[0]}.txt; "
            "they alone say how long after the start of its video an action starts. Put groundTruth/*.txt of the "
            "anticipation benchmark there (30 lines a second; github.com/yabufarha/anticipating-activities)."
        )


def segment_frame(rows: list[tuple[str, float, float, int]], taxonomy: Taxonomy) -> pl.DataFrame:
    """Return segments of (video id, start in s, stop in s, action id), with users and uids `<video>_<number>`."""
    schema = {"video_id": pl.String, "start_s": pl.Float64, "stop_s": pl.Float64, "action_id": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    number = pl.int_range(pl.len()).over("video_id").cast(pl.String)
    actions = pl.Series(range(taxonomy.num_actions), dtype=pl.Int64)
    return frame.with_columns(
        (pl.col("video_id") + "_" + number).alias("uid"),
        pl.col("video_id").str.split("-").list.get(1).alias("participant_id"),
        pl.col("action_id").replace_strict(actions, taxonomy.verb_of_action, return_dtype=pl.Int64).alias("verb_id"),
        pl.col("action_id").replace_strict(actions, taxonomy.noun_of_action, return_dtype=pl.Int64).alias("noun_id"),
    )


def split_benchmark(tables: dict[str, pl.DataFrame], taxonomy: Taxonomy, *, name: str, origin: str) -> Benchmark:
    """Return the benchmark of `train` and `test` segments; those of the first two seconds are past only."""
    is_asked = pl.col("start_s") >= _FIRST_START_S

    def table(frame: pl.DataFrame) -> SegmentTable:
        return SegmentTable(frame, taxonomy, origin=origin)

    return Benchmark(
        name=name,
        taxonomy=taxonomy,
        train=table(tables["train"].filter(is_asked)),
        validation=table(tables["test"].filter(is_asked)),
        unscored=table(pl.concat([frame.filter(~is_asked) for frame in tables.values()])),
    )


def _read_arrays(path: Path, names: tuple[str, ...]) -> list[NDArray]:
    require_regular_file(path, FeatureError, "Copy it there or leave its video out of the split.")
    try:
        # numpy leaves a file that it opened itself open where it is no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile, MemoryError) as err:
        raise FeatureError(f"{path}: cannot read arrays {list(names)} ({err}); copy the file again") from err


def load_salads50_tcn(root: Path, *, split: int, modality: str = "spatialcnn") -> Salads50:
    """Load one split.

    Args:
        root: Folder of the data set.
        split: One of the splits 1 to 5 whose lists and features are there.
        modality: `spatialcnn` (128-d, trained on that split's training videos) or `accelerometer` (30-d).
    """
    if modality not in ("spatialcnn", "accelerometer"):
        raise ValueError(f"50 Salads has the modalities spatialcnn and accelerometer, got {modality!r}")
    lists = root / "splits" / f"split_{split}"
    if not lists.is_dir():
        there = ", ".join(sorted(path.name.removeprefix("split_") for path in lists.parent.glob("split_*"))) or "none"
        raise AnnotationError(f"{lists}: no such split of 50 Salads; splits that are there: {there}. {_TCN_REMEDY}")
    taxonomy = Taxonomy.from_labels(
        [line for _, line in read_lines(root / "mid_level_actions.txt", remedy=_TCN_REMEDY)]
    )
    labelled = root / "spatialcnn_mid" / f"split_{split}"
    tables: dict[str, pl.DataFrame] = {}
    videos: dict[str, VideoFeatures] = {}
    for part in ("train", "test"):
        rows: list[tuple[str, float, float, int]] = []
        for _, video_id in read_lines(lists / f"{part}.txt", remedy=_TCN_REMEDY):
            path = labelled / f"{video_id}.npz"
            features, labels = _read_arrays(path, ("features", "labels"))
            if labels.max(initial=0) > taxonomy.num_actions:
                raise AnnotationError(
                    f"{path}: label {labels.max()} is unknown; the action list has {taxonomy.num_actions} lines"
                )
            runs = label_runs(labels)
            rows += [(video_id, first / _TCN_FPS, stop / _TCN_FPS, label - 1) for first, stop, label in runs]
            if modality == "accelerometer":
                path = root / "accelerometer" / f"{video_id}.npz"
                (features,) = _read_arrays(path, ("features",))
            if len(features) != len(labels):
                raise FeatureError(f"{path}: {len(features)} rows, but {len(labels)} labels in {labelled.name}")
            times_s = np.arange(len(features)) / _TCN_FPS
            videos[video_id] = VideoFeatures(times_s, features.astype(np.float32), str(path))
        tables[part] = segment_frame(rows, taxonomy)
    name = f"salads50-split{split}"
    return Salads50(
        split_benchmark(tables, taxonomy, name=name, origin=f"50 Salads split {split}"), FeatureTable(videos)
    )
