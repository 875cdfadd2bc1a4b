"""Configuration -> objects, by explicit `match`: no reflection, nothing a configuration could make execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgear.data import (
    AnticipationDataset,
    FeatureSource,
    RecognitionDataset,
    StepLabels,
    StepSource,
    VideoSource,
    WindowDataset,
)
from sgear.data.dataset import OnError, checked_on_error, observable_segments
from sgear.datasets import (
    Benchmark,
    DatasetSpec,
    dataset_folder,
    dataset_spec,
    feature_places,
    load_dataset,
    participant_folds,
)
from sgear.errors import ConfigError
from sgear.experiment.facts import VideoFacts, learn_facts
from sgear.experiment.schema import (
    AnnotationSourceConfig,
    DatasetConfig,
    ExperimentConfig,
    FeatureSourceConfig,
    ProtocolConfig,
    RecognitionConfig,
    VideoSourceConfig,
)
from sgear.experiment.sources import (
    annotation_source,
    open_frames,
    read_features,
    readable_videos,
    require_in_memory,
    require_videos,
)
from sgear.features import FeatureTable, StoredFeatures
from sgear.features.frame_classes import ClassConfusion
from sgear.models import EncoderConfig
from sgear.models.encoders import frame_input
from sgear.models.pretrained import Preprocessing
from sgear.segments import SegmentTable
from sgear.timing import RecognitionProtocol, WindowProtocol, protocol_from_dict
from sgear.video.transforms import VIEWS, ClipTransform


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The segments of one split that a model is asked about.

    Args:
        split: Name of the split.
        segments: All of them.
        views: Samples with something to see, one data set per view of the protocol.
        blind: Segments with nothing to see: they get the class prior.
        facts: What is known of the videos that were looked at.
    """

    split: str
    segments: SegmentTable
    views: tuple[WindowDataset, ...]
    blind: SegmentTable
    facts: VideoFacts = field(default_factory=VideoFacts)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Everything that training and evaluation read.

    Args:
        benchmark: Segments and vocabulary.
        train: Training samples.
        asked: The segments of the validation split, or of another one that is asked for.
        preprocessing: How a clip is made.
        features: The stored features (feature sources).
    """

    benchmark: Benchmark
    train: WindowDataset
    asked: Asked
    preprocessing: Preprocessing
    features: StoredFeatures | None

    @property
    def validation(self) -> WindowDataset:
        """The samples asked for that show something, first view."""
        return self.asked.views[0]


def dataset_root(config: DatasetConfig) -> Path:
    """Return the folder of a data set: `root`, or a folder under SGEAR_DATA."""
    return dataset_folder(config.name, config.root)


def build_protocol(config: ProtocolConfig) -> WindowProtocol | RecognitionProtocol:
    """Return the protocol that the configuration describes.

    Raises:
        ConfigError: If a value is out of range or the kind is unknown.
    """
    values = asdict(config)
    if isinstance(config, RecognitionConfig):
        # Steps are spread over the action, or follow its start at a rate.
        for name in ("jitter",) if config.after_start_s else ("after_start_s", "fps"):
            del values[name]
    try:
        return protocol_from_dict(values)
    except ValueError as err:
        raise ConfigError(f"protocol: {err}") from err


def load_benchmark(config: DatasetConfig) -> Benchmark:
    """Load segments and vocabulary; with `num_folds`, those of a fold of the training participants.

    Raises:
        ConfigError: If the data set or the fold is unknown.
        AnnotationError: If its files are missing or wrong.
    """
    root = Path(config.root) if config.root else None
    benchmark = load_dataset(config.name, root, split=config.split, granularity=config.granularity)
    if not config.num_folds:
        return benchmark
    try:
        folds = participant_folds(benchmark, num_folds=config.num_folds)
    except ValueError as err:
        raise ConfigError(f"dataset.num_folds: {err}") from err
    if not 0 <= config.fold < config.num_folds:
        raise ConfigError(f"dataset.fold={config.fold} must be in 0..{config.num_folds - 1}")
    return folds[config.fold]


def load_features(config: ExperimentConfig) -> FeatureTable:
    """Load the features that `source.features` names into memory.

    Raises:
        ConfigError: If they do not belong to the data set, but are read from disk as they are asked for.
    """
    return require_in_memory(open_stored_features(config), "this command")


def open_stored_features(config: ExperimentConfig) -> StoredFeatures:
    """Open the features that `source.features` names: in memory, in a store or LMDB, or several side by side.

    Raises:
        ConfigError: If the setting names nothing, or features of another clock than the data set's.
        FeatureError: If features are missing or damaged.
    """
    spec = dataset_spec(config.dataset.name)

    def of_dataset(name: str) -> FeatureTable | None:
        if name in spec.own_features:
            return spec.own_features[name](dataset_root(config.dataset), config.dataset.split)
        if spec.own_clock:
            raise ConfigError(_other_clock(spec, f"source.features={name}"))
        return None

    if not isinstance(config.source, FeatureSourceConfig):
        raise ConfigError(f"source.kind={config.source.kind} names no features; set source.kind=features")
    places = feature_places(config.dataset.name, config.dataset.root)
    return read_features(config.source, places, of_dataset)


def _other_clock(spec: DatasetSpec, setting: str) -> str:
    return (
        f"{setting}: {spec.name} counts seconds from row 0 of its own features ({', '.join(spec.own_features)}), and "
        f"nothing says where that is in videos or in other features; {spec.own_clock}"
    )


def row_labels(table: FeatureTable, labels: StepLabels, video_ids: list[str]) -> dict[str, NDArray[np.int64]]:
    """Return the action of every stored row of the given videos, -1 for none."""
    return {name: labels.at(name, table[name].times_s) for name in video_ids}


def _feature_source(config: ExperimentConfig, benchmark: Benchmark, table: StoredFeatures) -> FeatureSource:
    source = config.source
    assert isinstance(source, FeatureSourceConfig)  # both callers read features
    if table.width != config.model.encoder.feature_dim:
        raise ConfigError(
            f"model.encoder.feature_dim={config.model.encoder.feature_dim}, but the features {source.features!r} are "
            f"{table.width} wide; set it to {table.width}"
        )
    confusion = None
    if source.confusion:
        known = require_in_memory(table, f"source.confusion={source.confusion}")
        video_ids = readable_videos(known, benchmark.train.video_ids, on_error=checked_on_error(source.on_error))
        confusion = ClassConfusion(
            known,
            row_labels(known, StepLabels(benchmark.training_timeline), video_ids),
            num_actions=benchmark.taxonomy.num_actions,
            strength=source.confusion,
        )
    return FeatureSource(table, pool_s=source.pool_s, confusion=confusion)


def _clip_transform(source: VideoSourceConfig, encoder: EncoderConfig) -> ClipTransform:
    read = frame_input(encoder)
    if len(source.scale_jitter) not in (0, 2):
        raise ConfigError(f"source.scale_jitter must be empty or two margins, got {list(source.scale_jitter)}")
    try:
        return ClipTransform(
            *read.size,
            read.mean,
            read.std,
            crop_margin=source.crop_margin,
            scale_jitter=(source.scale_jitter[0], source.scale_jitter[1]) if source.scale_jitter else None,
            flip=source.flip,
            brightness=source.brightness,
            contrast=source.contrast,
        )
    except ValueError as err:
        raise ConfigError(f"source: {err}") from err


def build_preprocessing(config: ExperimentConfig) -> Preprocessing:
    """Return how the clips of an experiment are made, without videos or features at hand.

    Raises:
        ConfigError: If the kind of steps is unknown, or a setting is out of range.
    """
    match config.source:
        case FeatureSourceConfig() as source:
            return Preprocessing(kind="features", pool_s=source.pool_s)
        case AnnotationSourceConfig():
            return Preprocessing(kind="annotations")
        case VideoSourceConfig() as source:
            transform = _clip_transform(source, config.model.encoder)
            read = frame_input(config.model.encoder)
            return Preprocessing(
                kind="video",
                height=read.size[0],
                width=read.size[1],
                mean=read.mean,
                std=read.std,
                frames_per_step=read.frames_per_step,
                step_frames_s=read.step_frames_s,
                crop_margin=source.crop_margin,
                reading_margin=transform.reading_margin,
            )


def _build_sources(
    config: ExperimentConfig, benchmark: Benchmark, video_ids: list[str]
) -> tuple[Sequence[StepSource], Preprocessing, StoredFeatures | None, VideoFacts]:
    """Return one source per view, and what is known of the videos; steps that show annotations are for evaluation."""
    preprocessing = build_preprocessing(config)
    match config.source:
        case FeatureSourceConfig() as source:
            table = open_stored_features(config)
            require_videos(table, video_ids, source.features, on_error=checked_on_error(source.on_error))
            facts = learn_facts(config, benchmark, video_ids, features=table)
            return [_feature_source(config, benchmark, table)], preprocessing, table, facts
        case AnnotationSourceConfig():
            labels, num_steps = StepLabels(benchmark.timeline), build_protocol(config.protocol).num_steps
            return (
                [annotation_source(config, benchmark, labels, video_ids, num_steps=num_steps)],
                preprocessing,
                None,
                VideoFacts(),
            )
        case VideoSourceConfig() as source:
            if (spec := dataset_spec(config.dataset.name)).own_clock:
                raise ConfigError(_other_clock(spec, "source.kind=video"))
            videos: dict[str, Path] = {}
            frames = open_frames(config, video_ids, preprocessing, found=videos)
            facts = learn_facts(config, benchmark, video_ids, videos=videos)
            transform = _clip_transform(source, config.model.encoder)
            views = VIEWS[config.protocol.views]
            steps = {"frames_per_step": preprocessing.frames_per_step, "step_frames_s": preprocessing.step_frames_s}
            return [VideoSource(frames, transform, view, **steps) for view in views], preprocessing, None, facts


def build_data(config: ExperimentConfig) -> Data:
    """Load the data set and make its training and validation samples.

    Training segments with nothing to see are left out (there is nothing to learn from); validation segments with
    nothing to see are kept apart in `asked.blind`, never dropped.

    Raises:
        SgearError: If files are missing, damaged, or do not fit the configuration.
    """
    benchmark = load_benchmark(config.dataset)
    sources, preprocessing, features, facts = _build_sources(config, benchmark, benchmark.timeline.video_ids)
    data = _make_samples(config, benchmark, sources, preprocessing, features)
    return replace(data, asked=replace(data.asked, facts=facts))


def build_asked(config: ExperimentConfig, split: str) -> tuple[Benchmark, Asked]:
    """Load one split of a data set, without its training samples: only the videos of that split are needed.

    Args:
        config: The experiment.
        split: `train`, `validation`, or a test split of the data set.

    Raises:
        ConfigError: If there is no such split.
        SgearError: If files are missing, damaged, or do not fit the configuration.
    """
    benchmark = load_benchmark(config.dataset)
    splits = {"validation": benchmark.validation, **benchmark.tests, "train": benchmark.train}
    if split not in splits:
        raise ConfigError(f"{benchmark.name} has no split {split!r}; choose {', '.join(splits)}")
    segments = splits[split]
    labels = StepLabels(benchmark.timeline)
    sources, _, _, facts = _build_sources(config, benchmark, segments.video_ids)
    on_error = checked_on_error(config.source.on_error)
    asked = _make_asked(split, segments, build_protocol(config.protocol), labels, sources, on_error)
    return benchmark, replace(asked, facts=facts)


def build_feature_data(config: ExperimentConfig, benchmark: Benchmark, table: StoredFeatures) -> Data:
    """Make the samples of a benchmark and opened features, e.g. of a fold of the training set.

    Raises:
        SgearError: If they do not fit the configuration.
    """
    sources = [_feature_source(config, benchmark, table)]
    return _make_samples(config, benchmark, sources, build_preprocessing(config), table)


def _make_samples(
    config: ExperimentConfig,
    benchmark: Benchmark,
    sources: Sequence[StepSource],
    preprocessing: Preprocessing,
    features: StoredFeatures | None,
) -> Data:
    protocol = build_protocol(config.protocol)
    if protocol.num_steps > config.model.max_steps:
        raise ConfigError(
            f"the protocol gives {protocol.num_steps} steps, but model.max_steps={config.model.max_steps}; set "
            f"model.max_steps={protocol.num_steps}, or shorten the clip (protocol.tau_o_s * protocol.fps, or num_steps)"
        )
    source, on_error = sources[0], checked_on_error(config.source.on_error)
    labels = StepLabels(benchmark.training_timeline)
    if isinstance(config.source, AnnotationSourceConfig):
        videos, num_steps = benchmark.train.video_ids, protocol.num_steps
        source = annotation_source(config, benchmark, labels, videos, num_steps=num_steps)
    if isinstance(protocol, RecognitionProtocol):
        train = RecognitionDataset(benchmark.train, protocol, labels, source, seed=config.seed, on_error=on_error)
    else:
        train = AnticipationDataset(
            benchmark.train.take(observable_segments(benchmark.train, protocol, source, on_error=on_error)),
            protocol,
            labels,
            source,
            seed=config.seed,
            on_error=on_error,
            # Baselines that count have no steps to vary.
            tau_a_jitter_s=getattr(config.source, "tau_a_jitter_s", 0.0),
            next_within_s=getattr(config.source, "next_within_s", 0.0),
        )
    return Data(
        benchmark=benchmark,
        train=train,
        asked=_make_asked(
            "validation", benchmark.validation, protocol, StepLabels(benchmark.timeline), sources, on_error
        ),
        preprocessing=preprocessing,
        features=features,
    )


def _make_asked(
    split: str,
    segments: SegmentTable,
    protocol: WindowProtocol | RecognitionProtocol,
    labels: StepLabels,
    sources: Sequence[StepSource],
    on_error: OnError,
) -> Asked:
    if isinstance(protocol, RecognitionProtocol):
        views = tuple(
            RecognitionDataset(segments, protocol, labels, source, seed=None, on_error=on_error) for source in sources
        )
        return Asked(split=split, segments=segments, views=views, blind=segments.take(np.zeros(len(segments), bool)))
    is_seen = observable_segments(segments, protocol, sources[0], on_error=on_error)
    seen = segments.take(is_seen)
    views = tuple(
        AnticipationDataset(seen, protocol, labels, source, seed=None, on_error=on_error) for source in sources
    )
    return Asked(split=split, segments=segments, views=views, blind=segments.take(~is_seen))
