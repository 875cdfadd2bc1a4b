"""A setting: how it is written, what it takes, what it means."""

from __future__ import annotations

import inspect
import math
import re
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from sgear.errors import ConfigError
from sgear.experiment.schema import CHOSEN_BY, ExperimentConfig, choices, chosen_defaults

_UNQUOTED = re.compile(r"[\w/.:@%+?-]*", re.ASCII)
"""Texts that Hydra reads as they are."""


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return all settings of a configuration, or of a part of one, by their dotted key."""
    if not is_dataclass(values):
        return {prefix: list(values) if isinstance(values, tuple) else values}
    flat: dict[str, Any] = {}
    for item in fields(values):
        flat |= flatten(getattr(values, item.name), f"{prefix}.{item.name}" if prefix else item.name)
    return flat


def value_text(value: Any) -> str:
    """Return the value of a setting as recipes write it, without quotes."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def hydra_override(key: str, value: Any) -> str:
    """Return a setting as Hydra reads it."""
    text = value_text(value)
    if not isinstance(value, list | tuple) and not _UNQUOTED.fullmatch(text):
        text = '"' + text.replace('"', '\\"') + '"'
    return f"{key}={text}"


def as_override(key: str, value: Any) -> str:
    """Return a setting as it is typed on a command line, with the quotes that Hydra and the shell need.

    Example:
        >>> as_override("source.flip", False), as_override("init.blocks", ["encoder"])
        ('source.flip=false', "'init.blocks=[encoder]'")
    """
    return shlex.quote(hydra_override(key, value))


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Args:
        low: Smallest number.
        high: Largest number.
        has_low: Whether `low` itself is one of them.
        has_high: Whether `high` itself is one of them.
    """

    low: int | float
    high: int | float = math.inf
    has_low: bool = True
    has_high: bool = True

    def __contains__(self, value: int | float) -> bool:
        above = value >= self.low if self.has_low else value > self.low
        below = value <= self.high if self.has_high else value < self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"a number of at least {self.low:g}" if self.has_low else f"a number above {self.low:g}"
        return (
            f"a number in {'[' if self.has_low else '('}{self.low:g}, {self.high:.10g}{']' if self.has_high else ')'}"
        )


_COUNT, _FROM_0, _POSITIVE = Range(1), Range(0), Range(0, has_low=False)
_SHARE, _BELOW_1 = Range(0, 1), Range(0, 1, has_high=False)

_RANGES: dict[Range, tuple[str, ...]] = {
    # What generators of numpy take.
    Range(0, 2**32 - 1): ("seed",),
    _COUNT: (
        *("optim.epochs", "optim.batch_size", "optim.accumulate"),
        *("model.width", "model.max_steps", "model.prototype_attention.num_heads"),
        *("model.decoder.width", "model.decoder.num_layers", "model.decoder.num_heads"),
        *("model.rulstm.hidden_dim", "model.rulstm.anticipation_steps", "source.history"),
        *("model.prototypes.text_dim", "model.encoder.text_dim", "objective.num_neighbors"),
        "model.history.frame_steps",
    ),
    _FROM_0: (
        *("dataset.num_folds", "dataset.fold"),
        *("runtime.num_workers", "runtime.checkpoint_every", "runtime.evaluate_every"),
        *("optim.encoder_lr_scale", "optim.weight_decay", "optim.warmup_epochs", "optim.clip_norm"),
        *(f"model.encoder.{name}" for name in ("image_height", "image_width", "embed_dim", "depth", "num_heads")),
        *("model.encoder.patch_size", "model.encoder.feature_dim", "model.encoder.feature_noise"),
        *("model.temporal_context.num_blocks", "model.prototype_attention.num_prototypes"),
        *("model.prototype_attention.top_k", "model.prototype_attention.subset_seed"),
        *(f"objective.{name}" for name in ("cls", "cls_verb", "cls_noun", "past", "next", "horizons", "feat")),
        *("objective.sem", "objective.past_sem", "objective.reg", "objective.mixup"),
        *("objective.balanced", "objective.focal", "model.history.lead_steps"),
        *("source.pool_s", "source.lmdb_max_gap_s", "source.frame_fps"),
        *("source.tau_a_jitter_s", "source.next_within_s", "source.confusion", "protocol.after_start_s"),
    ),
    _POSITIVE: (
        *("optim.lr", "source.cache_fps", "source.lmdb_fps", "model.head.temperature"),
        *("objective.neighbor_temperature", "objective.sem_temperature"),
        *("model.temporal_context.lifetime_steps", "model.encoder.init_gain", "model.decoder.init_std"),
        *("model.rulstm.step_s", "model.counts.smoothing", "runtime.timeout_s"),
        *("model.regression.inverse_regularization", "model.history.frame_c", "model.history.next_c"),
    ),
    _SHARE: ("optim.final_lr_share", "protocol.jitter", "source.crop_margin", "source.noise"),
    Range(2): ("model.history.num_folds",),
    Range(0, 1, has_low=False): ("model.prototype_attention.share",),
    _BELOW_1: (
        *("source.brightness", "source.contrast"),
        *("optim.ema_decay", "objective.label_smoothing", "model.encoder.feature_dropout", "source.drop"),
        "objective.neighbors",
        *("model.decoder.dropout", "model.head.dropout", "model.rulstm.dropout"),
    ),
}

_WORDS: dict[str, tuple[str, ...]] = {
    "runtime.device": ("auto", "cpu", "cuda"),
    "runtime.precision": ("fp32", "bf16"),
    "optim.name": ("adamw", "adam", "sgd"),
    "source.reading": ("cache", "videos"),
    "source.counts_from": ("start", "end"),
    "objective.past_mean": ("labelled", "all"),
    "objective.sem_form": ("l1", "kl"),
    "model.head.past_similarity": ("predicted", "encoder"),
    "model.temporal_context.mode": ("cumulative", "decay", "causal", "original"),
    "model.prototype_attention.mode": ("paper", "released", "original"),
}


def check_ranges(values: Mapping[str, Any]) -> None:
    """Raise at the first value that no part of the package could use.

    Args:
        values: All settings by their dotted key; not every experiment has all of them.

    Raises:
        ConfigError: Names key, value, and what it takes.
    """
    for allowed, keys in _RANGES.items():
        for key in keys:
            if key in values and values[key] not in allowed:
                raise ConfigError(f"{key}={values[key]} is out of range; it takes {allowed}")
    for key, words in _WORDS.items():
        if key in values and values[key] not in words:
            raise ConfigError(f"{key}={values[key]!r} is unknown; choose {', '.join(words)}")
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value} is not finite")


_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_WIDTH = 110


def settings_text(config: ExperimentConfig) -> str:
    """Return every setting with its value, its default where that differs, and its meaning.

    Args:
        config: The values.
    """
    ours, defaults = flatten(config), flatten(chosen_defaults(config))
    entries = []
    for key, meaning in meanings(config).items():
        default = "" if ours[key] == defaults[key] else f"  (default {value_text(defaults[key])})"
        entries.append(f"{key}={value_text(ours[key])}{default}\n{_filled(meaning)}")
    return "\n".join(entries)


def all_settings_text() -> str:
    """Return every setting with its default and its meaning, then those of the other models, steps and protocols."""
    texts = [settings_text(ExperimentConfig())]
    shown = set(meanings(ExperimentConfig()))
    for part, key in CHOSEN_BY.items():
        for name, kind in choices(part).items():
            config = replace(ExperimentConfig(), **{part: kind()})
            values, new = (
                flatten(config),
                {setting: text for setting, text in meanings(config).items() if setting not in shown},
            )
            texts += [f"# with {part}.{key}={name}"] if new else []
            texts += [f"{setting}={value_text(values[setting])}\n{_filled(text)}" for setting, text in new.items()]
            shown |= new.keys()
    return "\n".join(texts)


def meanings(config: ExperimentConfig) -> dict[str, str]:
    """Return what each setting of an experiment means, by its dotted key."""
    return _meanings_of(config, "")


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _meanings_of(part: Any, prefix: str) -> dict[str, str]:
    documented = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(inspect.getdoc(type(part)) or "")}
    found: dict[str, str] = {}
    for item in fields(part):
        key, value = f"{prefix}{item.name}", getattr(part, item.name)
        if is_dataclass(value):
            found |= _meanings_of(value, f"{key}.")
        else:
            found[key] = documented.get(item.name, "")
    return found
