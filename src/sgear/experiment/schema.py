"""One dataclass per config group. What YAML may say, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from sgear.losses import ObjectiveConfig
from sgear.models import SGearConfig
from sgear.models.base import list_models, model_class
from sgear.training.config import OptimConfig, RuntimeConfig


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which recordings.

    Args:
        name: One of `sgear.datasets.dataset_names()`.
        root: Folder of the data set. Empty: a folder of the same name under the environment variable SGEAR_DATA
            (`data` where that is not set).
        video_roots: Folders in which videos are looked for by name, in this order, at any depth. Empty: the usual
            places of the data set; see `sgear.datasets.video_places`.
        split: Split number (egtea, rulstm-egtea, salads50, salads50-avt, salads50-tcn).
        granularity: Level of the labels: `low`, `mid`, `eval` or `abstract` (salads50).
        num_folds: At least 2: split the *training* participants into folds and validate on the fold number `fold`,
            so that settings and fusion weights are chosen on people that were not trained on. 0: the official split.
        fold: Held-out fold, from 0 (num_folds).
    """

    name: str = "kitchen"
    root: str = ""
    video_roots: list[str] = field(default_factory=list)
    split: int = 1
    granularity: str = "mid"
    num_folds: int = 0
    fold: int = 0


@dataclass(frozen=True, kw_only=True)
class AnticipationConfig:
    """Steps that end tau_a before an action; see `sgear.timing`.

    Args:
        kind: `anticipation`, or `vjepa`, which is not comparable with it.
        tau_a_s: Anticipation time in seconds.
        tau_o_s: Observation time in seconds.
        fps: Steps per second.
        short_history: `mask` or `repeat`: what stands for steps before the video.
        views: `centre`, `three-crop` or `three-crop-flip`: parts of each frame seen at test time (video).
        view_mean: What is averaged over several views: `probabilities`, or `logits` as AVT and the released S-GEAR do.
    """

    kind: str = "anticipation"
    tau_a_s: float = 1.0
    tau_o_s: float = 10.0
    fps: float = 1.0
    short_history: str = "mask"
    views: str = "centre"
    view_mean: str = "probabilities"


@dataclass(frozen=True, kw_only=True)
class RecognitionConfig:
    """Steps within, or right after the start of, an action; see `sgear.timing`.

    Args:
        kind: `recognition`.
        num_steps: Number of steps.
        jitter: Random shift of each step in training, as a share of their distance (after_start_s=0).
        after_start_s: Above 0: the steps are not spread over the action, but end so many seconds after its start and
            lie 1 / fps apart, whatever its length, as in the released S-GEAR.
        fps: Steps per second (after_start_s).
    """

    views: ClassVar[str] = "centre"
    kind: str = "recognition"
    num_steps: int = 4
    jitter: float = 1.0
    after_start_s: float = 0.0
    fps: float = 1.0


ProtocolConfig = AnticipationConfig | RecognitionConfig


@dataclass(frozen=True, kw_only=True)
class VideoSourceConfig:
    """Steps are frames of videos, varied in training.

    Args:
        kind: `video`.
        reading: `cache` decodes each video once and keeps its frames, small, on disk; `videos` decodes each window from
            the videos, for corpora whose cache would be too large.
        cache_fps: Frames per second kept in the frame cache; an instant is shown by the newest kept frame before it
            (reading=cache).
        frame_fps: Rate at which numbered images were numbered, for videos that are folders or tar files of them. 0: as
            published, or as the video info csv of the data set says.
        crop_margin: Share by which the image is larger than the crop that is seen.
        scale_jitter: Two margins between which training draws that of each clip; empty: always `crop_margin`. A short
            side of 384 to 425 pixels around a crop of 384 is [0.0, 0.1068].
        flip: Mirror half of the training clips.
        brightness: Largest relative change of brightness in training.
        contrast: Largest relative change of contrast in training.
        tau_a_jitter_s: Training lengthens tau_a by up to this many seconds.
        next_within_s: The loss term `next` asks each step for the action that starts within this many seconds.
        check_clock: Refuse images read at a rate that was given, that do not last as long as their videos: they may
            show the future. false goes on, and the result is no benchmark number.
        on_error: `stop` ends the run at the first clip that cannot be read. `skip` goes on without it; the report
            then lists what was left out, and the result is no benchmark number.
    """

    kind: str = "video"
    reading: str = "cache"
    cache_fps: float = 6.0
    frame_fps: float = 0.0
    crop_margin: float = 0.08
    scale_jitter: list[float] = field(default_factory=list)
    flip: bool = False
    brightness: float = 0.2
    contrast: float = 0.2
    tau_a_jitter_s: float = 0.0
    next_within_s: float = 0.0
    check_clock: bool = True
    on_error: str = "stop"


@dataclass(frozen=True, kw_only=True)
class FeatureSourceConfig:
    """Steps are stored features.

    Args:
        kind: `features`.
        features: A name that the data set knows (salads50-tcn: `spatialcnn`, `accelerometer`; kitchen: `oracle`), the
            path of a feature store or LMDB, or the name of one under `feature_roots`. Several kinds are joined by `+`,
            e.g. `rgb+flow+obj`, and stand side by side in that order.
        feature_roots: Folders in which features are looked for, in this order; the usual places of the data set come
            last, see `sgear.datasets.feature_places`.
        lmdb_key: Keys of an LMDB.
        lmdb_fps: Rate at which an LMDB numbers its frames.
        lmdb_max_gap_s: A frame that an LMDB lacks is replaced by the nearest one up to so many seconds before it.
        pool_s: Average the features of the last seconds of each step; 0 takes the newest row.
        confusion: Strength of class confusion of training rows, 0 is off; see `ClassConfusion`.
        tau_a_jitter_s: Training lengthens tau_a by up to this many seconds.
        next_within_s: The loss term `next` asks each step for the action that starts within this many seconds.
        check_clock: Refuse features that do not last as long as their videos: they may show the future. false goes on,
            and the result is no benchmark number.
        on_error: `stop` ends the run at the first clip that cannot be read. `skip` goes on without it; the report
            then lists what was left out, and the result is no benchmark number.
    """

    kind: str = "features"
    features: str = ""
    feature_roots: list[str] = field(default_factory=list)
    lmdb_key: str = "{video}_frame_{number:010d}.jpg"
    lmdb_fps: float = 30.0
    lmdb_max_gap_s: float = 0.3
    pool_s: float = 0.0
    confusion: float = 0.0
    tau_a_jitter_s: float = 0.0
    next_within_s: float = 0.0
    check_clock: bool = True
    on_error: str = "stop"


@dataclass(frozen=True, kw_only=True)
class AnnotationSourceConfig:
    """Steps are the annotated past itself: what a perfect frame classifier would know. An oracle, not a benchmark.

    Args:
        kind: `annotations`.
        history: Number of actions that a step shows (models that learn by gradients; baselines count the newest one).
        counts_from: An action is seen from its `start` or from its `end` on.
        drop: Share of the seen actions that are left out in training.
        noise: Share of the seen actions that are replaced by one of the same verb or noun, as a frame classifier would
            confuse them, in training and in evaluation.
        noise_from: File of predictions of a real frame classifier on a split of this data set, whose mistakes are drawn
            instead; empty: none.
        on_error: There is nothing that could not be read.
    """

    kind: str = "annotations"
    history: int = 16
    counts_from: str = "start"
    drop: float = 0.0
    noise: float = 0.0
    noise_from: str = ""
    on_error: str = "stop"


SourceConfig = VideoSourceConfig | FeatureSourceConfig | AnnotationSourceConfig

CHOSEN_BY = {"model": "name", "source": "kind", "protocol": "kind"}
"""Parts of an experiment whose dataclass is chosen, and by which of their settings."""
_KINDS: dict[str, dict[str, type]] = {
    "source": {"video": VideoSourceConfig, "features": FeatureSourceConfig, "annotations": AnnotationSourceConfig},
    "protocol": {"anticipation": AnticipationConfig, "vjepa": AnticipationConfig, "recognition": RecognitionConfig},
}


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """What a model starts from.

    Args:
        run: Run directory whose blocks are copied; empty starts at random (or from timm's weights).
        weights: Published checkpoint of AVT or RULSTM to start from instead, for the same model; only tensors are read.
        class_names: Order of the classes in `weights`: a list `ID NAME` such as RULSTM's actions.csv, or `same-order`
            for that of the data set. Needed where a block with classes is copied.
        blocks: Blocks to copy from `run`, e.g. [encoder, decoder]; see `sgear.models.blocks`. Of `weights`: empty
            copies all.
        freeze: Blocks that are not trained.
        branches: Run directories of one modality each, from which a fused RULSTM takes its branches, in the order of
            `model.rulstm.modalities`.
        visual_prototypes: File of `sgear prototypes visual`; empty starts the bank at random.
        language_prototypes: File of `sgear prototypes language`, for the semantic loss.
        language_as_visual: Start the bank from the language prototypes, with their cosines, instead of visual ones: an
            ablation of the paper, usually with `freeze=[prototypes]`.
    """

    run: str = ""
    weights: str = ""
    class_names: str = ""
    blocks: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    visual_prototypes: str = ""
    language_prototypes: str = ""
    language_as_visual: bool = False


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """A whole experiment.

    Args:
        name: Name of the experiment; also the folder under `output_root`.
        output_root: Where run directories go.
        seed: Seed of weights, data order, dropout and augmentation.
        dataset: Recordings.
        protocol: Instants seen, chosen by `protocol.kind`.
        source: Steps, chosen by `source.kind`.
        model: Network: the `Config` of a registered model, chosen by `model.name`.
        objective: Loss weights.
        optim: Optimisation.
        init: Starting point.
        runtime: Machine.
    """

    name: str = "experiment"
    output_root: str = "runs"
    seed: int = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=AnticipationConfig)
    source: SourceConfig = field(default_factory=VideoSourceConfig)
    model: Any = field(default_factory=SGearConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)


def encoder_weights(model: Any) -> str:
    """Return the file that the encoder of a model starts from; empty where there is none."""
    return getattr(getattr(model, "encoder", None), "weights", "")


def choices(part: str) -> dict[str, type]:
    """Return the dataclass of each model, kind of steps or protocol by its name, those of other packages included."""
    return _KINDS[part] if part in _KINDS else {name: model_class(name).Config for name in list_models()}


def chosen_defaults(config: ExperimentConfig) -> ExperimentConfig:
    """Return the defaults of an experiment with the model, steps and protocol of this one."""
    return ExperimentConfig(**{part: type(getattr(config, part))() for part in CHOSEN_BY})
