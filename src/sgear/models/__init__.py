"""S-GEAR and its peers as plain torch modules, built from dataclasses."""

from sgear.models.avt import Avt, AvtConfig
from sgear.models.base import (
    AnticipationModel,
    AnticipationOutput,
    build_model,
    list_models,
    model_class,
    register_model,
)
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
from sgear.models.counted import CountedActions, CountedConfig
from sgear.models.encoders.base import FrameInput, VideoEncoder, register_encoder
from sgear.models.rulstm import Rulstm, RulstmModelConfig
from sgear.models.sgear import SGear, SGearConfig

__all__ = [
    "AnticipationModel",
    "AnticipationOutput",
    "Avt",
    "AvtConfig",
    "CountedActions",
    "CountedConfig",
    "CountsConfig",
    "DecoderConfig",
    "EncoderConfig",
    "FrameInput",
    "HeadConfig",
    "ModelConfig",
    "PrototypeAttentionConfig",
    "Rulstm",
    "RulstmConfig",
    "RulstmModelConfig",
    "SGear",
    "SGearConfig",
    "TemporalContextConfig",
    "VideoEncoder",
    "build_model",
    "list_models",
    "model_class",
    "register_encoder",
    "register_model",
]
