"""Configuration -> objects, by explicit `match`: no reflection, nothing a configuration could make execute."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sgear.config.schema import DatasetConfig, ExperimentConfig, ProtocolConfig
from sgear.data import (
    AnticipationDataset,
    FeatureSource,
    RecognitionDataset,
    StepLabels,
    StepSource,
    VideoSource,
    WindowDataset,
)
from sgear.data.dataset import observable_segments
from sgear.data.frames import cache_frames, find_videos
from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic100 import load_epic100
from sgear.datasets.kitchen.table import load_kitchen_features
from sgear.datasets.salads50 import load_salads50
from sgear.errors import AnnotationError, ConfigError
from sgear.features import FeatureTable
from sgear.features.corruption import ClassConfusion
from sgear.features.recogniser import fit_recogniser
from sgear.losses import Objective
from sgear.models import AnticipationModel, build_model
from sgear.models.encoders import FeatureEncoder
from sgear.models.pretrained import Preprocessing, copy_blocks, load_model
from sgear.prototypes import LanguagePrototypes, VisualPrototypes, cosine_relations
from sgear.segments import SegmentTable
from sgear.timing import AnticipationProtocol, RecognitionProtocol
from sgear.training.run import RunDirectory
from sgear.video.transforms import ClipTransform

SALADS_FOLDER = "50salads"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Everything that training and evaluation read.

    Args:
        benchmark: Segments and vocabulary.
        train: Training samples.
        validation: Validation samples with something to see.
        blind: Validation segments with nothing to see: they get the class prior.
        preprocessing: How a clip is made.
        features: The stored features (feature sources).
    """

    benchmark: Benchmark
    train: WindowDataset
    validation: WindowDataset
    blind: SegmentTable
    preprocessing: Preprocessing
    features: FeatureTable | None


def dataset_root(config: DatasetConfig) -> Path:
    """Return the folder of a data set: `root`, or a folder under SGEAR_DATA."""
    if config.root:
        return Path(config.root)
    folder = SALADS_FOLDER if config.name == "salads50" else config.name
    return Path(os.environ.get("SGEAR_DATA", "data")) / folder


def build_protocol(config: ProtocolConfig) -> AnticipationProtocol | RecognitionProtocol:
    """Return the protocol that the configuration describes.

    Raises:
        ConfigError: If a value is out of range or the kind is unknown.
    """
    try:
        match config.kind:
            case "anticipation":
                return AnticipationProtocol(tau_a_s=config.tau_a_s, tau_o_s=config.tau_o_s, fps=config.fps)
            case "recognition":
                return RecognitionProtocol(num_steps=config.num_steps, jitter=config.jitter)
            case other:
                raise ConfigError(f"protocol.kind={other!r} is unknown; choose anticipation or recognition")
    except ValueError as err:
        raise ConfigError(f"protocol: {err}") from err


def load_benchmark(config: DatasetConfig) -> Benchmark:
    """Load segments and vocabulary.

    Raises:
        ConfigError: If the data set is unknown.
        AnnotationError: If its files are missing or wrong.
    """
    root = dataset_root(config)
    match config.name:
        case "kitchen":
            if not (root / "annotations").is_dir():
                raise AnnotationError(f"{root}: no kitchen there; render it with 'sgear data kitchen {root}'")
            return replace(load_epic100(root / "annotations"), name="kitchen")
        case "epic100":
            return load_epic100(root / "annotations")
        case "salads50":
            return load_salads50(root, split=config.split).benchmark
        case other:
            raise ConfigError(f"dataset.name={other!r} is unknown; choose kitchen, epic100 or salads50")


def load_features(config: ExperimentConfig) -> FeatureTable:
    """Load the stored features that `source.features` names.

    Raises:
        ConfigError: If the data set has no features of that name.
    """
    root, name = dataset_root(config.dataset), config.source.features
    match config.dataset.name, name:
        case "salads50", "spatialcnn" | "accelerometer":
            return load_salads50(root, split=config.dataset.split, modality=name).features
        case "kitchen", "oracle":
            return load_kitchen_features(root)
        case dataset, _:
            raise ConfigError(
                f"source.features={name!r} does not exist for dataset {dataset}; salads50 has spatialcnn and "
                "accelerometer, kitchen has oracle"
            )


def row_labels(table: FeatureTable, labels: StepLabels, video_ids: list[str]) -> dict[str, NDArray[np.int64]]:
    """Return the action of every stored row of the given videos, -1 for none."""
    return {name: labels.at(name, table[name].times_s) for name in video_ids}


def _feature_source(
    config: ExperimentConfig, benchmark: Benchmark, labels: StepLabels, table: FeatureTable
) -> FeatureSource:
    source = config.source
    if table.width != config.model.encoder.feature_dim:
        raise ConfigError(
            f"model.encoder.feature_dim={config.model.encoder.feature_dim}, but the features {source.features!r} are "
            f"{table.width} wide; set it to {table.width}"
        )
    confusion = None
    if source.confusion:
        confusion = ClassConfusion(
            table,
            row_labels(table, labels, benchmark.train.video_ids),
            num_actions=benchmark.taxonomy.num_actions,
            strength=source.confusion,
        )
    return FeatureSource(table, pool_s=source.pool_s, confusion=confusion)


def _build_sources(
    config: ExperimentConfig, benchmark: Benchmark, labels: StepLabels
) -> tuple[StepSource, Preprocessing, FeatureTable | None]:
    source = config.source
    match source.kind:
        case "features":
            table = load_features(config)
            preprocessing = Preprocessing(kind="features", pool_s=source.pool_s)
            return _feature_source(config, benchmark, labels, table), preprocessing, table
        case "video":
            height, width = config.model.encoder.image_height, config.model.encoder.image_width
            if min(height, width) < 1:
                raise ConfigError("model.encoder.image_height and image_width must be set for source.kind=video")
            preprocessing = Preprocessing(kind="video", height=height, width=width, crop_margin=source.crop_margin)
            transform = ClipTransform(
                height,
                width,
                preprocessing.mean,
                preprocessing.std,
                crop_margin=source.crop_margin,
                flip=source.flip,
                brightness=source.brightness,
                contrast=source.contrast,
            )
            root = dataset_root(config.dataset)
            videos = find_videos(root / "videos", benchmark.timeline.video_ids)
            cache = cache_frames(videos, root / "cache", preprocessing, fps=source.cache_fps)
            return VideoSource(cache, transform), preprocessing, None
        case other:
            raise ConfigError(f"source.kind={other!r} is unknown; choose video or features")


def build_data(config: ExperimentConfig) -> Data:
    """Load the data set and make its training and validation samples.

    Training segments with nothing to see are left out (there is nothing to learn from); validation segments with
    nothing to see are kept apart in `blind`, never dropped.

    Raises:
        SgearError: If files are missing, damaged, or do not fit the configuration.
    """
    benchmark = load_benchmark(config.dataset)
    labels = StepLabels(benchmark.timeline)
    source, preprocessing, features = _build_sources(config, benchmark, labels)
    return _make_samples(config, benchmark, labels, source, preprocessing, features)


def build_feature_data(config: ExperimentConfig, benchmark: Benchmark, table: FeatureTable) -> Data:
    """Make the samples of a benchmark and a feature table in memory, e.g. of a fold of the training set.

    Raises:
        SgearError: If they do not fit the configuration.
    """
    labels = StepLabels(benchmark.timeline)
    source = _feature_source(config, benchmark, labels, table)
    preprocessing = Preprocessing(kind="features", pool_s=config.source.pool_s)
    return _make_samples(config, benchmark, labels, source, preprocessing, table)


def _make_samples(
    config: ExperimentConfig,
    benchmark: Benchmark,
    labels: StepLabels,
    source: StepSource,
    preprocessing: Preprocessing,
    features: FeatureTable | None,
) -> Data:
    protocol = build_protocol(config.protocol)
    if protocol.num_steps > config.model.max_steps:
        raise ConfigError(
            f"the protocol gives {protocol.num_steps} steps, but model.max_steps={config.model.max_steps}"
        )
    train, validation = benchmark.train, benchmark.validation
    if isinstance(protocol, RecognitionProtocol):
        return Data(
            benchmark=benchmark,
            train=RecognitionDataset(train, protocol, labels, source, seed=config.seed),
            validation=RecognitionDataset(validation, protocol, labels, source, seed=None),
            blind=validation.take(np.zeros(len(validation), dtype=bool)),
            preprocessing=preprocessing,
            features=features,
        )
    sees_train = observable_segments(train, protocol, source)
    sees_validation = observable_segments(validation, protocol, source)
    return Data(
        benchmark=benchmark,
        train=AnticipationDataset(
            train.take(sees_train),
            protocol,
            labels,
            source,
            seed=config.seed,
            tau_a_jitter_s=config.source.tau_a_jitter_s,
            next_within_s=config.source.next_within_s,
        ),
        validation=AnticipationDataset(validation.take(sees_validation), protocol, labels, source, seed=None),
        blind=validation.take(~sees_validation),
        preprocessing=preprocessing,
        features=features,
    )


def build_network(config: ExperimentConfig, data: Data) -> tuple[AnticipationModel, list[str]]:
    """Build the model with its starting weights.

    Returns:
        The model, and one line per thing it was initialised from.
    """
    taxonomy = data.benchmark.taxonomy
    torch.manual_seed(config.seed)
    model = build_model(config.model, num_actions=taxonomy.num_actions)
    notes = []
    if data.features is not None and isinstance(model.encoder, FeatureEncoder):
        video_ids = data.benchmark.train.video_ids
        model.encoder.feature_scale.copy_(torch.from_numpy(data.features.standard_deviation(video_ids)))
        if model.encoder.recogniser is not None:
            rows = np.concatenate([data.features[name].features for name in video_ids])
            actions = np.concatenate(list(row_labels(data.features, data.train.labels, video_ids).values()))
            model.encoder.recogniser.set_fitted(fit_recogniser(rows, actions, num_actions=taxonomy.num_actions))
            notes.append(f"encoder: a frame recogniser fitted to {len(rows)} rows of {len(video_ids)} training videos")
    if config.init.run:
        trained = load_model(RunDirectory(Path(config.init.run)).require().model)
        copied = copy_blocks(model, trained.model, tuple(config.init.blocks))
        notes += [f"{block}: {count} tensors from {config.init.run}" for block, count in copied.items()]
    if config.init.visual_prototypes and config.model.name == "sgear":
        path = Path(config.init.visual_prototypes)
        visual = VisualPrototypes.load(path, taxonomy)
        model.bank.set_visual(visual.vectors)  # type: ignore[union-attr]
        num_filled = int((visual.num_exemplars == 0).sum())
        notes.append(f"bank: {len(visual.vectors)} visual prototypes from {path}, {num_filled} made from siblings")
    return model, notes


def build_objective(config: ExperimentConfig, data: Data) -> Objective:
    """Build the objective, with the geometry of the language prototypes where it is needed."""
    relations = None
    if config.init.language_prototypes:
        path = Path(config.init.language_prototypes)
        relations = cosine_relations(LanguagePrototypes.load(path, data.benchmark.taxonomy).vectors)
    return Objective(config.objective, relations)
