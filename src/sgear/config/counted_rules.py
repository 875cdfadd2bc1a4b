"""What a counted baseline reads of a configuration: little, and no film."""

from __future__ import annotations

from dataclasses import fields

from sgear.config.schema import ExperimentConfig, InitConfig
from sgear.errors import ConfigError
from sgear.losses import ObjectiveConfig
from sgear.models.config import (
    CountsConfig,
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    TemporalContextConfig,
)
from sgear.models.counted import COUNTED_MODELS
from sgear.training.config import OptimConfig

_UNREAD = {
    "model.encoder": EncoderConfig,
    "model.temporal_context": TemporalContextConfig,
    "model.prototype_attention": PrototypeAttentionConfig,
    "model.decoder": DecoderConfig,
    "model.head": HeadConfig,
    "objective": ObjectiveConfig,
    "optim": OptimConfig,
    "init": InitConfig,
}


def dead_counted_keys(config: ExperimentConfig) -> dict[str, str]:
    """Return key -> reason for every key that a counted baseline leaves unread; its own keys under other models."""
    name = config.model.name
    own = [f"model.counts.{item.name}" for item in fields(CountsConfig)]
    dead = {} if name == "last_action" else dict.fromkeys(own, f"model.name={name}")
    if name not in COUNTED_MODELS:
        return dead
    for prefix, kind in _UNREAD.items():
        unread = (f"{prefix}.{item.name}" for item in fields(kind) if f"{prefix}.{item.name}" != "optim.batch_size")
        dead |= dict.fromkeys(unread, f"model.name={name}")
    unread = ("model.width", "source.tau_a_jitter_s", "source.next_within_s", "source.on_error")
    return dead | dict.fromkeys(unread, f"model.name={name}")


def check_counted(config: ExperimentConfig) -> None:
    """Raise if steps and model do not belong together, or nothing is anticipated.

    Raises:
        ConfigError: Gives both sides.
    """
    is_counted = config.model.name in COUNTED_MODELS
    if is_counted != (config.source.kind == "annotations"):
        raise ConfigError(
            f"model.name={config.model.name} and source.kind={config.source.kind} do not belong together: "
            f"{' and '.join(COUNTED_MODELS)} read source.kind=annotations, and no other model does"
        )
    if is_counted and config.protocol.kind == "recognition":
        raise ConfigError(f"model.name={config.model.name} anticipates; protocol.kind=recognition shows it the action")
