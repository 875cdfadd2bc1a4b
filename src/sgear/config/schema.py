"""One dataclass per config group. What YAML may say, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from sgear.losses import ObjectiveConfig
from sgear.models import ModelConfig
from sgear.training.config import OptimConfig, RuntimeConfig


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which recordings.

    Args:
        name: `kitchen`, `epic100` or `salads50`.
        root: Folder of the data set. Empty: a folder of the same name under the environment variable SGEAR_DATA
            (`data` where that is not set).
        split: Split number (salads50).
    """

    name: str = "kitchen"
    root: str = ""
    split: int = 1


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """Which instants of a video are seen; see `sgear.timing`.

    Args:
        kind: `anticipation` (tau_a_s, tau_o_s, fps) or `recognition` (num_steps, jitter).
        tau_a_s: Anticipation time in seconds.
        tau_o_s: Observation time in seconds.
        fps: Steps per second.
        num_steps: Steps within the action (recognition).
        jitter: Random shift of each step in training, as a share of their distance (recognition).
    """

    kind: str = "anticipation"
    tau_a_s: float = 1.0
    tau_o_s: float = 10.0
    fps: float = 1.0
    num_steps: int = 4
    jitter: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where steps come from, and how training varies them.

    Args:
        kind: `video` or `features`.
        features: Name of the stored features (salads50: `spatialcnn` or `accelerometer`; kitchen: `oracle`).
        pool_s: Average the features of the last seconds of each step; 0 takes the newest row (features).
        cache_fps: Frames per second kept in the frame cache (video).
        crop_margin: Share of the picture by which training moves the crop (video).
        flip: Mirror half of the training clips (video).
        brightness: Largest relative change of brightness in training (video).
        contrast: Largest relative change of contrast in training (video).
        next_within_s: The loss term `next` asks each step for the action that starts within this many seconds.
        tau_a_jitter_s: Training lengthens tau_a by up to this many seconds.
        confusion: Strength of class confusion of training rows, 0 is off; see `ClassConfusion` (features).
    """

    kind: str = "video"
    features: str = ""
    pool_s: float = 0.0
    cache_fps: float = 6.0
    crop_margin: float = 0.08
    flip: bool = False
    brightness: float = 0.2
    contrast: float = 0.2
    tau_a_jitter_s: float = 0.0
    next_within_s: float = 0.0
    confusion: float = 0.0


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """What a model starts from.

    Args:
        run: Run directory whose blocks are copied; empty starts at random (or from timm's weights).
        blocks: Submodules to copy from `run`.
        visual_prototypes: File of `sgear prototypes visual`; empty starts the bank at random.
        language_prototypes: File of `sgear prototypes language`, for the semantic loss.
    """

    run: str = ""
    blocks: list[str] = field(default_factory=list)
    visual_prototypes: str = ""
    language_prototypes: str = ""


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """A whole experiment.

    Args:
        name: Name of the experiment; also the folder under `output_root`.
        output_root: Where run directories go.
        seed: Seed of weights, data order, dropout and augmentation.
        dataset: Recordings.
        protocol: Instants seen.
        source: Steps.
        model: Network.
        objective: Loss weights.
        optim: Optimisation.
        init: Starting point.
        runtime: Machine.
    """

    name: str = "experiment"
    output_root: str = "runs"
    seed: int = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    init: InitConfig = field(default_factory=InitConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
