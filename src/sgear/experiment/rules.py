"""Settings that exclude each other are refused before anything runs.

What a model, a kind of steps or a protocol does not read cannot be said: it has a dataclass of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sgear.data.dataset import checked_on_error
from sgear.datasets import dataset_spec
from sgear.errors import ConfigError
from sgear.experiment.schema import (
    AnnotationSourceConfig,
    AnticipationConfig,
    DatasetConfig,
    ExperimentConfig,
    InitConfig,
    RecognitionConfig,
    chosen_defaults,
)
from sgear.experiment.settings import check_ranges, flatten, value_text
from sgear.models import Baseline
from sgear.models.avt import AvtConfig
from sgear.models.base import model_class
from sgear.models.class_vectors import parse_composition
from sgear.models.config import (
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    RulstmConfig,
    TemporalContextConfig,
)
from sgear.models.encoders import ANNOTATIONS, FEATURES
from sgear.models.rulstm import RulstmModelConfig
from sgear.models.sgear import SGearConfig

_PROTOTYPES = ("sem", "past_sem", "reg")
_NOT_GIVEN: dict[str, tuple[str, ...]] = {
    "sgear": ("horizons",),
    "avt": (*_PROTOTYPES, "horizons"),
    "rulstm": (*_PROTOTYPES, "next", "past", "feat", "cls_verb", "cls_noun"),
}
"""Loss terms that need what a model does not return. Of models of other packages the objective finds it out."""


_TCA, _PA, _HEAD, _ENCODER = (
    f"model.{part}." for part in ("temporal_context", "prototype_attention", "head", "encoder")
)


def _but(prefix: str, kind: type, *read: str) -> tuple[str, ...]:
    """Return the keys of a part without those that are read."""
    return tuple(prefix + item.name for item in fields(kind) if item.name not in read)


_SUBSET = (_PA + "share", _PA + "num_prototypes", _PA + "subset_seed")
_OF_TIMM = ("pretrained", "weights", "image_height", "image_width", "embed_dim", "depth", "num_heads", "patch_size")
_OF_PAST = ("composition", "text_dim")
_OF_FEATURES = ("feature_dim", "feature_dropout", "feature_noise", "recogniser", "map", "init_gain", "standardise")
_TRAINING = ("source.tau_a_jitter_s", "source.next_within_s")
_SWITCHED_OFF: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({"protocol.kind": "recognition"}, _TRAINING),
    ({"protocol.views": "centre"}, ("protocol.view_mean",)),
    ({"protocol.after_start_s": 0.0}, ("protocol.fps",)),
    ({"source.kind": "features"}, tuple(_ENCODER + name for name in (*_OF_TIMM, *_OF_PAST))),
    ({"source.kind": "video"}, tuple(_ENCODER + name for name in (*_OF_FEATURES, *_OF_PAST))),
    (
        {"source.kind": "annotations"},
        tuple(
            _ENCODER + name
            for name in (*_OF_TIMM, *_OF_FEATURES)
            if name not in ("depth", "num_heads", "feature_dropout", "standardise")
        ),
    ),
    ({"source.kind": "annotations"}, ("source.on_error",)),
    ({"source.reading": "videos"}, ("source.cache_fps",)),
    ({"model.name": "avt"}, (*_but(_HEAD, HeadConfig, "dropout", "verb_noun", "copy_nouns"), _ENCODER + "standardise")),
    (
        {"model.name": "rulstm"},
        (
            *_but(_ENCODER, EncoderConfig, "name", "feature_dim"),
            *("objective.detach_feature_target", "optim.encoder_lr_scale"),
        ),
    ),
    *(
        ({"model.name": name}, (*_but(_ENCODER, EncoderConfig, "name", "feature_dim"), *_TRAINING))
        for name in ("last_recognised", "pooled", "history")
    ),
    ({_ENCODER + "map": False}, (_ENCODER + "init_gain",)),
    ({_TCA + "num_blocks": 0}, _but(_TCA, TemporalContextConfig, "num_blocks")),
    ({_TCA + "mode": "cumulative"}, (_TCA + "lifetime_steps",)),
    *(({_TCA + "mode": mode}, (_TCA + "lifetime_steps", _TCA + "normalise")) for mode in ("causal", "original")),
    ({_PA + "enabled": False}, _but(_PA, PrototypeAttentionConfig, "enabled")),
    ({_PA + "mode": "paper"}, (_PA + "toeplitz",)),
    ({_PA + "mode": "paper", _PA + "share": 1.0, _PA + "num_prototypes": 0}, (_PA + "subset_seed",)),
    ({_PA + "mode": "released"}, _SUBSET),
    ({_PA + "mode": "original"}, (*_SUBSET, _PA + "top_k", _PA + "toeplitz")),
    (
        {_HEAD + "mix_prototypes": False},
        tuple(_HEAD + name for name in ("temperature", "learn_temperature", "gate", "detach_prototype_values")),
    ),
    (
        {_HEAD + "mix_prototypes": False, "objective.sem": 0.0, "objective.past_sem": 0.0},
        (_HEAD + "detach_similarity_feature", _HEAD + "detach_similarity_prototypes"),
    ),
    ({"objective.past_sem": 0.0}, (_HEAD + "past_similarity",)),
    ({"objective.past": 0.0, "objective.past_sem": 0.0}, ("objective.past_mean",)),
    ({"objective.reg": 0.0}, ("objective.detach_reg_target",)),
    ({"objective.neighbors": 0.0}, ("objective.num_neighbors", "objective.neighbor_temperature")),
    ({"objective.sem_form": "l1"}, ("objective.sem_temperature",)),
    ({"objective.sem": 0.0, "objective.past_sem": 0.0}, ("objective.sem_form", "objective.sem_temperature")),
    ({"objective.feat": 0.0}, ("objective.detach_feature_target",)),
    ({"objective.next": 0.0}, ("source.next_within_s",)),
    *(
        (
            {
                "objective.sem": 0.0,
                "objective.past_sem": 0.0,
                "init.language_as_visual": False,
                "objective.neighbors": 0.0,
                "model.prototypes.composition": composition,
            },
            ("init.language_prototypes",),
        )
        for composition in (None, "free", "free+verb+noun")
    ),
    ({"init.weights": ""}, ("init.class_names",)),
    *(({"optim.name": name}, ("optim.nesterov",)) for name in ("adamw", "adam")),
)
"""Settings that others switch off: to type one of them would change nothing, which an ablation must not hide."""


def check_experiment(config: ExperimentConfig, *, typed: Collection[str] = ()) -> None:
    """Raise if a value is out of its range, two settings exclude each other, or what was typed is switched off.

    Args:
        config: The experiment.
        typed: Dotted keys that the user gave; the others come from a recipe.

    Raises:
        ConfigError: Gives both sides and what to set.
    """
    values = flatten(config)
    check_ranges(values)
    checked_on_error(config.source.on_error)
    if config.runtime.resume not in (True, False, "auto"):
        raise ConfigError(f"runtime.resume={config.runtime.resume} is unknown; choose true, false or auto")
    _check_typed(config, values, typed)
    _check_dataset(config.dataset)
    _check_steps(config)
    _check_terms(config)
    if isinstance(config.model, SGearConfig):
        _check_sgear(config, config.model)
    if isinstance(config.model, SGearConfig | AvtConfig):
        _check_classifiers(config, config.model)
        _check_composition(config, config.model)
    if isinstance(config.model, RulstmModelConfig):
        _check_rulstm(config, config.model.rulstm)
    _check_starts(config.init)


def _check_typed(config: ExperimentConfig, values: Mapping[str, Any], typed: Collection[str]) -> None:
    defaults, name = flatten(chosen_defaults(config)), config.model.name
    is_baseline = issubclass(model_class(name), Baseline)
    # A default may be typed: it says nothing else than the recipe does.
    for key in [key for key in typed if key in values and values[key] != defaults[key]]:
        said = f"{key}={value_text(values[key])}"
        if is_baseline and key.startswith(("optim.", "objective.", "init.")) and key != "optim.batch_size":
            raise ConfigError(f"{said} has no effect with model.name={name}, which takes no training steps")
        for switches, off in _SWITCHED_OFF:
            if key in off and all(values.get(switch) == value for switch, value in switches.items()):
                reason = " and ".join(f"{switch}={value_text(value)}" for switch, value in switches.items())
                raise ConfigError(f"{said} has no effect with {reason}; leave it out, or change what switches it off")


def _check_dataset(dataset: DatasetConfig) -> None:
    spec = dataset_spec(dataset.name)
    for name, is_read in (("split", spec.num_splits > 1), ("granularity", bool(spec.levels))):
        if not is_read and getattr(dataset, name) != getattr(DatasetConfig(), name):
            raise ConfigError(
                f"dataset.{name}={getattr(dataset, name)} has no effect with dataset.name={dataset.name}; leave it out"
            )
    if dataset.fold and not dataset.num_folds:
        raise ConfigError(f"dataset.fold={dataset.fold} has no effect with dataset.num_folds=0")


def _check_steps(config: ExperimentConfig) -> None:
    """Raise if model, steps and protocol do not belong together."""
    model, kind, protocol = config.model, config.source.kind, config.protocol
    sources = model_class(model.name).sources
    if kind not in sources:
        raise ConfigError(
            f"model.name={model.name} and source.kind={kind} do not belong together: this model reads source.kind="
            f"{' or '.join(sources)}"
        )
    encoder = getattr(model, "encoder", None)
    reads = {FEATURES: "features", ANNOTATIONS: "annotations"}
    if encoder is not None and reads.get(encoder.name, "video") != kind:
        raise ConfigError(
            f"model.encoder.name={encoder.name} and source.kind={kind} do not belong together: {FEATURES!r} reads "
            f"source.kind=features, {ANNOTATIONS!r} source.kind=annotations, and every other encoder source.kind=video"
        )
    if kind != "video" and config.dataset.video_roots:
        raise ConfigError(f"dataset.video_roots={config.dataset.video_roots} has no effect with source.kind={kind}")
    if kind != "video" and protocol.views != "centre":
        raise ConfigError(f"protocol.views={protocol.views} needs source.kind=video; this source has one view")
    if isinstance(protocol, RecognitionConfig):
        if isinstance(model, RulstmModelConfig):
            raise ConfigError(
                "model.name=rulstm is not pre-trained by recognition; use protocol.kind=anticipation and "
                "model.rulstm.sequence_completion=true"
            )
        if issubclass(model_class(model.name), Baseline):
            raise ConfigError(f"model.name={model.name} anticipates; protocol.kind=recognition shows it the action")
        if config.objective.next:
            raise ConfigError(f"objective.next={config.objective.next} has no effect with protocol.kind=recognition")
        if protocol.after_start_s and protocol.jitter != RecognitionConfig().jitter:
            raise ConfigError(
                f"protocol.jitter={protocol.jitter} has no effect with protocol.after_start_s={protocol.after_start_s}"
            )
    elif config.objective.next:
        within_s = getattr(config.source, "next_within_s", 0.0)
        if within_s <= protocol.tau_a_s:
            raise ConfigError(
                f"objective.next={config.objective.next} has no effect with source.next_within_s={within_s}; set it "
                f"above protocol.tau_a_s={protocol.tau_a_s}"
            )


def _check_terms(config: ExperimentConfig) -> None:
    """Raise if the loss, or a start, asks for what the model does not have."""
    model, objective, init = config.model, config.objective, config.init
    for name in _NOT_GIVEN.get(model.name, ()):
        if value := getattr(objective, name):
            raise ConfigError(f"objective.{name}={value} needs what model.name={model.name} does not give; set it to 0")
    if objective.mixup and config.source.kind == "video":
        raise ConfigError(f"objective.mixup={objective.mixup} mixes stored features; it needs source.kind=features")
    if not isinstance(model, SGearConfig):
        for name in ("visual_prototypes", "language_as_visual"):
            if value := getattr(init, name):
                raise ConfigError(f"init.{name}={value} has no effect: model.name={model.name} has no prototypes")
    if init.branches and not (isinstance(model, RulstmModelConfig) and len(model.rulstm.modalities) > 1):
        raise ConfigError(f"init.branches={init.branches} has no effect: only a fused RULSTM has branches")


def _check_sgear(config: ExperimentConfig, model: SGearConfig) -> None:
    """Raise if prototypes are counted twice, or a part in the released form would meet clips that it cannot read."""
    asking = model.prototype_attention
    if asking.num_prototypes and asking.share != PrototypeAttentionConfig().share:
        raise ConfigError(
            f"{_PA}share={asking.share} has no effect with {_PA}num_prototypes={asking.num_prototypes}; leave one out"
        )
    protocol = config.protocol
    has_context = model.temporal_context.num_blocks > 0 and model.temporal_context.mode == "original"
    has_attention = model.prototype_attention.enabled and model.prototype_attention.mode == "original"
    if not (has_context or has_attention):
        return
    if isinstance(protocol, RecognitionConfig):
        num_steps, has_gaps, history = protocol.num_steps, False, ""
    else:
        num_steps, has_gaps = round(protocol.tau_o_s * protocol.fps), protocol.short_history != "repeat"
        history = f" and {protocol.short_history}"
    if num_steps != model.max_steps or has_gaps:
        part = "temporal_context" if has_context else "prototype_attention"
        raise ConfigError(
            f"model.{part}.mode=original reads clips of one length without absent steps; set model.max_steps="
            f"{num_steps} and protocol.short_history=repeat, now {model.max_steps}{history}"
        )


def _check_classifiers(config: ExperimentConfig, model: SGearConfig | AvtConfig) -> None:
    """Raise if a classifier is never trained, or an encoder has two starts."""
    if model.encoder.pretrained and model.encoder.weights:
        raise ConfigError(
            f"model.encoder.pretrained=true has no effect with model.encoder.weights={model.encoder.weights}; "
            "choose one of them"
        )
    terms = {name: getattr(config.objective, name) for name in ("cls_verb", "cls_noun")}
    said = " and ".join(f"objective.{name}={value}" for name, value in terms.items())
    if model.head.verb_noun and not all(terms.values()):
        raise ConfigError(
            f"model.head.verb_noun=true adds two classifiers, but {said} leave one untrained; set both above 0"
        )
    if any(terms.values()) and not model.head.verb_noun:
        raise ConfigError(f"{said} train classifiers that model.head.verb_noun=true adds; set it, or both to 0")


def _check_composition(config: ExperimentConfig, model: SGearConfig | AvtConfig) -> None:
    """Raise if class vectors are made of what there is not."""
    if model.head.copy_nouns and config.source.kind != "annotations":
        raise ConfigError(
            f"model.head.copy_nouns=true needs to know which actions were seen, which source.kind={config.source.kind} "
            "does not say; set source.kind=annotations, or leave it out"
        )
    parts = {*parse_composition(model.prototypes.composition)}
    if config.source.kind == "annotations":
        parts |= {*parse_composition(model.encoder.composition, setting=_ENCODER + "composition")}
    if "text" in parts and not config.init.language_prototypes:
        raise ConfigError(
            "class vectors made of text need sentence embeddings; set init.language_prototypes to a file of "
            "'sgear prototypes language', or leave text out of model.prototypes.composition"
        )
    if isinstance(config.source, AnnotationSourceConfig) and config.source.noise and config.source.noise_from:
        raise ConfigError(
            f"source.noise={config.source.noise} and source.noise_from={config.source.noise_from} are two kinds of "
            "mistakes; choose one"
        )


def _check_rulstm(config: ExperimentConfig, settings: RulstmConfig) -> None:
    """Raise if the clock of RULSTM is not that of the protocol: its horizons would be other ones."""
    if len(settings.modalities) < 2 and settings.attention != RulstmConfig().attention:
        raise ConfigError(
            f"model.rulstm.attention={settings.attention} has no effect with a single modality: {settings.modalities}"
        )
    protocol = config.protocol
    assert isinstance(protocol, AnticipationConfig)  # `_check_steps` refuses recognition
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


def _check_starts(init: InitConfig) -> None:
    """Raise if a start has no effect, a block is named twice, or something gets its start values twice."""
    if init.run and not init.blocks:
        raise ConfigError("init.run has no effect without init.blocks; name the blocks to copy, e.g. [encoder]")
    if init.blocks and not (init.run or init.weights):
        raise ConfigError(f"init.blocks={list(init.blocks)} has no effect: neither init.run nor init.weights is set")
    if init.weights and (init.run or init.branches):
        raise ConfigError(
            f"init.weights={init.weights} and init.run={init.run} (or init.branches) both say where the "
            "weights come from; choose one of them"
        )
    for key in ("blocks", "freeze"):
        twice = [block for block, number in Counter(getattr(init, key)).items() if number > 1]
        if twice:
            raise ConfigError(f"init.{key} names {', '.join(twice)} more than once; name each block once")
    given = [f"init.{name}" for name in ("visual_prototypes", "language_as_visual") if getattr(init, name)]
    if len(given) > 1:
        raise ConfigError("init.language_as_visual=true and init.visual_prototypes both start the bank; choose one")
    # Published weights without a choice of blocks are taken whole.
    if given and ("prototypes" in init.blocks or (init.weights and not init.blocks)):
        source = f"init.weights={init.weights}" if init.weights else f"init.run={init.run}"
        raise ConfigError(
            f"init.blocks={list(init.blocks)} takes the prototypes of {source}, and {given[0]} would overwrite them; "
            "leave one of both out"
        )
