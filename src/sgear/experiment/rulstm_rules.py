"""What RULSTM reads of a configuration, and what must agree for its horizons to be true."""

from __future__ import annotations

from dataclasses import fields

from sgear.errors import ConfigError
from sgear.experiment.schema import ExperimentConfig
from sgear.models.config import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    RulstmConfig,
    TemporalContextConfig,
)

_UNREAD_PARTS = {
    "temporal_context": TemporalContextConfig,
    "prototype_attention": PrototypeAttentionConfig,
    "decoder": DecoderConfig,
    "head": HeadConfig,
}


def dead_rulstm_keys(config: ExperimentConfig) -> dict[str, str]:
    """Return key -> reason for every key that RULSTM leaves without a reader; the keys of RULSTM under other models."""
    dead: dict[str, str] = {}
    if config.model.name != "rulstm":
        reason = f"model.name={config.model.name}"
        names = [f"model.rulstm.{item.name}" for item in fields(RulstmConfig)]
        return dict.fromkeys([*names, "objective.horizons", "init.branches"], reason)
    for part, kind in _UNREAD_PARTS.items():
        dead |= dict.fromkeys((f"model.{part}.{item.name}" for item in fields(kind)), "model.name=rulstm")
    encoder = [
        f"model.encoder.{item.name}" for item in fields(EncoderConfig) if item.name not in ("name", "feature_dim")
    ]
    other = ["model.width", "objective.next", "objective.sem", "objective.past_sem", "objective.reg"]
    other += ["objective.detach_feature_target", "optim.encoder_lr_scale", "init.visual_prototypes"]
    dead |= dict.fromkeys([*encoder, *other], "model.name=rulstm")
    if len(config.model.rulstm.modalities) < 2:
        single = ("model.rulstm.attention", "init.branches")
        dead |= dict.fromkeys(single, "a single modality (model.rulstm.modalities)")
    return dead


def check_rulstm(config: ExperimentConfig) -> None:
    """Raise if the loss asks for what RULSTM does not give, or its clock is not that of the protocol.

    Raises:
        ConfigError: Gives both sides.
    """
    if config.model.name != "rulstm":
        return
    protocol, settings = config.protocol, config.model.rulstm
    if protocol.kind == "recognition":
        raise ConfigError(
            "model.name=rulstm is not pre-trained by recognition; use protocol.kind=anticipation and "
            "model.rulstm.sequence_completion=true"
        )
    for name in ("past", "feat"):
        if getattr(config.objective, name):
            raise ConfigError(
                f"objective.{name}={getattr(config.objective, name)} needs what model.name=rulstm does not predict "
                "(the actions and features of observed steps); set it to 0"
            )
    if abs(settings.step_s * protocol.fps - 1) > 1e-6:
        raise ConfigError(
            f"model.rulstm.step_s={settings.step_s} s is not one step of protocol.fps={protocol.fps}; they must agree, "
            f"e.g. model.rulstm.step_s={1 / protocol.fps:g}"
        )
    if abs(settings.tau_a_s - protocol.tau_a_s) > 1e-6:
        raise ConfigError(
            f"model.rulstm.tau_a_s={settings.tau_a_s} must equal protocol.tau_a_s={protocol.tau_a_s}: the number of "
            "unrolled steps follows from it"
        )
