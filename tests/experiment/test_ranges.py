"""A value that no part of the package could use is refused by name, before anything runs."""

from dataclasses import fields

import pytest

from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.schema import CHOSEN_BY, ExperimentConfig, choices
from sgear.experiment.settings import _RANGES, _WORDS, Range, flatten
from sgear.models import build_model


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.accumulate=0", "optim.accumulate=0 is out of range; it takes a number of at least 1"),
        ("optim.batch_size=0", "optim.batch_size=0 is out of range"),
        ("optim.epochs=0", "optim.epochs=0 is out of range"),
        ("optim.lr=-1", "optim.lr=-1.0 is out of range; it takes a number above 0"),
        ("optim.lr=nan", "optim.lr=nan is out of range"),
        ("optim.lr=inf", "optim.lr=inf is out of range"),
        ("optim.warmup_epochs=-1", "optim.warmup_epochs=-1.0 is out of range"),
        ("optim.final_lr_share=3", r"optim.final_lr_share=3.0 is out of range; it takes a number in \[0, 1\]"),
        ("optim.clip_norm=-1", "optim.clip_norm=-1.0 is out of range"),
        ("optim.ema_decay=1.5", r"optim.ema_decay=1.5 is out of range; it takes a number in \[0, 1\)"),
        ("optim.name=lion", "optim.name='lion' is unknown; choose adamw, adam, sgd"),
        ("runtime.precision=fp16", "runtime.precision='fp16' is unknown; choose fp32, bf16"),
        ("runtime.device=tpu", "runtime.device='tpu' is unknown; choose auto, cpu, cuda"),
        ("model.decoder.num_layers=0", "model.decoder.num_layers=0 is out of range"),
        ("model.decoder.num_heads=0", "model.decoder.num_heads=0 is out of range"),
        ("model.decoder.num_heads=5", "model.decoder.width=64 must be a multiple of model.decoder.num_heads=5"),
        ("model.decoder.dropout=1.0", "model.decoder.dropout=1.0 is out of range"),
        ("model.prototype_attention.num_heads=7", "model.width=64 must be a multiple of .*num_heads=7"),
        ("model.prototype_attention.top_k=-1", "top_k=-1 is out of range"),
        ("model.head.temperature=0", "model.head.temperature=0.0 is out of range"),
        ("model.temporal_context.num_blocks=-1", "num_blocks=-1 is out of range"),
        ("model.temporal_context.lifetime_steps=0", "lifetime_steps=0.0 is out of range"),
        ("objective.cls=-1", "objective.cls=-1.0 is out of range"),
        ("objective.sem=-1", "objective.sem=-1.0 is out of range"),
        ("seed=-1", "seed=-1 is out of range"),
        ("seed=4294967296", r"seed=4294967296 is out of range; it takes a number in \[0, 4294967295\]"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_range(override, message):
    with pytest.raises(ConfigError, match=message):
        build(override)


def build(*overrides: str) -> None:
    build_model(compose_experiment(["experiment=smoke/kitchen", *overrides]).model, num_actions=5)


def test_a_width_that_tca_cannot_split_is_refused():
    with pytest.raises(ConfigError, match=r"TCA needs a model.width that is a multiple of 32, got 48"):
        build("model.width=48", "model.temporal_context.num_blocks=1")


def test_every_number_of_the_configuration_has_a_range_or_is_free():
    free = {
        # Checked where they meet data or each other.
        *("protocol.tau_a_s", "protocol.tau_o_s", "protocol.fps", "protocol.num_steps", "dataset.split"),
        # Any number is a gate.
        *("model.prototype_attention.gate", "model.head.gate"),
        # Must equal the protocol's.
        "model.rulstm.tau_a_s",
    }
    known = {key for keys in _RANGES.values() for key in keys}
    numbers = {
        key for key, value in all_defaults().items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert known <= numbers
    assert numbers - known == free


def all_defaults() -> dict[str, object]:
    """The defaults of all models, steps and protocols."""
    values = flatten(ExperimentConfig())
    for part in CHOSEN_BY:
        for kind in choices(part).values():
            values |= flatten(ExperimentConfig(**{part: kind()}))
    return values


def test_ranges_and_words_hold_the_defaults():
    values = all_defaults()
    assert all(values[key] in allowed for allowed, keys in _RANGES.items() for key in keys)
    assert all(values[key] in words for key, words in _WORDS.items())
    assert {item.name for item in fields(Range)} == {"low", "high", "has_low", "has_high"}
