"""What `source` and `dataset.video_roots` name: a reader of frames, or stored features, one or several side by side."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from sgear.data import AnnotationSource, PastSource, StepLabels
from sgear.data.confusion import ActionConfusion, counted_confusion, field_confusion
from sgear.data.dataset import SKIP_EFFECT, SKIP_HINT, OnError, checked_on_error, is_unreadable
from sgear.data.frames import CheckedLengths, FrameReader, PartialFrames, cache_frames, model_size
from sgear.datasets import (
    Benchmark,
    annotation_folder,
    dataset_folder,
    numbering_rates,
    read_video_info,
    stated_lengths,
    video_places,
)
from sgear.errors import ConfigError, FeatureError, VideoError
from sgear.experiment.moved import feature_names
from sgear.experiment.schema import (
    AnnotationSourceConfig,
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    VideoSourceConfig,
)
from sgear.features import OF_RUN, FeatureStore, FeatureTable, LmdbFeatures, LmdbLayout, MultiFeatures, StoredFeatures
from sgear.features.inspection import TableOnDisk
from sgear.features.opening import find_features, open_features, side_by_side
from sgear.lineage import Lineage
from sgear.models import Baseline, model_class
from sgear.models.pretrained import Preprocessing
from sgear.predictions import Predictions
from sgear.predictions.provenance import Skipped, merge_skipped
from sgear.video import VideoPool
from sgear.video.find import find_videos, needs_rate


def video_roots(config: DatasetConfig) -> tuple[Path, ...]:
    """Return the folders in which videos are looked for, in this order.

    Raises:
        VideoError: If a folder of `video_roots` does not exist.
    """
    if not config.video_roots:
        return video_places(config.name, config.root)
    roots = tuple(map(Path, config.video_roots))
    if absent := [root for root in roots if not root.is_dir()]:
        raise VideoError(
            f"dataset.video_roots: {absent[0]}: no such folder of videos. Check the path (of a run: --video-root)."
        )
    return roots


def open_frames(
    config: ExperimentConfig,
    video_ids: Sequence[str],
    preprocessing: Preprocessing,
    *,
    found: dict[str, Path] | None = None,
) -> FrameReader:
    """Find the file of each video and return what reads their frames at the size the model needs.

    Args:
        config: The experiment.
        video_ids: Videos that will be read.
        preprocessing: Size the model reads.
        found: Takes the file of each video.

    Raises:
        ConfigError: If a setting is unknown or has no effect.
        VideoError: If videos are missing or cannot be opened (with `on_error=skip`: if all of them are), or a video of
            images has no known rate.
    """
    source, dataset = config.source, config.dataset
    assert isinstance(source, VideoSourceConfig)  # nothing else shows frames
    skips, roots = checked_on_error(source.on_error) == "skip", video_roots(dataset)
    videos = find_videos(
        video_ids,
        roots,
        remedy="name other folders in dataset.video_roots (of a run: --video-root)",
        remedy_for_some="" if skips else f"set source.on_error=skip, which {SKIP_EFFECT}",
        allows_missing=skips,
    )
    unreadable = without_video(video_ids, videos, roots)
    if found is not None:
        found.update(videos)
    images = {video_id: path for video_id, path in videos.items() if needs_rate(path)}
    if source.frame_fps and not images:
        raise ConfigError(
            f"source.frame_fps={source.frame_fps:g} has no effect: all {len(videos)} videos are video files"
        )
    if source.frame_fps:
        rates = dict.fromkeys(images, source.frame_fps)
        lengths_s = stated_lengths(dataset.name, Path(dataset.root) if dataset.root else None)
    else:
        remedy = "set source.frame_fps to the frames per second of their numbering"
        rates, lengths_s = image_rates(dataset, images, remedy=remedy)
    frames: FrameReader
    if source.reading == "videos":
        frames = VideoPool(videos, size=model_size(preprocessing), frame_fps=rates)
    else:
        root = dataset_folder(dataset.name, dataset.root) / "cache"
        frames, failures = cache_frames(videos, root, preprocessing, fps=source.cache_fps, frame_fps=rates)
        unreadable |= failures
    known_s = {name: lengths_s[name] for name in images if name in lengths_s}
    if source.check_clock and known_s:
        frames = CheckedLengths(frames, known_s, rates)
    if not unreadable:
        return frames
    first = next(video_id for video_id in video_ids if video_id in unreadable)
    problem = f"{len(unreadable)} of {len(video_ids)} videos cannot be read, first {first!r}: {unreadable[first]}"
    if len(unreadable) == len(video_ids):
        raise VideoError(problem)
    if not skips:
        raise VideoError(f"{problem.rstrip('.')}. {SKIP_HINT}")
    return PartialFrames(frames, unreadable)


def without_video(video_ids: Sequence[str], videos: Container[str], roots: Sequence[Path]) -> dict[str, str]:
    """Return why each video that is not among those found under the roots cannot be read."""
    searched = ", ".join(str(root) for root in roots if root.is_dir())
    return {name: f"no file of video {name!r} under {searched}" for name in video_ids if name not in videos}


def image_rates(
    dataset: DatasetConfig, images: Mapping[str, Path], *, remedy: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how many images of a video there are in a second, and its length in seconds where that is known.

    The data set says so; an error gives the remedy where it does not.

    Raises:
        VideoError: If the rate of a video is not known.
    """
    if not images:
        return {}, {}
    info = read_video_info(annotation_folder(dataset.name, Path(dataset.root) if dataset.root else None))
    rates = numbering_rates(dataset.name, list(images), info)
    unknown = [video_id for video_id in images if video_id not in rates]
    if unknown:
        raise VideoError(
            f"{images[unknown[0]]}: images do not say at which rate they were taken, and {dataset.name} does not "
            f"say it of {len(unknown)} of {len(images)} such videos, first {unknown[0]!r}; {remedy}"
        )
    return rates, {video_id: info[video_id].duration_s for video_id in images if video_id in info}


def read_features(
    source: FeatureSourceConfig, places: Sequence[Path], known: Callable[[str], FeatureTable | None]
) -> StoredFeatures:
    """Open all that `source.features` names.

    Args:
        source: Names, folders, and the layout of LMDBs.
        places: Folders that are searched after `source.feature_roots`.
        known: Returns the data set's own features of a name, or None.

    Raises:
        ConfigError: If nothing is named, a name comes twice, or a setting of LMDBs has no effect.
        FeatureError: If a name is found nowhere, or what is there is damaged.
    """
    names = feature_names(source.features)
    if not all(names) or len(set(names)) != len(names):
        raise ConfigError(
            f"source.features={source.features!r} must name features, or several kinds of them as in rgb+flow+obj"
        )
    keys, usual = ("lmdb_key", "lmdb_fps", "lmdb_max_gap_s"), FeatureSourceConfig()
    changed = [name for name in keys if getattr(source, name) != getattr(usual, name)]
    said = ", ".join(f"source.{name}={getattr(source, name)!r}" for name in changed)
    try:
        layout = LmdbLayout(key=source.lmdb_key, fps=source.lmdb_fps, max_gap_s=source.lmdb_max_gap_s)
    except ValueError as err:
        raise ConfigError(f"{said}: {err}") from err
    roots = [*map(Path, source.feature_roots), *places]
    tables: dict[str, StoredFeatures] = {}
    for name in names:
        own = known(name)
        tables[name] = open_features(find_features(name, roots), layout) if own is None else own
    if changed and not any(isinstance(table, LmdbFeatures) for table in tables.values()):
        raise ConfigError(f"{said} has no effect: source.features={source.features!r} is no LMDB")
    return side_by_side(tables) if len(tables) > 1 else tables[names[0]]


def require_videos(table: StoredFeatures, video_ids: Sequence[str], name: str, *, on_error: OnError = "stop") -> None:
    """Refuse features that lack annotated videos before the first epoch meets them; with `skip`, some may be missing.

    Raises:
        FeatureError: Counts the missing videos and names the first.
    """
    missing = []
    for video_id in video_ids:
        try:
            is_there = video_id in table
        except FeatureError as err:
            # An LMDB may be damaged where the video would be; its clips are then found unreadable one by one.
            if not is_unreadable(err):
                raise
            if on_error == "stop":
                raise FeatureError(f"{err}. {SKIP_HINT}") from err
            is_there = False
        if not is_there:
            missing.append(video_id)
    if on_error == "skip" and len(missing) < len(video_ids):
        return
    if missing:
        if isinstance(table, MultiFeatures):
            # It knows which modality is absent.
            table[missing[0]]
        raise FeatureError(
            f"source.features={name!r}: no features of {len(missing)} of {len(video_ids)} annotated videos, first "
            f"{missing[0]!r}; extract or copy them ('sgear features inspect --dataset' lists them all), or remove "
            f"their annotation rows. {SKIP_HINT}"
        )


def tables_on_disk(table: StoredFeatures | None, name: str) -> dict[str, TableOnDisk]:
    """Return the stores and LMDBs among features by name, a single kind by the given one.

    Those that belong to the data set itself are left out.
    """
    parts = table.modalities if isinstance(table, MultiFeatures) else {name: table}
    return {name: part for name, part in parts.items() if isinstance(part, FeatureStore | LmdbFeatures)}


def skipped_of_encoders(table: StoredFeatures | None) -> Skipped:
    """Return the segments that were left out when the encoders of stored features were trained, by store and split."""
    return merge_skipped(
        {f"{split} of features {part.root.name}": reasons for split, reasons in part.description.skipped.items()}
        for part in tables_on_disk(table, "").values()
        if isinstance(part, FeatureStore)
    )


def lineages_of_encoders(table: StoredFeatures | None) -> dict[str, Lineage]:
    """Return what the encoders of stored features were learnt from, by store or LMDB; published encoders are left out.

    Of features that were imported it is not known.
    """
    found: dict[str, Lineage] = {}
    for part in tables_on_disk(table, "").values():
        if isinstance(part, LmdbFeatures):
            found[f"source.features={part.path}"] = Lineage(gaps=(f"the encoder of {part.path.name}",))
            continue
        made = part.description
        # Published weights have a digest and no lineage; what was imported has neither.
        if made.lineage or not made.weights or OF_RUN in made.encoder:
            name = made.encoder if OF_RUN in made.encoder else f"the encoder of {made.encoder}"
            found[f"source.features={part.root}"] = Lineage.from_dict(made.lineage or None, name=name)
    return found


def readable_videos(table: StoredFeatures, video_ids: Sequence[str], *, on_error: OnError) -> list[str]:
    """Return the videos of which numbers over all rows are taken, such as the spread of each feature.

    With `skip`, videos that cannot be read are left out; with `stop`, all are returned.

    Raises:
        FeatureError: If `skip` leaves none; gives the first reason.
    """
    if on_error == "stop":
        return list(video_ids)
    readable, first = [], None
    for video_id in video_ids:
        try:
            table.standard_deviation([video_id])
        except FeatureError as err:
            if not is_unreadable(err):
                raise
            first = first or err
        else:
            readable.append(video_id)
    if first is not None and not readable:
        raise FeatureError(f"none of the {len(video_ids)} training videos has readable features: {first}") from first
    return readable


def require_in_memory(table: StoredFeatures, asking: str) -> FeatureTable:
    """Return a table as one in memory.

    Raises:
        ConfigError: If it is read from disk as it is asked for; names the setting that needs all rows at once.
    """
    if not isinstance(table, FeatureTable):
        raise ConfigError(
            f"{asking} reads all rows of all videos and needs features in memory, but source.features names a store, "
            "an LMDB, or several kinds; switch it off for these features"
        )
    return table


def annotation_source(
    config: ExperimentConfig, benchmark: Benchmark, labels: StepLabels, video_ids: list[str], *, num_steps: int
) -> AnnotationSource | PastSource:
    """Return the annotated past as a baseline or as another model reads it.

    Args:
        config: The experiment.
        benchmark: Its data.
        labels: What may be shown.
        video_ids: Videos that are asked about.
        num_steps: Steps of a window.

    Raises:
        ConfigError: If nothing is annotated of a video, or mistakes are to be drawn as in another vocabulary.
    """
    source = config.source
    assert isinstance(source, AnnotationSourceConfig)  # all callers read annotations
    reads = config.model.name != "frequency"
    unknown = [video_id for video_id in video_ids if not labels.knows(video_id)]
    if reads and unknown:
        raise ConfigError(
            f"model.name={config.model.name} reads the annotated actions before each segment, but {len(unknown)} of "
            f"{len(video_ids)} videos of this split have none, first {unknown[0]!r}: the labels of test splits are "
            "not published. Use a model that reads videos or features, or model.name=frequency"
        )
    if issubclass(model_class(config.model.name), Baseline):
        return AnnotationSource(labels, num_steps=num_steps, is_read=reads)
    return PastSource(
        labels,
        num_actions=benchmark.taxonomy.num_actions,
        history=source.history,
        counts_from=source.counts_from,
        drop=source.drop,
        confusion=_confusion(source, benchmark),
    )


def _confusion(source: AnnotationSourceConfig, benchmark: Benchmark) -> ActionConfusion | None:
    """Return the mistakes that are drawn into the past; None where there are none."""
    taxonomy = benchmark.taxonomy
    if source.noise_from:
        predictions = Predictions.load(Path(source.noise_from))
        if predictions.taxonomy.digest != taxonomy.digest:
            raise ConfigError(f"source.noise_from={source.noise_from}: predictions of another vocabulary")
        is_known = predictions.targets >= 0
        best = predictions.logits.argmax(axis=1)
        return ActionConfusion(counted_confusion(best[is_known], predictions.targets[is_known], taxonomy))
    if not source.noise:
        return None
    return ActionConfusion(field_confusion(taxonomy, benchmark.train.action_counts(), strength=source.noise))
