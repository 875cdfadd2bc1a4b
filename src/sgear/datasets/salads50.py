"""50 Salads from the raw annotations: `activityAnnotations/*.txt`, one `start stop label` per line, in camera time.

The unit is the microsecond, and every time lies on the camera's grid of 33,338.125 us (29.9957 frames a second), so
times are whole frames, here played at 30 a second. Frame-wise ground truth and stored features count frames in the
same way, but the videos lack some (none in 24 of the 50, 87 in rgb-02-2).

Clock `video`: 0 s is the first frame of the video. Where that is, and where frames were lost, is known from
`groundTruth/` alone: each action starts on the frame where it starts there. In all 50 videos both files name the same
actions in the same order; the first of them starts 6.6 to 53.9 s after the video does.

Clock `annotations`: 0 s is the first annotated instant of the video, at any level. Row 0 of the stored features is
there: at 3 rows a second 97.7 % of the rows of all 50 videos have the label annotated for them, 99.4 % in the median
video; most of the rest is lost frames. Read images by it, and every window is as early as that instant is late.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgear.datasets.base import DatasetSpec, Places
from sgear.datasets.benchmark import Benchmark, TextRules
from sgear.datasets.csv_table import TextTable, read_lines, shown
from sgear.datasets.salads50_labels import (
    FPS,
    REMEDY,
    action_runs,
    load_salads50_avt,
    load_salads50_tcn,
    read_fold,
    read_frame_labels,
    read_mapping,
    require_labels,
    segment_frame,
    split_benchmark,
)
from sgear.errors import AnnotationError
from sgear.features import FeatureTable
from sgear.taxonomy import Taxonomy

Granularity = Literal["low", "mid", "eval", "abstract"]
Clock = Literal["video", "annotations"]

TICK_US = 33338.125
"""Distance of two camera frames in microseconds."""
# Rounding to whole microseconds moves a time by 1.5e-5 ticks.
_TICK_TOLERANCE = 1e-3
# The real videos lost up to 87 frames. Labels at another rate, or of another video, are further off.
_MOST_LOST_FRAMES = 150
HIGH_LEVEL = frozenset({"cut_and_mix_ingredients", "prepare_dressing", "serve_salad"})
"""Labels of the highest level, which lie over the activities."""
_NO_CLASS = "null"


class _Row(NamedTuple):
    """One annotated phase: frames [start, stop) after the first annotated instant, and its low-level label."""

    start: int
    stop: int
    label: str


def load_salads50_raw(root: Path, *, split: int, granularity: Granularity = "mid", clock: Clock = "video") -> Benchmark:
    """Load one split of the raw annotations at one level.

    `low` keeps the phases (prep, core, post) as segments. Above that, a segment goes from the first to the last phase
    of an activity between which no phase of another class starts; activities annotated for the very same time (several
    ingredients placed at once, 7 videos) are segments of their own, where the frame-wise labels keep one of them.
    Phases whose class is `null` at a level are left out. Users 08 and 12 have annotations, but belong to no split and
    have no features.

    Args:
        root: Folder of the data set.
        split: 1 to 5: users 1-5, 6-11, 13-17, 18-22, 23-27 are tested. The splits that stored features were trained on
            are others.
        granularity: Level of the labels; `abstract` has the verbs alone.
        clock: What 0 s is, see above. `video` needs the frame-wise labels of all videos of the split.
    """
    class_of, classes = _read_conversion(root, granularity)
    taxonomy = Taxonomy.from_labels(classes)
    parts = read_fold(root, split)
    if clock == "video":
        require_labels(root, [*parts["train"], *parts["test"]])
    tables = {}
    for part, video_ids in parts.items():
        segments = []
        for video_id in video_ids:
            rows = _read_rows(root, video_id, class_of)
            if clock == "video":
                rows = _on_video(rows, root, video_id)
            named = [(row.start, row.stop, class_of[row.label]) for row in rows]
            segments += [
                (video_id, first / FPS, stop / FPS, classes.index(name))
                for first, stop, name in (named if granularity == "low" else _merge(named))
                if name != _NO_CLASS
            ]
        tables[part] = segment_frame(segments, taxonomy)
    name = f"salads50-{granularity}-fold{split}"
    return split_benchmark(tables, taxonomy, name=name, origin=str(root / "activityAnnotations"))


def _read_conversion(root: Path, granularity: Granularity) -> tuple[dict[str, str], list[str]]:
    """Return the class of each low-level label, and the classes in the order of their ids."""
    path = root / "conversions" / f"low_to_{'mid' if granularity == 'low' else granularity}.txt"
    class_of: dict[str, str] = {}
    for number, line in read_lines(path, remedy=REMEDY):
        parts = line.split()
        if len(parts) != 2 or parts[0] in class_of:
            raise AnnotationError(
                f"{path}, line {number}: {shown(line)}, expected a new label and its class. Correct it."
            )
        class_of[parts[0]] = parts[0] if granularity == "low" else parts[1]
    classes = sorted(set(class_of.values()) - {_NO_CLASS})
    if granularity != "abstract":
        path = root / f"{granularity}_level_actions.txt" if granularity in ("low", "mid") else root / "eval_actions.txt"
        listed = [line for _, line in read_lines(path, remedy=REMEDY)]
        if sorted(listed) != classes:
            odd = sorted(set(listed) ^ set(classes)) or "a name occurs twice"
            raise AnnotationError(f"{path}: not the classes of the conversion files ({odd}). Get the files again.")
        classes = listed
    return class_of, classes


def _read_rows(root: Path, video_id: str, class_of: dict[str, str]) -> list[_Row]:
    """Return the phases of a video in the order of their starts."""
    path = root / "activityAnnotations" / f"{video_id.removeprefix('rgb-')}-activityAnnotation.txt"
    lines = read_lines(path, remedy=REMEDY)
    fields = [line.split() for _, line in lines]
    for (number, line), parts in zip(lines, fields, strict=True):
        if len(parts) != 3:
            raise AnnotationError(f"{path}, line {number}: {shown(line)}, expected start, stop and label. Correct it.")
    frame = pl.DataFrame(fields, schema=dict.fromkeys(("start", "stop", "label"), pl.String), orient="row")
    table = TextTable(path, frame, pl.Series("line", [number for number, _ in lines]))
    table.refuse(~pl.col("label").is_in([*class_of, *HIGH_LEVEL]), "label", "an activity of 50 Salads")
    start_us, stop_us = (table.integers(column).to_numpy() for column in ("start", "stop"))
    table.refuse(pl.lit(pl.Series(stop_us < start_us)), "stop", "a time at or after the start")
    table.refuse(pl.lit(frame.is_duplicated()), "start", "a row that does not occur twice")
    starts = _frames(table, "start", start_us - start_us.min())
    stops = _frames(table, "stop", stop_us - start_us.min())
    phases = [row for row in zip(starts, stops, frame["label"], strict=True) if row[2] not in HIGH_LEVEL]
    if not phases:
        raise AnnotationError(f"{path}: no low-level activity in the file. Get the file again.")
    begun = {start for start, _, _ in phases}
    # The last frame of a phase belongs to it unless another one starts there; a phase has one frame at least.
    rows = [_Row(start, max(start + 1, stop if stop in begun else stop + 1), label) for start, stop, label in phases]
    return sorted(rows, key=lambda row: (row.start, class_of[row.label], row.label))


def _frames(table: TextTable, column: str, after_us: NDArray[np.int64]) -> list[int]:
    """Return times after the first annotated instant as frames."""
    frames = np.round(after_us / TICK_US)
    is_off_grid = np.abs(after_us / TICK_US - frames) > _TICK_TOLERANCE
    table.refuse(pl.lit(pl.Series(is_off_grid)), column, f"a time on the camera's grid of {TICK_US} us")
    return frames.astype(int).tolist()


def _merge(rows: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Join phases of one class between which no phase of another class starts; rows and result sorted by start."""
    merged: list[tuple[int, int, str]] = []
    newest: dict[str, tuple[int, int]] = {}
    for start, stop, name in rows:
        # Where the open segment of this class stands in `merged`, and when its last phase started.
        place, last_start = newest.get(name, (-1, -1))
        if place < 0 or any(last_start < other[0] < start for other in rows if other[2] != name):
            newest[name] = len(merged), start
            merged.append((start, stop, name))
        else:
            newest[name] = place, start
            merged[place] = merged[place][0], max(merged[place][1], stop), name
    return merged


def _on_video(rows: list[_Row], root: Path, video_id: str) -> list[_Row]:
    """Return the phases in frames of the video, counted from its first."""
    activity_of, _ = _read_conversion(root, "mid")
    # Of activities that start together, the frame-wise labels show the last by name: the order of `rows`.
    newest = {row.start: activity_of[row.label] for row in rows}
    changes = [new for old, new in pairwise([(0, ""), *newest.items()]) if old[1] != new[1]]
    mapping = read_mapping(root)
    runs = action_runs(read_frame_labels(root, video_id, mapping), mapping)
    if [name for _, name in changes] != [name for _, _, name in runs]:
        raise AnnotationError(
            f"{root / 'groundTruth'}: the actions of {video_id} do not follow in the order of its raw annotations, so "
            "nothing says where the video starts. Get both files again."
        )
    annotated = np.array([start for start, _ in changes])
    shown_at, shown_until = (np.array([run[side] for run in runs]) for side in (0, 1))
    lost = annotated - annotated[0] - (shown_at - shown_at[0])
    if (np.diff(lost) < 0).any() or lost[-1] > _MOST_LOST_FRAMES:
        raise AnnotationError(
            f"{root / 'groundTruth'}: the actions of {video_id} span {np.ptp(shown_at)} frames from first to last "
            f"start, its raw annotations {np.ptp(annotated)}: expected up to {_MOST_LOST_FRAMES} fewer frames here, "
            f"lost by the video. These are not the labels of each frame at {FPS:g} a second. Get both files again."
        )

    def on_video(frame: int) -> int:
        # Frames lost before an action are known at its start; a later time of its phases stays within its labels.
        index = max(int(np.searchsorted(annotated, frame, side="right")) - 1, 0)
        return int(min(frame - annotated[index] + shown_at[index], shown_until[index]))

    moved = [(on_video(row.start), on_video(row.stop), row.label) for row in rows]
    return [_Row(start, max(start + 1, stop), label) for start, stop, label in moved]


def _stored_features(folder: Path, split: int, *, modality: str) -> FeatureTable:
    return load_salads50_tcn(folder, split=split, modality=modality).features


_spec = partial(DatasetSpec, corpus="50salads", whole_videos=True, text_rules=TextRules(drops_phases=True))
_places = partial(Places, annotations=("50salads",), folder="50salads", videos=("videos/50Salads/rgb",))
DATASETS = (
    _spec(
        name="salads50",
        load=lambda folder, split, level: load_salads50_raw(folder, split=split, granularity=cast(Granularity, level)),
        places=_places(
            holds="activityAnnotations",
            source="cvip.computing.dundee.ac.uk/datasets/foodpreparation/50salads, and the splits of its users",
        ),
        headline="top1",
        num_splits=5,
        levels=get_args(Granularity),
    ),
    _spec(
        name="salads50-avt",
        load=lambda folder, split, level: load_salads50_avt(folder, split=split),
        places=_places(
            holds="groundTruth",
            source="github.com/yabufarha/anticipating-activities: groundTruth, mapping.txt and the five splits",
        ),
        headline="top1",
        num_splits=5,
    ),
    _spec(
        name="salads50-tcn",
        load=lambda folder, split, level: load_salads50_tcn(folder, split=split).benchmark,
        places=_places(
            holds="spatialcnn_mid",
            source="github.com/colincsl/TemporalConvolutionalNetworks, features and labels of its splits",
        ),
        headline="recall5",
        num_splits=5,
        own_features={name: partial(_stored_features, modality=name) for name in ("spatialcnn", "accelerometer")},
        own_clock="set dataset.name=salads50-avt or salads50 for these",
    ),
)
