"""What is known of the videos of an experiment: content, length, and whether a run was made on them."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sgear.data.verify import all_splits, annotated_videos
from sgear.datasets import Benchmark, corpus_of, dataset_folder, dataset_spec, stated_lengths
from sgear.errors import FeatureError, RunError, VideoError
from sgear.experiment.moved import feature_names
from sgear.experiment.schema import (
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    VideoSourceConfig,
    encoder_weights,
)
from sgear.experiment.sources import tables_on_disk, video_roots
from sgear.features import LMDB_FILE, FeatureStore, MappedVideo, StoredFeatures, is_stored
from sgear.features.inspection import ClockFault, TableOnDisk, clock_faults, largest_gap_s, rows_of_video
from sgear.lineage import ROWS, VIDEO
from sgear.models.conversion import shorten
from sgear.models.pretrained import WEIGHTS_FILE
from sgear.prototypes.language import digest_of_file
from sgear.segments import SegmentTable
from sgear.training.run import RunDirectory, read_json
from sgear.video import open_video
from sgear.video.find import find_videos, needs_rate
from sgear.video.training_copy import video_content

_UNCHECKED = "so it cannot be checked that nothing later than tau_a before an action was seen"


def lengths_of_dataset(dataset: DatasetConfig) -> dict[str, float]:
    """Return the length of each video in seconds, as far as the data set states it.

    Raises:
        SgearError: If its files are damaged.
    """
    spec = dataset_spec(dataset.name)
    if spec.own_clock:
        # Times count from the beginning of its labels, not of its videos; its own features have a row for each.
        own_features = next(iter(spec.own_features.values()))
        table = own_features(dataset_folder(dataset.name, dataset.root), dataset.split)
        return {video_id: table[video_id].last_s + table[video_id].period_s for video_id in table.video_ids}
    return stated_lengths(dataset.name, Path(dataset.root) if dataset.root else None)


def videos_at_hand(dataset: DatasetConfig, video_ids: Sequence[str]) -> dict[str, Path]:
    """Return the videos of videos, as far as they lie where the data set keeps its videos."""
    try:
        return find_videos(video_ids, video_roots(dataset), allows_missing=True) if video_ids else {}
    except VideoError:
        # There is none, or it is not clear which; nobody asked for their images.
        return {}


def known_lengths(
    stated_s: Mapping[str, float], tables: Sequence[TableOnDisk], videos: Mapping[str, Path], video_ids: Sequence[str]
) -> dict[str, float]:
    """Return the length of videos in seconds: what the data set states, a store has of its videos, or a video shows."""
    known: dict[str, float] = {}
    for video_id in video_ids:
        stored = (video.video_s for table in tables if isinstance(video := rows_of_video(table, video_id), MappedVideo))
        length_s = stated_s.get(video_id) or max(stored, default=0.0)
        if not length_s and video_id in videos:
            # A video that cannot be read, or is made of images, does not tell.
            with suppress(VideoError):
                if not needs_rate(videos[video_id]):
                    with open_video(videos[video_id]) as video:
                        length_s = video.end_s
        known |= {video_id: length_s} if length_s else {}
    return known


def faults_of(
    table: TableOnDisk, benchmark: Benchmark, video_ids: Sequence[str], lengths_s: Mapping[str, float]
) -> tuple[list[ClockFault], list[str]]:
    """Return which videos of a table do not last as long as they should, and of which that is not known.

    A video is at least as long as its last annotated action says.
    """
    least_s: dict[str, float] = {}
    for segments in all_splits(benchmark).values():
        for video_id, stop_s in zip(segments.column("video_id"), segments.column("stop_s"), strict=True):
            least_s[video_id] = max(float(stop_s), least_s.get(video_id, 0.0))
    return clock_faults(table, video_ids, lengths_s, least_s)


def _caveats_of_images(config: ExperimentConfig, videos: Mapping[str, Path]) -> list[str]:
    """Return what must be said with every number where images are read at a rate that nothing confirms."""
    source = config.source
    if not isinstance(source, VideoSourceConfig):
        return []
    images = {video_id for video_id, path in videos.items() if needs_rate(path)}
    if source.check_clock and (not source.frame_fps or lengths_of_dataset(config.dataset).keys() >= images):
        return []
    rate = f" at source.frame_fps={source.frame_fps:g}" if source.frame_fps else ""
    return [f"clock unverified: of images read{rate}, {_UNCHECKED}"] if images else []


def faults_text(faults: Sequence[ClockFault]) -> str:
    """Return in words what is wrong with the clock of stored features, and what to do."""
    worst = max(faults, key=lambda fault: fault.apart_s)
    return (
        f"the rows of {len(faults)} videos do not last as long as the videos, most of all {worst}. If they were taken "
        "at another rate than was said, import them again with the right --fps (LMDB: set source.lmdb_fps, --fps). If "
        "rows are missing, extract or copy them again. If they end there on purpose, source.check_clock=false goes on, "
        "and the result says so"
    )


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What is known of the videos that an experiment reads.

    Args:
        contents: What a video is known by under any name; see `sgear.lineage.TrainingPart`.
        caveats: What must be said with every number: which clocks could not be checked.
    """

    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def learn_facts(
    config: ExperimentConfig,
    benchmark: Benchmark,
    video_ids: Sequence[str],
    *,
    videos: Mapping[str, Path] | None = None,
    features: StoredFeatures | None = None,
) -> VideoFacts:
    """Look at videos and stored features, and check the clocks of stores and LMDBs against the lengths of the videos.

    Args:
        config: The experiment.
        benchmark: Its data.
        video_ids: What will be read.
        videos: Files that it will be read from.
        features: Stored features that it will be read from.

    Raises:
        FeatureError: If rows do not last as long as their videos.
    """
    tables = tables_on_disk(features, getattr(config.source, "features", ""))
    known = annotated_videos(all_splits(benchmark))
    contents = _contents_of_stores(tables.values(), known)
    stated_s = lengths_of_dataset(config.dataset) if tables else {}
    # Names say which video it is where data sets are published, and to list the images of their videos takes long.
    is_own, videos = corpus_of(config.dataset.name) is None, dict(videos or {})
    asked = known if is_own else [video_id for video_id in video_ids if tables and video_id not in stated_s]
    videos |= videos_at_hand(config.dataset, [video_id for video_id in asked if video_id not in videos])
    for video_id, path in videos.items():
        contents[video_id] += [f"{VIDEO}{digits}"] if (digits := video_content(path)) else []
    caveats = _caveats_of_images(config, videos)
    lengths_s = known_lengths(stated_s, list(tables.values()), videos, video_ids) if tables else {}
    for name, table in tables.items():
        faults, unknown = faults_of(table, benchmark, video_ids, lengths_s)
        if faults and getattr(config.source, "check_clock", True):
            raise FeatureError(f"features {name!r}: {faults_text(faults)}")
        # Without any number: each split has another, and it is said once for all.
        reason = "the lengths of videos are not known" if unknown else ""
        # A begun period at the end may have no row. Where rows are far apart, a look ahead hides behind that.
        if largest_gap_s(table, video_ids, lengths_s) > getattr(config.protocol, "tau_a_s", math.inf) / 2:
            reason = "rows end before the videos by more than half of tau_a"
        if faults:
            reason = "rows do not last as long as the videos"
        caveats += [f"clock unverified: of features {name!r}, {reason}, {_UNCHECKED}"] if reason else []
    whole = {video_id: tuple(dict.fromkeys(each)) for video_id, each in contents.items() if each}
    return VideoFacts(contents=whole, caveats=tuple(caveats))


def _contents_of_stores(tables: Iterable[TableOnDisk], video_ids: Sequence[str]) -> dict[str, list[str]]:
    contents: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        # To read the rows of an LMDB would take as long as to copy it.
        whole = ""
        if not isinstance(table, FeatureStore):
            whole = video_content(table.path / LMDB_FILE if table.path.is_dir() else table.path)
        for video_id in video_ids:
            video = rows_of_video(table, video_id)
            if isinstance(video, MappedVideo):
                contents[video_id].append(f"{ROWS}{video.fingerprint}")
                contents[video_id] += [f"{VIDEO}{video.video}"] if video.video else []
            elif video is not None:
                told = f"{whole} {video_id} {video.first} {video.last}"
                contents[video_id].append(f"{ROWS}{hashlib.sha256(told.encode()).hexdigest()[:16]}")
    return contents


_SPLITS = ("train", "validation")
_TEXTS, _TIMES, _IDS = ("uid", "video_id"), ("start_s", "stop_s"), ("verb_id", "noun_id", "action_id")


def data_record(config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts, run: RunDirectory) -> dict[str, Any]:
    """Return what `data.json` of a run says.

    The folder that relative paths count from is kept relative to the run, so that both may move together.
    """
    return {
        "working_folder": os.path.relpath(Path.cwd(), run.path.resolve()),
        "places": _places(config),
        "taxonomy": benchmark.taxonomy.digest,
        "segments": {split: _of_segments(getattr(benchmark, split)) for split in _SPLITS},
        "videos": {video_id: list(each) for video_id, each in facts.contents.items()},
        "starts": _starts(config),
    }


def require_same_data(
    run: RunDirectory, config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts | None = None
) -> None:
    """Check that the data at hand are those that a run was made on; nothing is known of runs without `data.json`.

    Videos and features that lie where they lay may have been repaired; only in another place must they be the same.

    Without `facts`, what is known of the videos at hand, these are not asked.

    Raises:
        RunError: If they are others; names the place and what differs.
    """
    if not run.data.is_file():
        return
    record, where = read_json(run.data), dataset_folder(config.dataset.name, config.dataset.root)
    try:
        problem = _difference(record, config, benchmark, facts)
    except (KeyError, TypeError, AttributeError) as err:
        raise RunError(f"{run.data}: damaged ({err!r}); copy it again, or delete it to go on without a check") from err
    if problem:
        raise RunError(
            f"{where}: holds other data than {run.path} was made on: {problem}. Name the folder that holds the same: "
            "--root FOLDER (sgear train: dataset.root=FOLDER)"
        )


def require_same_starts(run: RunDirectory, config: ExperimentConfig) -> None:
    """Check that a run that goes on would start from the same files as before, wherever they lie.

    Raises:
        RunError: Names the settings whose files have another content.
    """
    if not run.data.is_file():
        return
    before, now = dict(read_json(run.data).get("starts", {})), _starts(config)
    if changed := [key for key in before | now if before.get(key) != now.get(key)]:
        raise RunError(
            f"{run.path}: cannot resume from other files: {', '.join(changed)}; give the same, or another name="
        )


def _difference(
    record: dict[str, Any], config: ExperimentConfig, benchmark: Benchmark, facts: VideoFacts | None
) -> str:
    if record["taxonomy"] != benchmark.taxonomy.digest:
        return f"its {benchmark.taxonomy.num_actions} actions are others"
    for split in _SPLITS:
        before, now = record["segments"][split], _of_segments(getattr(benchmark, split))
        if before != now:
            return f"its segments of {split} are others ({now['number']:,} of them, not {before['number']:,})"
    if facts is None or record["places"] == _places(config):
        return ""
    kind = ROWS if config.source.kind == "features" else VIDEO
    differing = []
    for video_id, texts in facts.contents.items():
        both = (texts, record["videos"].get(video_id, ()))
        now, before = ({text for text in each if text.startswith(kind)} for each in both)
        if now and before and now != before:
            differing.append(video_id)
    what = "features" if kind == ROWS else "videos"
    return f"other {what} of {len(differing)} videos ({shorten(differing)})" if differing else ""


def _of_segments(segments: SegmentTable) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in _TEXTS:
        digest.update("\0".join(segments.column(name)).encode())
    for name in _TIMES:
        # Milliseconds: no sum that is made in another order changes them.
        digest.update(np.round(1000 * segments.column(name)).astype("<i8").tobytes())
    for name in _IDS:
        digest.update(segments.column(name).astype("<i8").tobytes())
    return {"number": len(segments), "sha256": digest.hexdigest()[:16]}


def _places(config: ExperimentConfig) -> list[str]:
    source, dataset = config.source, config.dataset
    folders = [dataset_folder(dataset.name, dataset.root), *dataset.video_roots]
    if isinstance(source, FeatureSourceConfig):
        folders += [*source.feature_roots, *(name for name in feature_names(source.features) if is_stored(Path(name)))]
    return [str(Path(folder).resolve()) for folder in folders]


def _starts(config: ExperimentConfig) -> dict[str, str]:
    """Return the digest of each file that a run starts from, by setting."""
    init, names = config.init, ("weights", "class_names", "visual_prototypes", "language_prototypes")
    runs = {"init.run": init.run, **{f"init.branches[{index}]": run for index, run in enumerate(init.branches)}}
    files = {key: str(RunDirectory(Path(run)).model / WEIGHTS_FILE) for key, run in runs.items() if run}
    files |= {f"init.{name}": getattr(init, name) for name in names}
    files["model.encoder.weights"] = encoder_weights(config.model)
    return {key: digest_of_file(Path(file)) for key, file in files.items() if file and Path(file).is_file()}
