"""Which settings fit together: one that nothing would read keeps its default, and no two say opposite things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sgear.data.dataset import checked_on_error
from sgear.datasets import dataset_spec
from sgear.errors import ConfigError
from sgear.experiment.schema import ExperimentConfig, InitConfig
from sgear.experiment.settings import as_override, check_ranges, flatten, value_text
from sgear.models import Baseline
from sgear.models.base import model_class
from sgear.models.config import ModelConfig

_VIDEO = (
    *(f"source.{name}" for name in ("reading", "cache_fps", "decoder", "frame_fps", "crop_margin", "scale_jitter")),
    *("source.flip", "source.brightness", "source.contrast", "dataset.video_roots", "protocol.views"),
)
_STORED = ("source.features", "source.feature_roots", "source.lmdb_*", "source.pool_s", "source.confusion")
_OF_TIMM = tuple(
    f"model.encoder.{name}"
    for name in ("pretrained", "weights", "image_*", "embed_dim", "depth", "num_heads", "patch_size")
)
_OF_FEATURES = ("model.encoder.feature_*", *(f"model.encoder.{x}" for x in ("recogniser", "map", "init_gain")))
_PA, _TCA, _HEAD = "model.prototype_attention", "model.temporal_context", "model.head"


class _Unread(dict[str, str]):
    """Settings that nothing reads -> the choice that leaves them so.

    Args:
        values: All settings by their dotted key.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._values = values

    def add(self, reason: str, *names: str, but: Collection[str] = ()) -> None:
        """Add settings by their dotted key; a `*` at its end stands for any ending.

        Args:
            reason: Settings that leave them without a reader (their values are added), or a sentence.
            names: Keys.
            but: Keys that are read all the same.
        """
        if reason in self._values:
            value = self._values[reason]
            reason = f"{reason}={value:g}" if isinstance(value, float) else f"{reason}={value_text(value)}"
        for name in names:
            same = str.startswith if name.endswith("*") else str.__eq__
            self.update({key: reason for key in self._values if same(key, name.rstrip("*")) and key not in but})


def _unread(values: Mapping[str, Any]) -> dict[str, str]:
    """Return key -> reason for every setting that nothing reads, whatever its value."""
    dead = _Unread(values)
    if values["protocol.kind"] == "recognition":
        window = ("tau_a_s", "tau_o_s", "short_history", "views", "view_mean")
        dead.add("protocol.kind", *(f"protocol.{name}" for name in window))
        dead.add("protocol.kind", "source.tau_a_jitter_s", "source.next_within_s", "objective.next")
        dead.add(
            *("protocol.after_start_s", "protocol.jitter")
            if values["protocol.after_start_s"]
            else ("protocol.kind=recognition and protocol.after_start_s=0", "protocol.fps")
        )
    else:
        dead.add("protocol.kind", "protocol.num_steps", "protocol.jitter", "protocol.after_start_s")
        if values["protocol.views"] == "centre":
            dead.add("protocol.views", "protocol.view_mean")
    if values["source.kind"] == "features":
        dead.add("source.kind", *_VIDEO, "model.encoder.name", *_OF_TIMM)
        if not values["model.encoder.map"]:
            dead.add("model.encoder.map", "model.encoder.init_gain")
    elif values["source.kind"] == "annotations":
        dead.add("source.kind", *_VIDEO, *_STORED, "source.check_clock")
    else:
        dead.add("source.kind", *_STORED, *_OF_FEATURES, "model.encoder.standardise", "objective.mixup")
        dead.add("source.reading", "source.cache_fps" if values["source.reading"] == "films" else "source.decoder")
    if (spec := dataset_spec(values["dataset.name"])).num_splits == 1:
        dead.add("dataset.name", "dataset.split")
    if not spec.levels:
        dead.add("dataset.name", "dataset.granularity")
    if not values["dataset.num_folds"]:
        dead.add("dataset.num_folds", "dataset.fold")
    _add_objective(dead, values)
    _add_model(dead, values)
    return dead


def _add_objective(dead: _Unread, values: Mapping[str, Any]) -> None:
    has_sem = values["objective.sem"] or values["objective.past_sem"]
    if not (has_sem or values["init.language_as_visual"]):
        dead.add("objective.sem=0 and objective.past_sem=0", "init.language_prototypes")
    if values["init.language_as_visual"]:
        dead.add("init.language_as_visual", "init.visual_prototypes")
    if not values["objective.next"]:
        dead.add("objective.next", "source.next_within_s")
    if not (values["objective.past"] or values["objective.past_sem"]):
        dead.add("objective.past=0 and objective.past_sem=0", "objective.past_mean")
    if not values["objective.feat"]:
        dead.add("objective.feat", "objective.detach_feature_target")
    if not values["objective.reg"]:
        dead.add("objective.reg", "objective.detach_reg_target")
    if values["optim.name"] != "sgd":
        dead.add("optim.name", "optim.nesterov")
    if not values["init.weights"]:
        dead.add("init.weights is empty", "init.class_names")
    if not (values["init.run"] or values["init.weights"]):
        dead.add("init.run is empty", "init.blocks")


def _add_model(dead: _Unread, values: Mapping[str, Any]) -> None:
    """Add what the chosen model does not have: its own dataclass says what that is."""
    name, kind = values["model.name"], model_class(values["model.name"])
    if not values[f"{_HEAD}.verb_noun"]:
        dead.add(f"{_HEAD}.verb_noun", "objective.cls_verb", "objective.cls_noun")
    if name == "sgear":
        _add_sgear(dead, values)
    if name == "avt":
        reason = "model.name=avt has no prototypes"
        dead.add(reason, f"{_HEAD}.*", but=(f"{_HEAD}.dropout", f"{_HEAD}.verb_noun"))
        dead.add(reason, "objective.sem", "objective.past_sem", "objective.reg", "model.encoder.standardise")
        dead.add(reason, "init.visual_prototypes")
    if name != "sgear":
        dead.add(f"model.name={name} has no prototypes", "init.language_as_visual")
    if name != "rulstm":
        dead.add("model.name", "objective.horizons", "init.branches")
    else:
        dead.add("model.name", *(f"objective.{term}" for term in ("next", "sem", "past_sem", "reg")))
        dead.add("model.name", "objective.detach_feature_target", "optim.encoder_lr_scale", "init.visual_prototypes")
        dead.add("model.name", "model.encoder.*", but=("model.encoder.name", "model.encoder.feature_dim"))
        if len(values["model.rulstm.modalities"]) < 2:
            single = "a single modality (model.rulstm.modalities)"
            dead.add(single, "model.rulstm.attention", "init.branches")
    if issubclass(kind, Baseline):
        dead.add("model.name", "objective.*", "optim.*", "init.*", but=("optim.batch_size",))
        dead.add("model.name", "model.encoder.*", but=("model.encoder.feature_dim",))
        dead.add("model.name", "source.tau_a_jitter_s", "source.next_within_s")
        if "annotations" in kind.sources:
            dead.add("model.name", "source.on_error")
    has = {item.name for item in fields(kind.Config)}
    lacks = [f"model.{item.name}" for item in fields(ModelConfig) if item.name not in has]
    dead.add(f"model.name={name}, which has no such setting", *lacks, *(f"{part}.*" for part in lacks))


def _add_sgear(dead: _Unread, values: Mapping[str, Any]) -> None:
    has_sem = values["objective.sem"] or values["objective.past_sem"]
    if not values["objective.past_sem"]:
        dead.add("objective.past_sem", f"{_HEAD}.past_similarity")
    if not values[f"{_TCA}.num_blocks"]:
        dead.add(f"{_TCA}.num_blocks", f"{_TCA}.*", but=(f"{_TCA}.num_blocks",))
    else:
        read = {"cumulative": ("normalise",), "decay": ("normalise", "lifetime_steps")}
        names = {"normalise", "lifetime_steps"} - {*read.get(values[f"{_TCA}.mode"], ())}
        dead.add(f"{_TCA}.mode", *(f"{_TCA}.{name}" for name in names))
    mode = values[f"{_PA}.mode"]
    if not values[f"{_PA}.enabled"]:
        dead.add(f"{_PA}.enabled", f"{_PA}.*", but=(f"{_PA}.enabled",))
    elif mode in ("released", "original"):
        dead.add(f"{_PA}.mode", f"{_PA}.share", f"{_PA}.num_prototypes", f"{_PA}.subset_seed")
        if mode == "original":
            dead.add(f"{_PA}.mode", f"{_PA}.top_k", f"{_PA}.toeplitz")
    else:
        dead.add(f"{_PA}.mode", f"{_PA}.toeplitz")
        if values[f"{_PA}.num_prototypes"]:
            dead.add(f"{_PA}.num_prototypes", f"{_PA}.share")
        elif values[f"{_PA}.share"] == 1:
            dead.add(f"{_PA}.share", f"{_PA}.subset_seed")
    if not values[f"{_HEAD}.mix_prototypes"]:
        read_out = ("temperature", "learn_temperature", "gate", "detach_prototype_values")
        dead.add(f"{_HEAD}.mix_prototypes", *(f"{_HEAD}.{name}" for name in read_out))
        if not has_sem:
            dead.add(f"{_HEAD}.mix_prototypes=false and without semantic loss", f"{_HEAD}.detach_similarity_*")


def check_settings(config: ExperimentConfig, *, typed: Collection[str] = ()) -> None:
    """Raise if a setting is out of its range, contradicts another, or differs from its default though nothing reads it.

    Args:
        config: The experiment.
        typed: Dotted keys that the user gave; the others come from a recipe.

    Raises:
        ConfigError: Names the key, its value and its range; or all keys without effect, the choices that leave them
            without one, and what resets them.
    """
    ours, defaults = flatten(config), flatten(ExperimentConfig())
    check_ranges(ours)
    values, unread = dict(ours), {}
    # What falls out of use by a reset is told of as well, so that the first message is the last.
    while found := {key: why for key, why in _unread(values).items() if values[key] != defaults[key]}:
        unread |= found
        values |= {key: defaults[key] for key in found}
    if unread:
        raise ConfigError(_unread_message(unread, ours, defaults, typed=typed))
    checked_on_error(config.source.on_error)
    if config.objective.next and config.source.next_within_s <= config.protocol.tau_a_s:
        raise ConfigError(
            f"objective.next={config.objective.next} has no effect with source.next_within_s="
            f"{config.source.next_within_s}; set it above protocol.tau_a_s={config.protocol.tau_a_s}"
        )
    _check_model(config)
    _check_original(config)
    _check_rulstm(config)
    _check_init(config.init)


def _unread_message(
    unread: Mapping[str, str], ours: Mapping[str, Any], defaults: Mapping[str, Any], *, typed: Collection[str]
) -> str:
    resets = " ".join(as_override(key, defaults[key]) for key in unread)
    mine = [key for key in unread if key in typed]
    if len(unread) == 1:
        (key, reason), *_ = unread.items()
        remedy = "leave it out, or" if mine else "the recipe sets it;"
        return f"{key}={ours[key]} has no effect with {reason}; {remedy} reset it with {resets}"
    lines = [f"  {key}={ours[key]} with {reason}" for key, reason in unread.items()]
    left_out = f"; of these you typed {', '.join(mine)}: leave that out instead" if mine else ""
    return "\n".join([f"{len(unread)} settings have no effect:", *lines, f"reset them with: {resets}{left_out}"])


def _check_model(config: ExperimentConfig) -> None:
    """Raise if two settings exclude each other, a classifier is never trained, or a model cannot read the steps."""
    encoder, objective, kind = config.model.encoder, config.objective, model_class(config.model.name)
    if encoder.pretrained and encoder.weights:
        raise ConfigError(
            f"model.encoder.pretrained=true has no effect with model.encoder.weights={encoder.weights}; "
            "choose one of them"
        )
    if config.model.head.verb_noun and not (objective.cls_verb and objective.cls_noun):
        raise ConfigError(
            f"model.head.verb_noun=true adds two classifiers, but objective.cls_verb={objective.cls_verb} and "
            f"objective.cls_noun={objective.cls_noun} leave one untrained; set both above 0"
        )
    if config.source.kind not in kind.sources:
        raise ConfigError(
            f"model.name={config.model.name} and source.kind={config.source.kind} do not belong together: this model "
            f"reads source.kind={' or '.join(kind.sources)}"
        )
    if issubclass(kind, Baseline) and config.protocol.kind == "recognition":
        raise ConfigError(f"model.name={config.model.name} anticipates; protocol.kind=recognition shows it the action")


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


def _check_rulstm(config: ExperimentConfig) -> None:
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


def _check_init(init: InitConfig) -> None:
    """Raise if a start has no effect, a block is named twice, or something gets its start values twice."""
    if init.run and not init.blocks:
        raise ConfigError("init.run has no effect without init.blocks; name the blocks to copy, e.g. [encoder]")
    for key in ("blocks", "freeze"):
        twice = [block for block, number in Counter(getattr(init, key)).items() if number > 1]
        if twice:
            raise ConfigError(f"init.{key} names {', '.join(twice)} more than once; name each block once")
    given = [f"init.{name}" for name in ("visual_prototypes", "language_as_visual") if getattr(init, name)]
    # Published weights without a choice of blocks are taken whole.
    takes_all = bool(init.weights) and not init.blocks
    if given and (takes_all or "prototypes" in init.blocks):
        source = f"init.weights={init.weights}" if init.weights else f"init.run={init.run}"
        raise ConfigError(
            f"init.blocks={list(init.blocks)} takes the prototypes of {source}, and {given[0]} would overwrite them; "
            "leave one of both out"
        )
    if init.weights and (init.run or init.branches):
        raise ConfigError(
            f"init.weights={init.weights} and init.run={init.run} (or init.branches) both say where the "
            "weights come from; choose one of them"
        )
