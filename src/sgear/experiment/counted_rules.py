"""What a counted baseline reads of a configuration: little, and no film."""

from __future__ import annotations

from dataclasses import fields

from sgear.errors import ConfigError
from sgear.experiment.schema import ExperimentConfig, InitConfig
from sgear.losses import ObjectiveConfig
from sgear.models.base import model_class
from sgear.models.baselines import Baseline
from sgear.models.config import (
    CountsConfig,
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    RegressionConfig,
    TemporalContextConfig,
)
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
    """Return key -> reason for every key that a baseline leaves unread; its own keys under other models."""
    name = config.model.name
    kind = model_class(name)
    read = {item.name for item in fields(kind.Config)}
    own = {"counts": CountsConfig, "regression": RegressionConfig}
    keys = [f"model.{part}.{item.name}" for part, cls in own.items() if part not in read for item in fields(cls)]
    dead = dict.fromkeys(keys, f"model.name={name}")
    if not issubclass(kind, Baseline):
        return dead
    for prefix, cls in _UNREAD.items():
        dead |= dict.fromkeys((f"{prefix}.{item.name}" for item in fields(cls)), f"model.name={name}")
    dead |= dict.fromkeys(("model.width", "source.tau_a_jitter_s", "source.next_within_s"), f"model.name={name}")
    if "annotations" in kind.sources:
        dead["source.on_error"] = f"model.name={name}"
    else:
        del dead["model.encoder.feature_dim"]
    del dead["optim.batch_size"]
    return dead


def check_counted(config: ExperimentConfig) -> None:
    """Raise if steps and model do not belong together, or a baseline is asked to recognize.

    Raises:
        ConfigError: Gives both sides.
    """
    kind = model_class(config.model.name)
    if config.source.kind not in kind.sources:
        raise ConfigError(
            f"model.name={config.model.name} and source.kind={config.source.kind} do not belong together: this model "
            f"reads source.kind={' or '.join(kind.sources)}"
        )
    if issubclass(kind, Baseline) and config.protocol.kind == "recognition":
        raise ConfigError(f"model.name={config.model.name} anticipates; protocol.kind=recognition shows it the action")
