"""Settings have the type of what is chosen; what it does not read, and what nothing could use, cannot be said."""

import shlex
from dataclasses import asdict

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_recipes import small_kitchen

from sgear.data.sources import VideoSource
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.build import build_data, build_protocol
from sgear.experiment.compose import load_run_config, save_config
from sgear.experiment.schema import CHOSEN_BY, ExperimentConfig, choices
from sgear.experiment.settings import _RANGES, _WORDS, as_override, flatten, hydra_override
from sgear.models import build_model

OWN = "experiment=own/avt"
FEATURES = ["source.kind=features", "source.features=x", "model.encoder.feature_dim=384"]


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        compose_experiment([*overrides])
    return str(error.value)


# --- what is chosen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_composes_survives_its_file_and_fits_its_clip_into_its_model(name, tmp_path):
    config = compose_experiment([f"experiment={name}"])
    save_config(config, tmp_path / "config.yaml")
    assert load_run_config(tmp_path / "config.yaml") == config
    assert build_protocol(config.protocol).num_steps <= config.model.max_steps


@pytest.mark.parametrize("name", ["avt", "rulstm", "frequency"])
def test_a_choice_takes_what_it_reads_of_a_recipe_for_another_one(name):
    kind = {"avt": "video", "rulstm": "features", "frequency": "annotations"}[name]
    dead = {"rulstm": [*FEATURES, "objective.past=0", "objective.feat=0", "model.encoder.name=features"]}
    dead["rulstm"] += ["model.rulstm.step_s=1", "model.rulstm.tau_a_s=1", "init.visual_prototypes="]
    change = [f"model.name={name}", f"source.kind={kind}", *dead.get(name, [])]
    off = [*(f"objective.{term}=0" for term in ("sem", "reg", "next")), "init.visual_prototypes=", "init.blocks=[]"]
    config = compose_experiment(["experiment=own/sgear", "init.run=", *off, *change])
    assert type(config.model) is choices("model")[name]
    assert type(config.source) is choices("source")[kind]


@pytest.mark.parametrize(
    ("overrides", "messages"),
    [
        (
            FEATURES,
            ["model.encoder.name=vit_small_patch16_224.augreg_in21k_ft_in1k and source.kind=features do not"],
        ),
        (
            ["source.confusion=0.5", "model.temporal_context.num_blocks=1"],
            [
                "model.name=avt has no setting model.temporal_context.num_blocks",
                "source.kind=video has no setting source.confusion",
            ],
        ),
        (["optim.lrr=1"], ["unknown setting 'optim.lrr'; did you mean optim.lr"]),
        (["dataset.root=a[b]c"], ["""stands in quotes: 'dataset.root="a[b]c"'"""]),
        # A home that the shell did not expand comes expanded.
        (["dataset.root=~/kitchen"], ["quotes: dataset.root=/home/me/kitchen"]),
        (["source.reading=films"], ["is now source.reading=videos"]),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_to_type(overrides, messages, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    message = refusal(OWN, *overrides)
    for part in messages:
        assert part in message


@settings(max_examples=10)
@given(st.text(st.characters(exclude_characters="\\$", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_a_text_comes_through_the_quotes_of_hydra_and_the_shell(text):
    (word,) = shlex.split(as_override("dataset.root", f"x{text}"))
    assert word == hydra_override("dataset.root", f"x{text}")
    assert compose_experiment([OWN, word]).dataset.root == f"x{text}"


def test_the_file_of_a_run_made_before_is_read(tmp_path):
    config = compose_experiment(["experiment=kitchen/avt"])
    save_config(config, tmp_path / "config.yaml")
    values = yaml.safe_load((tmp_path / "config.yaml").read_text())
    # Runs had the settings of all models, steps and protocols once, those that nothing read with their defaults.
    for part in ("model", "source"):
        for kind in choices(part).values():
            values[part] = asdict(kind()) | values[part]
    values["source"]["decoder"] = "pyav"
    values["protocol"] |= {"num_steps": 4, "jitter": 1.0, "after_start_s": 0.0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_run_config(tmp_path / "config.yaml") == config
    values["source"]["reading"] = "films"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load_run_config(tmp_path / "config.yaml").source.reading == "videos"


# --- ranges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.accumulate=0", "optim.accumulate=0 is out of range; it takes a number of at least 1"),
        ("optim.lr=-1", "optim.lr=-1.0 is out of range; it takes a number above 0"),
        ("optim.lr=nan", "optim.lr=nan is out of range"),
        ("optim.lr=inf", "optim.lr=inf is out of range"),
        ("optim.final_lr_share=3", r"optim.final_lr_share=3.0 is out of range; it takes a number in \[0, 1\]"),
        ("optim.ema_decay=1.5", r"optim.ema_decay=1.5 is out of range; it takes a number in \[0, 1\)"),
        ("optim.name=lion", "optim.name='lion' is unknown; choose adamw, adam, sgd"),
        ("runtime.device=tpu", "runtime.device='tpu' is unknown; choose auto, cpu, cuda"),
        ("model.decoder.num_heads=0", "model.decoder.num_heads=0 is out of range"),
        ("model.decoder.num_heads=5", "model.decoder.width=64 must be a multiple of model.decoder.num_heads=5"),
        ("model.prototype_attention.num_heads=7", "model.width=64 must be a multiple of .*num_heads=7"),
        ("model.head.temperature=0", "model.head.temperature=0.0 is out of range"),
        ("seed=4294967296", r"seed=4294967296 is out of range; it takes a number in \[0, 4294967295\]"),
        (
            "model.width=48 model.temporal_context.num_blocks=1",
            "TCA needs a model.width that is a multiple of 32, got 48",
        ),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_range(override, message):
    with pytest.raises(ConfigError, match=message):
        build_model(compose_experiment(["experiment=smoke/kitchen", *override.split()]).model, num_actions=5)


def test_every_number_of_the_configuration_has_a_range_that_holds_its_default_or_is_free():
    values = flatten(ExperimentConfig())
    for part in CHOSEN_BY:
        for kind in choices(part).values():
            values |= flatten(ExperimentConfig(**{part: kind()}))
    free = {
        # Checked where they meet data or each other.
        *("protocol.tau_a_s", "protocol.tau_o_s", "protocol.fps", "protocol.num_steps", "dataset.split"),
        # Any number is a gate.
        *("model.prototype_attention.gate", "model.head.gate"),
        # Must equal the protocol's.
        "model.rulstm.tau_a_s",
    }
    known = {key for keys in _RANGES.values() for key in keys}
    numbers = {key for key, value in values.items() if type(value) in (int, float)}
    assert known <= numbers
    assert numbers - known == free
    assert all(values[key] in allowed for allowed, keys in _RANGES.items() for key in keys)
    assert all(values[key] in words for key, words in _WORDS.items())


# --- how large the image around the crop is ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    return small_kitchen(tmp_path_factory.mktemp("crops") / "kitchen", num_train_videos=1)


def data_of(kitchen, *overrides: str):
    small = ["model.encoder.image_height=32", "model.encoder.image_width=32", "source.reading=videos"]
    return build_data(compose_experiment(["experiment=kitchen/avt", f"dataset.root={kitchen}", *small, *overrides]))


def test_videos_are_read_with_room_for_the_widest_crop(kitchen):
    data = data_of(kitchen, "source.crop_margin=0.1", "source.scale_jitter=[0.0,0.5]")
    source = data.train.source
    assert isinstance(source, VideoSource)
    assert source.transform.scale_jitter == (0.0, 0.5)
    assert (data.preprocessing.crop_margin, data.preprocessing.reading_margin) == (0.1, 0.5)
    assert source.frames.frames_played_at(data.train.segments.video_ids[0], [0.0]).frames.shape[-2:] == (48, 48)
    assert data.train[0]["clip"].dtype == torch.uint8


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("scale_jitter=[0.1]", r"scale_jitter must be empty or two margins, got \[0\.1\]"),
        ("scale_jitter=[0.3,0.1]", r"source: scale_jitter must be two ascending margins"),
        ("crop_margin=1.5", r"source\.crop_margin=1\.5 is out of range; it takes a number in \[0, 1\]"),
    ],
)
def test_a_wrong_margin_is_named(kitchen, setting, complaint):
    with pytest.raises(ConfigError, match=complaint):
        data_of(kitchen, f"source.{setting}")
