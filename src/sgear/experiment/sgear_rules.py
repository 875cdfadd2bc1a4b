"""What S-GEAR and AVT read of a configuration."""

from __future__ import annotations

from dataclasses import fields

from sgear.errors import ConfigError
from sgear.experiment.schema import ExperimentConfig
from sgear.models.config import HeadConfig, PrototypeAttentionConfig, TemporalContextConfig

_SIMILARITY = ("detach_similarity_feature", "detach_similarity_prototypes")
_READ_OUT = ("temperature", "learn_temperature", "gate", "detach_prototype_values")


def _all_but(kind: type, *kept: str) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind) if item.name not in kept)


def dead_sgear_keys(config: ExperimentConfig) -> dict[str, str]:
    """Return key -> reason for every key that S-GEAR or AVT leaves without a reader."""
    dead: dict[str, str] = {}

    def add(reason: str, prefix: str, names: tuple[str, ...]) -> None:
        dead.update({f"{prefix}.{name}": reason for name in names})

    if not config.model.head.verb_noun:
        add("model.head.verb_noun=false", "objective", ("cls_verb", "cls_noun"))
    if not config.objective.reg:
        add("objective.reg=0", "objective", ("detach_reg_target",))
    if config.model.name == "avt":
        reason = "model.name=avt has no prototypes"
        add(reason, "model.temporal_context", _all_but(TemporalContextConfig))
        add(reason, "model.prototype_attention", _all_but(PrototypeAttentionConfig))
        add(reason, "model.head", _all_but(HeadConfig, "dropout", "verb_noun"))
        add(reason, "objective", ("sem", "past_sem", "reg"))
        add(reason, "init", ("visual_prototypes",))
        add(reason, "model.encoder", ("standardise",))
    elif config.model.name == "sgear":
        if not config.objective.past_sem:
            add("objective.past_sem=0", "model.head", ("past_similarity",))
        _add_context_keys(dead, config)
        _add_prototype_keys(dead, config)
    return dead


def _add_context_keys(dead: dict[str, str], config: ExperimentConfig) -> None:
    context, prefix = config.model.temporal_context, "model.temporal_context"
    if context.num_blocks == 0:
        reason, names = f"{prefix}.num_blocks=0", _all_but(TemporalContextConfig, "num_blocks")
    else:
        reason = f"{prefix}.mode={context.mode}"
        names = {"cumulative": ("lifetime_steps",), "decay": ()}.get(context.mode, ("normalise", "lifetime_steps"))
    dead.update({f"{prefix}.{name}": reason for name in names})


def _add_prototype_keys(dead: dict[str, str], config: ExperimentConfig) -> None:
    attention, prefix = config.model.prototype_attention, "model.prototype_attention"
    if not attention.enabled:
        names = _all_but(PrototypeAttentionConfig, "enabled")
        dead.update({f"{prefix}.{name}": f"{prefix}.enabled=false" for name in names})
    elif attention.mode in ("released", "original"):
        names = ("share", "num_prototypes", "subset_seed")
        names += ("top_k", "toeplitz") if attention.mode == "original" else ()
        dead.update({f"{prefix}.{name}": f"{prefix}.mode={attention.mode}" for name in names})
    else:
        dead[f"{prefix}.toeplitz"] = f"{prefix}.mode={attention.mode}"
        if attention.num_prototypes:
            dead[f"{prefix}.share"] = f"{prefix}.num_prototypes={attention.num_prototypes}"
        elif attention.share == 1:
            dead[f"{prefix}.subset_seed"] = f"{prefix}.share=1"
    if not config.model.head.mix_prototypes:
        dead.update({f"model.head.{name}": "model.head.mix_prototypes=false" for name in _READ_OUT})
        if not (config.objective.sem or config.objective.past_sem):
            reason = "model.head.mix_prototypes=false and without semantic loss"
            dead.update({f"model.head.{name}": reason for name in _SIMILARITY})


def _check_original(config: ExperimentConfig) -> None:
    """Raise if a part in the form of the released code would meet clips that it cannot read."""
    model, protocol = config.model, config.protocol
    has_context = model.temporal_context.num_blocks > 0 and model.temporal_context.mode == "original"
    has_attention = model.prototype_attention.enabled and model.prototype_attention.mode == "original"
    if model.name != "sgear" or not (has_context or has_attention):
        return
    is_recognition = protocol.kind == "recognition"
    num_steps = protocol.num_steps if is_recognition else round(protocol.tau_o_s * protocol.fps)
    if num_steps != model.max_steps or not (is_recognition or protocol.short_history == "repeat"):
        part = "temporal_context" if has_context else "prototype_attention"
        raise ConfigError(
            f"model.{part}.mode=original reads clips of one length without absent steps; set model.max_steps="
            f"{num_steps} and protocol.short_history=repeat, now {model.max_steps} and {protocol.short_history}"
        )


def check_sgear(config: ExperimentConfig) -> None:
    """Raise if two settings exclude each other, or a classifier is never trained.

    Raises:
        ConfigError: Gives both sides.
    """
    _check_original(config)
    if config.model.encoder.pretrained and config.model.encoder.weights:
        raise ConfigError(
            f"model.encoder.pretrained=true has no effect with model.encoder.weights={config.model.encoder.weights}; "
            "choose one of them"
        )
    if config.model.head.verb_noun and not (config.objective.cls_verb and config.objective.cls_noun):
        raise ConfigError(
            f"model.head.verb_noun=true adds two classifiers, but objective.cls_verb={config.objective.cls_verb} and "
            f"objective.cls_noun={config.objective.cls_noun} leave one untrained; set both above 0"
        )
