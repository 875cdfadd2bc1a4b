"""Settings that exclude each other are refused before anything runs.

What a model, a kind of steps or a protocol does not read cannot be said: it has a dataclass of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any

from sgear.data.dataset import checked_on_error
from sgear.datasets import dataset_spec
from sgear.errors import ConfigError
from sgear.experiment.schema import (
    AnnotationSourceConfig,
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


def _keys(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in names)


_SUBSET = _keys(_PA, "share", "num_prototypes", "subset_seed")
_OF_TIMM = ("pretrained", "weights", "image_height", "image_width", "embed_dim", "depth", "num_heads", "patch_size")
_OF_PAST = ("composition", "text_dim")
_READ_OF_PAST = {"depth", "num_heads", "feature_dropout", "standardise"}
_OF_FEATURES = ("feature_dim", "feature_dropout", "feature_noise", "recogniser", "map", "init_gain", "standardise")
_BUT_FEATURES = _but(_ENCODER, EncoderConfig, "name", "feature_dim")
_TRAINING = ("source.tau_a_jitter_s", "source.next_within_s")
_SWITCHED_OFF: dict[str, tuple[str, ...]] = {
    "protocol.kind=recognition": _TRAINING,
    "protocol.views=centre": ("protocol.view_mean",),
    "protocol.after_start_s=0.0": ("protocol.fps",),
    "source.kind=features": _keys(_ENCODER, *_OF_TIMM, *_OF_PAST),
    "source.kind=video": _keys(_ENCODER, *_OF_FEATURES, *_OF_PAST),
    "source.kind=annotations": ("source.on_error", *_keys(_ENCODER, *({*_OF_TIMM, *_OF_FEATURES} - _READ_OF_PAST))),
    "source.reading=videos": ("source.cache_fps",),
    "model.name=avt": (*_but(_HEAD, HeadConfig, "dropout", "verb_noun", "copy_nouns"), _ENCODER + "standardise"),
    "model.name=rulstm": (*_BUT_FEATURES, "objective.detach_feature_target", "optim.encoder_lr_scale"),
    "model.name=last_recognised": (*_BUT_FEATURES, *_TRAINING),
    "model.name=pooled": (*_BUT_FEATURES, *_TRAINING),
    "model.name=history": (*_BUT_FEATURES, *_TRAINING),
    f"{_ENCODER}map=false": (_ENCODER + "init_gain",),
    f"{_TCA}num_blocks=0": _but(_TCA, TemporalContextConfig, "num_blocks"),
    f"{_TCA}mode=cumulative": (_TCA + "lifetime_steps",),
    f"{_TCA}mode=causal": _keys(_TCA, "lifetime_steps", "normalise"),
    f"{_TCA}mode=original": _keys(_TCA, "lifetime_steps", "normalise"),
    f"{_PA}enabled=false": _but(_PA, PrototypeAttentionConfig, "enabled"),
    f"{_PA}mode=paper": (_PA + "toeplitz",),
    f"{_PA}mode=paper {_PA}share=1.0 {_PA}num_prototypes=0": (_PA + "subset_seed",),
    f"{_PA}mode=released": _SUBSET,
    f"{_PA}mode=original": (*_SUBSET, *_keys(_PA, "top_k", "toeplitz")),
    f"{_HEAD}mix_prototypes=false": _keys(_HEAD, "temperature", "learn_temperature", "gate", "detach_prototype_values"),
    f"{_HEAD}mix_prototypes=false objective.sem=0.0 objective.past_sem=0.0": _keys(
        _HEAD, "detach_similarity_feature", "detach_similarity_prototypes"
    ),
    "objective.past_sem=0.0": (_HEAD + "past_similarity",),
    "objective.past=0.0 objective.past_sem=0.0": ("objective.past_mean",),
    "objective.reg=0.0": ("objective.detach_reg_target",),
    "objective.neighbors=0.0": ("objective.num_neighbors", "objective.neighbor_temperature"),
    "objective.sem_form=l1": ("objective.sem_temperature",),
    "objective.sem=0.0 objective.past_sem=0.0": ("objective.sem_form", "objective.sem_temperature"),
    "objective.feat=0.0": ("objective.detach_feature_target",),
    "objective.next=0.0": ("source.next_within_s",),
    **{
        "objective.sem=0.0 objective.past_sem=0.0 init.language_as_visual=false objective.neighbors=0.0 "
        f"model.prototypes.composition={composition}": ("init.language_prototypes",)
        for composition in (None, "free", "free+verb+noun")
    },
    "init.weights=": ("init.class_names",),
    "optim.name=adamw": ("optim.nesterov",),
    "optim.name=adam": ("optim.nesterov",),
}
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
    # Each finds all that is wrong; what comes first is told alone, as the rest may follow from it.
    parts = (
        *(_idle(config, values, typed), _of_dataset(config.dataset), _of_steps(config), _of_terms(config)),
        *(_of_sgear(config), _of_classes(config), _of_rulstm(config), _of_starts(config.init)),
    )
    if problem := next(chain(*parts), ""):
        raise ConfigError(problem)


def _idle(config: ExperimentConfig, values: Mapping[str, Any], typed: Collection[str]) -> Iterator[str]:
    defaults, name = flatten(chosen_defaults(config)), config.model.name
    is_baseline = issubclass(model_class(name), Baseline)
    # A default may be typed: it says nothing else than the recipe does.
    for key in [key for key in typed if key in values and values[key] != defaults[key]]:
        said = f"{key}={value_text(values[key])} has no effect with"
        if is_baseline and key.startswith(("optim.", "objective.", "init.")) and key != "optim.batch_size":
            yield f"{said} model.name={name}, which takes no training steps"
        for switches, off in _SWITCHED_OFF.items():
            pairs = (switch.split("=") for switch in switches.split())
            if key in off and all(value_text(values.get(switch)) == value for switch, value in pairs):
                yield f"{said} {switches.replace(' ', ' and ')}; leave it out, or change what switches it off"


def _of_dataset(dataset: DatasetConfig) -> Iterator[str]:
    spec = dataset_spec(dataset.name)
    for name, is_read in (("split", spec.num_splits > 1), ("granularity", bool(spec.levels))):
        if not is_read and (value := getattr(dataset, name)) != getattr(DatasetConfig(), name):
            yield f"dataset.{name}={value} has no effect with dataset.name={dataset.name}; leave it out"
    if dataset.fold and not dataset.num_folds:
        yield f"dataset.fold={dataset.fold} has no effect with dataset.num_folds=0"


def _of_steps(config: ExperimentConfig) -> Iterator[str]:
    """Model, steps and protocol that do not belong together."""
    model, kind, protocol, asked = config.model, config.source.kind, config.protocol, config.objective.next
    apart = f" and source.kind={kind} do not belong together:"
    if kind not in (sources := model_class(model.name).sources):
        yield f"model.name={model.name}{apart} this model reads source.kind={' or '.join(sources)}"
    encoder = getattr(model, "encoder", None)
    reads = {FEATURES: "features", ANNOTATIONS: "annotations"}
    if encoder is not None and reads.get(encoder.name, "video") != kind:
        yield (
            f"model.encoder.name={encoder.name}{apart} {FEATURES!r} reads source.kind=features, {ANNOTATIONS!r} "
            "source.kind=annotations, and every other encoder source.kind=video"
        )
    if kind != "video" and config.dataset.video_roots:
        yield f"dataset.video_roots={config.dataset.video_roots} has no effect with source.kind={kind}"
    if kind != "video" and protocol.views != "centre":
        yield f"protocol.views={protocol.views} needs source.kind=video; this source has one view"
    if isinstance(protocol, RecognitionConfig):
        if isinstance(model, RulstmModelConfig):
            yield (
                "model.name=rulstm is not pre-trained by recognition; use protocol.kind=anticipation and "
                "model.rulstm.sequence_completion=true"
            )
        if issubclass(model_class(model.name), Baseline):
            yield f"model.name={model.name} anticipates; protocol.kind=recognition shows it the action"
        if asked:
            yield f"objective.next={asked} has no effect with protocol.kind=recognition"
        if (after_s := protocol.after_start_s) and protocol.jitter != RecognitionConfig().jitter:
            yield f"protocol.jitter={protocol.jitter} has no effect with protocol.after_start_s={after_s}"
    elif asked and (within_s := getattr(config.source, "next_within_s", 0.0)) <= protocol.tau_a_s:
        yield (
            f"objective.next={asked} has no effect with source.next_within_s={within_s}; set it above "
            f"protocol.tau_a_s={protocol.tau_a_s}"
        )


def _of_terms(config: ExperimentConfig) -> Iterator[str]:
    """Losses and starts that ask for what the model does not have."""
    model, objective, init = config.model, config.objective, config.init
    for name in _NOT_GIVEN.get(model.name, ()):
        if value := getattr(objective, name):
            yield f"objective.{name}={value} needs what model.name={model.name} does not give; set it to 0"
    if objective.mixup and config.source.kind == "video":
        yield f"objective.mixup={objective.mixup} mixes stored features; it needs source.kind=features"
    for name in () if isinstance(model, SGearConfig) else ("visual_prototypes", "language_as_visual"):
        if value := getattr(init, name):
            yield f"init.{name}={value} has no effect: model.name={model.name} has no prototypes"
    if init.branches and not (isinstance(model, RulstmModelConfig) and len(model.rulstm.modalities) > 1):
        yield f"init.branches={init.branches} has no effect: only a fused RULSTM has branches"


def _of_sgear(config: ExperimentConfig) -> Iterator[str]:
    """Prototypes that are counted twice, and parts in the released form that would meet clips they cannot read."""
    model, protocol = config.model, config.protocol
    if not isinstance(model, SGearConfig):
        return
    asking, context = model.prototype_attention, model.temporal_context
    if asking.num_prototypes and asking.share != PrototypeAttentionConfig().share:
        yield f"{_PA}share={asking.share} has no effect with {_PA}num_prototypes={asking.num_prototypes}; leave one out"
    original = ["temporal_context"] if context.num_blocks > 0 and context.mode == "original" else []
    original += ["prototype_attention"] if asking.enabled and asking.mode == "original" else []
    if isinstance(protocol, RecognitionConfig):
        num_steps, has_gaps, history = protocol.num_steps, False, ""
    else:
        num_steps, has_gaps = round(protocol.tau_o_s * protocol.fps), protocol.short_history != "repeat"
        history = f" and {protocol.short_history}"
    if original and (num_steps != model.max_steps or has_gaps):
        yield (
            f"model.{original[0]}.mode=original reads clips of one length without absent steps; set model.max_steps="
            f"{num_steps} and protocol.short_history=repeat, now {model.max_steps}{history}"
        )


def _of_classes(config: ExperimentConfig) -> Iterator[str]:
    """An encoder with two starts, classifiers that are never trained, class vectors made of what there is not."""
    model = config.model
    if not isinstance(model, SGearConfig | AvtConfig):
        return
    if model.encoder.pretrained and model.encoder.weights:
        yield (
            f"model.encoder.pretrained=true has no effect with model.encoder.weights={model.encoder.weights}; "
            "choose one of them"
        )
    terms = {name: getattr(config.objective, name) for name in ("cls_verb", "cls_noun")}
    said = " and ".join(f"objective.{name}={value}" for name, value in terms.items())
    if model.head.verb_noun and not all(terms.values()):
        yield f"model.head.verb_noun=true adds two classifiers, but {said} leave one untrained; set both above 0"
    if any(terms.values()) and not model.head.verb_noun:
        yield f"{said} train classifiers that model.head.verb_noun=true adds; set it, or both to 0"
    if model.head.copy_nouns and config.source.kind != "annotations":
        yield (
            f"model.head.copy_nouns=true needs to know which actions were seen, which source.kind={config.source.kind} "
            "does not say; set source.kind=annotations, or leave it out"
        )
    parts = {*parse_composition(model.prototypes.composition)}
    if config.source.kind == "annotations":
        parts |= {*parse_composition(model.encoder.composition, setting=_ENCODER + "composition")}
    if "text" in parts and not config.init.language_prototypes:
        yield (
            "class vectors made of text need sentence embeddings; set init.language_prototypes to a file of "
            "'sgear prototypes language', or leave text out of model.prototypes.composition"
        )
    if isinstance(config.source, AnnotationSourceConfig) and config.source.noise and config.source.noise_from:
        yield (
            f"source.noise={config.source.noise} and source.noise_from={config.source.noise_from} are two kinds of "
            "mistakes; choose one"
        )


def _of_rulstm(config: ExperimentConfig) -> Iterator[str]:
    """A clock of RULSTM that is not the one of the protocol: its horizons would be other ones."""
    protocol = config.protocol
    if not isinstance(config.model, RulstmModelConfig) or isinstance(protocol, RecognitionConfig):
        return
    settings = config.model.rulstm
    if len(settings.modalities) < 2 and settings.attention != RulstmConfig().attention:
        yield f"model.rulstm.attention={settings.attention} has no effect with a single modality: {settings.modalities}"
    if abs(settings.step_s * protocol.fps - 1) > 1e-6:
        yield (
            f"model.rulstm.step_s={settings.step_s} s is not one step of protocol.fps={protocol.fps}; they must agree, "
            f"e.g. model.rulstm.step_s={1 / protocol.fps:g}"
        )
    if abs(settings.tau_a_s - protocol.tau_a_s) > 1e-6:
        yield (
            f"model.rulstm.tau_a_s={settings.tau_a_s} must equal protocol.tau_a_s={protocol.tau_a_s}: the number of "
            "unrolled steps follows from it"
        )


def _of_starts(init: InitConfig) -> Iterator[str]:
    """Starts without an effect, blocks that are named twice, and what would get its start values twice."""
    if init.run and not init.blocks:
        yield "init.run has no effect without init.blocks; name the blocks to copy, e.g. [encoder]"
    if init.blocks and not (init.run or init.weights):
        yield f"init.blocks={list(init.blocks)} has no effect: neither init.run nor init.weights is set"
    if init.weights and (init.run or init.branches):
        yield (
            f"init.weights={init.weights} and init.run={init.run} (or init.branches) both say where the "
            "weights come from; choose one of them"
        )
    for key in ("blocks", "freeze"):
        if twice := [block for block, number in Counter(getattr(init, key)).items() if number > 1]:
            yield f"init.{key} names {', '.join(twice)} more than once; name each block once"
    given = [f"init.{name}" for name in ("visual_prototypes", "language_as_visual") if getattr(init, name)]
    if len(given) > 1:
        yield "init.language_as_visual=true and init.visual_prototypes both start the bank; choose one"
    # Published weights without a choice of blocks are taken whole.
    if given and ("prototypes" in init.blocks or (init.weights and not init.blocks)):
        source = f"init.weights={init.weights}" if init.weights else f"init.run={init.run}"
        yield (
            f"init.blocks={list(init.blocks)} takes the prototypes of {source}, and {given[0]} would overwrite them; "
            "leave one of both out"
        )
