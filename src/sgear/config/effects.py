"""Settings that are out of range, or would have no effect, are errors.

Each rule names the keys that a choice leaves without a reader. A key under such a rule must keep its default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from typing import Any

from sgear.config.counted_rules import check_counted, dead_counted_keys
from sgear.config.ranges import check_ranges
from sgear.config.rulstm_rules import check_rulstm, dead_rulstm_keys
from sgear.config.schema import ExperimentConfig, InitConfig
from sgear.config.sgear_rules import check_sgear, dead_sgear_keys
from sgear.config.unread import unread_message, with_defaults
from sgear.data.unreadable import checked_on_error
from sgear.datasets import dataset_spec
from sgear.errors import ConfigError

_VIDEO_ONLY = (
    *("reading", "cache_fps", "decoder", "frame_fps"),
    *("crop_margin", "scale_jitter", "flip", "brightness", "contrast"),
)
_STORED_ONLY = ("features", "feature_roots", "lmdb_key", "lmdb_fps", "lmdb_max_gap_s", "pool_s", "confusion")
_TIMM_ONLY = ("pretrained", "weights", "image_height", "image_width", "embed_dim", "depth", "num_heads", "patch_size")
_FEATURES_ONLY = ("feature_dim", "feature_dropout", "feature_noise", "recogniser", "map", "init_gain", "standardise")


def _dead_keys(config: ExperimentConfig) -> dict[str, str]:
    """Return key -> reason for every key that nothing reads under this configuration."""
    dead: dict[str, str] = {}

    def add(reason: str, prefix: str, names: tuple[str, ...]) -> None:
        dead.update({f"{prefix}.{name}": reason for name in names})

    if config.protocol.kind == "recognition":
        add("protocol.kind=recognition", "protocol", ("tau_a_s", "tau_o_s", "short_history", "views", "view_mean"))
        if config.protocol.after_start_s:
            add(f"protocol.after_start_s={config.protocol.after_start_s}", "protocol", ("jitter",))
        else:
            add("protocol.kind=recognition and protocol.after_start_s=0", "protocol", ("fps",))
        add("protocol.kind=recognition", "source", ("tau_a_jitter_s", "next_within_s"))
        add("protocol.kind=recognition", "objective", ("next",))
    else:
        add(f"protocol.kind={config.protocol.kind}", "protocol", ("num_steps", "jitter", "after_start_s"))
        if config.protocol.views == "centre":
            add("protocol.views=centre", "protocol", ("view_mean",))
    if config.source.kind == "features":
        add("source.kind=features", "source", _VIDEO_ONLY)
        add("source.kind=features", "dataset", ("video_roots",))
        add("source.kind=features", "protocol", ("views",))
        add("source.kind=features", "model.encoder", ("name", *_TIMM_ONLY))
        if not config.model.encoder.map:
            add("model.encoder.map=false", "model.encoder", ("init_gain",))
    elif config.source.kind == "annotations":
        add("source.kind=annotations", "source", (*_VIDEO_ONLY, *_STORED_ONLY, "check_clock"))
        add("source.kind=annotations", "dataset", ("video_roots",))
        add("source.kind=annotations", "protocol", ("views",))
    else:
        add("source.kind=video", "source", _STORED_ONLY)
        add("source.kind=video", "model.encoder", _FEATURES_ONLY)
        add("source.kind=video", "objective", ("mixup",))
        unread = ("cache_fps",) if config.source.reading == "films" else ("decoder",)
        add(f"source.reading={config.source.reading}", "source", unread)
    if dataset_spec(config.dataset.name).num_splits == 1:
        add(f"dataset.name={config.dataset.name}", "dataset", ("split",))
    if not dataset_spec(config.dataset.name).levels:
        add(f"dataset.name={config.dataset.name}", "dataset", ("granularity",))
    if not config.dataset.num_folds:
        add("dataset.num_folds=0", "dataset", ("fold",))
    if not (config.objective.sem or config.objective.past_sem or config.init.language_as_visual):
        add("objective.sem=0 and objective.past_sem=0", "init", ("language_prototypes",))
    if config.init.language_as_visual:
        add("init.language_as_visual=true", "init", ("visual_prototypes",))
    if config.model.name != "sgear":
        add(f"model.name={config.model.name} has no prototypes", "init", ("language_as_visual",))
    if not config.objective.next:
        add("objective.next=0", "source", ("next_within_s",))
    if not (config.objective.past or config.objective.past_sem):
        add("objective.past=0 and objective.past_sem=0", "objective", ("past_mean",))
    if not config.objective.feat:
        add("objective.feat=0", "objective", ("detach_feature_target",))
    if config.optim.name != "sgd":
        add(f"optim.name={config.optim.name}", "optim", ("nesterov",))
    if not config.init.weights:
        add("init.weights is empty", "init", ("class_names",))
    if not (config.init.run or config.init.weights):
        add("init.run is empty", "init", ("blocks",))
    return dead | dead_sgear_keys(config) | dead_rulstm_keys(config) | dead_counted_keys(config)


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return all settings of a configuration, or of a part of one, by their dotted key."""
    if not is_dataclass(values):
        return {prefix: list(values) if isinstance(values, tuple) else values}
    flat: dict[str, Any] = {}
    for item in fields(values):
        flat |= flatten(getattr(values, item.name), f"{prefix}.{item.name}" if prefix else item.name)
    return flat


def _unread_settings(config: ExperimentConfig) -> dict[str, str]:
    """Return key -> reason for every setting that must be reset; what falls out of use by a reset is one of them."""
    defaults, unread = ExperimentConfig(), {}
    values = flatten(defaults)
    while True:
        ours = flatten(config)
        found = {key: reason for key, reason in _dead_keys(config).items() if ours[key] != values[key]}
        if not found:
            return unread
        unread |= found
        config = with_defaults(config, defaults, found)


def check_effects(config: ExperimentConfig, *, typed: Collection[str] = ()) -> None:
    """Raise if a setting is out of its range, or differs from its default although nothing would read it.

    Args:
        config: The experiment.
        typed: Dotted keys that the user gave; the others come from a recipe.

    Raises:
        ConfigError: Names the key, its value and its range; or all keys without effect, the choices that leave them
            without one, and what resets them.
    """
    ours, defaults = flatten(config), flatten(ExperimentConfig())
    check_ranges(ours)
    if unread := _unread_settings(config):
        raise ConfigError(unread_message(unread, ours, defaults, typed=typed))
    checked_on_error(config.source.on_error)
    if config.objective.next and config.source.next_within_s <= config.protocol.tau_a_s:
        raise ConfigError(
            f"objective.next={config.objective.next} has no effect with source.next_within_s="
            f"{config.source.next_within_s}; set it above protocol.tau_a_s={config.protocol.tau_a_s}"
        )
    check_sgear(config)
    check_rulstm(config)
    check_counted(config)
    if config.init.run and not config.init.blocks:
        raise ConfigError("init.run has no effect without init.blocks; name the blocks to copy, e.g. [encoder]")
    _check_blocks(config.init)
    _check_weights(config)


def _check_blocks(init: InitConfig) -> None:
    """Raise if a block is named twice, or gets its start values twice."""
    for key in ("blocks", "freeze"):
        twice = [block for block, number in Counter(getattr(init, key)).items() if number > 1]
        if twice:
            raise ConfigError(f"init.{key} names {', '.join(twice)} more than once; name each block once")
    others = {
        "init.visual_prototypes": bool(init.visual_prototypes),
        "init.language_as_visual": init.language_as_visual,
    }
    given = [name for name, is_given in others.items() if is_given]
    # Published weights without a choice of blocks are taken whole.
    takes_all = bool(init.weights) and not init.blocks
    if given and (takes_all or "prototypes" in init.blocks):
        source = f"init.weights={init.weights}" if init.weights else f"init.run={init.run}"
        raise ConfigError(
            f"init.blocks={list(init.blocks)} takes the prototypes of {source}, and {given[0]} would overwrite them; "
            "leave one of both out"
        )


def _check_weights(config: ExperimentConfig) -> None:
    if not config.init.weights:
        return
    if config.init.run or config.init.branches:
        raise ConfigError(
            f"init.weights={config.init.weights} and init.run={config.init.run} (or init.branches) both say where the "
            "weights come from; choose one of them"
        )
