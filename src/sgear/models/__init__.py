"""S-GEAR and its peers as plain torch modules, built from dataclasses."""

from sgear.models.config import (
    CountsConfig,
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    PrototypeAttentionConfig,
    RulstmConfig,
    TemporalContextConfig,
)
from sgear.models.factory import AnticipationModel, build_model
from sgear.models.outputs import AnticipationOutput

__all__ = [
    "AnticipationModel",
    "AnticipationOutput",
    "CountsConfig",
    "DecoderConfig",
    "EncoderConfig",
    "HeadConfig",
    "ModelConfig",
    "PrototypeAttentionConfig",
    "RulstmConfig",
    "TemporalContextConfig",
    "build_model",
]
