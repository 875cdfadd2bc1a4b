"""Encoders: stored features, a timm ViT on frames, and registered ones on frames or clips."""

from __future__ import annotations

from sgear.models.config import EncoderConfig
from sgear.models.encoders.annotations import ANNOTATIONS, PastEncoder, SeenActions
from sgear.models.encoders.base import FrameInput, VideoEncoder, register_encoder, registered_encoder
from sgear.models.encoders.features import FEATURES, FeatureEncoder, FrozenFrameClassifier
from sgear.models.encoders.timm import TimmEncoder, frame_size, frame_statistics

__all__ = [
    "ANNOTATIONS",
    "FEATURES",
    "FeatureEncoder",
    "FrameInput",
    "FrozenFrameClassifier",
    "PastEncoder",
    "SeenActions",
    "TimmEncoder",
    "VideoEncoder",
    "build_encoder",
    "frame_input",
    "frame_size",
    "frame_statistics",
    "register_encoder",
]


def _video_encoder(name: str) -> type[VideoEncoder]:
    # Names that nobody registered are timm's.
    return registered_encoder(name) or TimmEncoder


def frame_input(config: EncoderConfig) -> FrameInput:
    """Return what the video encoder of `config` reads at each step.

    Raises:
        ConfigError: If a setting is out of range.
    """
    return _video_encoder(config.name).frame_input(config)


def build_encoder(
    config: EncoderConfig, *, width: int, num_actions: int, num_verbs: int = 0, num_nouns: int = 0
) -> FeatureEncoder | PastEncoder | VideoEncoder:
    """Build the encoder that `config.name` asks for."""
    if config.name == FEATURES:
        return FeatureEncoder(config, width=width, num_actions=num_actions)
    if config.name == ANNOTATIONS:
        return PastEncoder(config, width=width, num_actions=num_actions, num_verbs=num_verbs, num_nouns=num_nouns)
    return _video_encoder(config.name)(config, width=width)
