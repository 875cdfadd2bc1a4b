"""S-GEAR and its peers as plain torch modules, built from dataclasses."""

from sgear.models.avt import Avt, AvtConfig
from sgear.models.base import (
    AnticipationModel,
    AnticipationOutput,
    build_model,
    list_models,
    model_class,
    model_config,
    register_model,
)
from sgear.models.baselines import Baseline, Frequency, LastAction, LastRecognised, PooledRegression
from sgear.models.config import (
    CountsConfig,
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    RegressionConfig,
    RulstmConfig,
    TemporalContextConfig,
)
from sgear.models.encoders.base import FrameInput, VideoEncoder, register_encoder
from sgear.models.history import HistoryRegression
from sgear.models.rulstm import Rulstm, RulstmModelConfig
from sgear.models.sgear import SGear, SGearConfig

__all__ = [
    "AnticipationModel",
    "AnticipationOutput",
    "Avt",
    "AvtConfig",
    "Baseline",
    "CountsConfig",
    "DecoderConfig",
    "EncoderConfig",
    "FrameInput",
    "Frequency",
    "HeadConfig",
    "HistoryRegression",
    "LastAction",
    "LastRecognised",
    "PooledRegression",
    "PrototypeAttentionConfig",
    "RegressionConfig",
    "Rulstm",
    "RulstmConfig",
    "RulstmModelConfig",
    "SGear",
    "SGearConfig",
    "TemporalContextConfig",
    "VideoEncoder",
    "build_model",
    "list_models",
    "model_config",
    "model_class",
    "register_encoder",
    "register_model",
]
