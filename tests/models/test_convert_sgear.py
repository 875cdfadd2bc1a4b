"""The checkpoints of the S-GEAR release: loaded strictly by their names, they score as the released code does."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from released_sgear import (
    NUM_ACTIONS,
    NUM_STEPS,
    VIT,
    WIDTH,
    drawn,
    make_gpt2,
    released_logits,
    released_weights,
)
from sgear.errors import ConfigError, RunError
from sgear.experiment import compose_experiment
from sgear.models import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    TemporalContextConfig,
    build_model,
    model_config,
)
from sgear.models.conversion import read_checkpoint
from sgear.models.convert import build_published, convert_published, read_published
from sgear.torchvision_guard import import_timm

FEATURE_DIM = 6
ON_FEATURES = model_config(
    width=WIDTH,
    max_steps=NUM_STEPS,
    encoder=EncoderConfig(feature_dim=FEATURE_DIM, standardise=True),
    temporal_context=TemporalContextConfig(num_blocks=0),
    prototype_attention=PrototypeAttentionConfig(mode="original", num_heads=12),
    decoder=DecoderConfig(width=16, num_layers=2, num_heads=2),
    head=HeadConfig(temperature=1.0),
)
FROM_FRAMES = replace(
    ON_FEATURES,
    encoder=EncoderConfig(
        name="vit_tiny_patch16_224",
        image_height=16,
        image_width=16,
        **{name: VIT[name] for name in ("embed_dim", "depth", "num_heads", "patch_size")},
    ),
    temporal_context=TemporalContextConfig(num_blocks=2, mode="original"),
)


@pytest.fixture(scope="module")
def gpt2():
    return make_gpt2()


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(2)
    return import_timm().create_model("vit_tiny_patch16_224", num_classes=0, **VIT).eval()


def loaded(stored, config: Any, **options):
    conversion = convert_published(stored, config, num_actions=NUM_ACTIONS, **options)
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    model.load_state_dict(conversion.state, strict=True)
    return model, conversion


@torch.no_grad()
def test_from_frames_it_scores_as_the_released_code(gpt2, vit):
    stored = released_weights(gpt2, vit=vit)
    model, conversion = loaded(stored, FROM_FRAMES)
    assert set(conversion.left_out) == {"TCA.0.attn.alpha", "TCA.1.attn.alpha", "cls_map_verb_action"}
    assert set(conversion.filled) == {"prototype_mix.log_temperature", "prototype_attention.released_ids"}
    clips = torch.randn(2, NUM_STEPS, 3, 16, 16)
    expected = torch.stack([released_logits(stored, gpt2, vit.forward_features(clip)) for clip in clips])
    torch.testing.assert_close(model(clips).logits, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("feature_dim", [FEATURE_DIM, WIDTH])
def test_on_features_it_scores_as_the_released_code(gpt2, feature_dim):
    stored = released_weights(gpt2, feature_dim=feature_dim)
    encoder = replace(ON_FEATURES.encoder, feature_dim=feature_dim)
    model, _ = loaded(stored, replace(ON_FEATURES, encoder=encoder))
    clips = torch.randn(3, NUM_STEPS, feature_dim)
    expected = torch.stack([released_logits(stored, gpt2, clip[:, None]) for clip in clips])
    torch.testing.assert_close(model(clips).logits, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_scores_follow_their_classes_into_another_order(gpt2):
    stored, order = released_weights(gpt2, feature_dim=FEATURE_DIM), [3, 6, 0, 5, 1, 2, 4]
    clips = torch.randn(3, NUM_STEPS, FEATURE_DIM)
    plain, moved = (loaded(stored, ON_FEATURES, class_order=each)[0](clips) for each in (None, order))
    torch.testing.assert_close(moved.logits, plain.logits[:, order], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_network_without_prototype_attention_has_a_gate_that_is_never_read(gpt2):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM)
    stored = {name: tensor for name, tensor in stored.items() if not name.startswith("ProtAttn")}
    config = replace(
        ON_FEATURES,
        encoder=EncoderConfig(feature_dim=FEATURE_DIM),
        prototype_attention=PrototypeAttentionConfig(enabled=False),
    )
    _, conversion = loaded(stored, config)
    assert "alpha" in conversion.left_out
    assert "trained with" not in conversion.assumed


def test_what_the_weights_do_not_show_is_told(gpt2, vit):
    stored = released_weights(gpt2, vit=vit)
    assert "trained with" not in loaded(stored, FROM_FRAMES)[1].assumed
    corrected = replace(
        FROM_FRAMES,
        temporal_context=TemporalContextConfig(num_blocks=2, normalise=False),
        prototype_attention=PrototypeAttentionConfig(mode="released", num_heads=12),
    )
    said = loaded(stored, corrected)[1].assumed
    assert "num_heads=2 was assumed" in said
    assert "model.temporal_context.mode=original (here cumulative), model.prototype_attention.mode=original" in said
    assert "not those of the released code" in said
    plain = replace(ON_FEATURES, encoder=EncoderConfig(feature_dim=FEATURE_DIM))
    said = loaded(released_weights(gpt2, feature_dim=FEATURE_DIM), plain)[1].assumed
    assert "model.encoder.standardise=true (here false)" in said


@pytest.mark.parametrize(
    "name", ["transform_features.0.weight", "multimodal_attn.qkv.weight", "modality_balancer", "regression_head.bias"]
)
def test_a_part_that_this_package_has_not_is_refused_by_name(gpt2, name):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM) | {name: drawn(1)}
    with pytest.raises(ConfigError, match=rf"1 faults: {name} \(1,\) of the checkpoint has no place in the model"):
        loaded(stored, ON_FEATURES)


def test_settings_that_fit_are_told_where_others_do_not(gpt2, vit):
    other = replace(FROM_FRAMES, max_steps=9, prototype_attention=PrototypeAttentionConfig(num_heads=12))
    fitting = (
        r"num_blocks=2, model\.prototype_attention\.num_heads=12, model\.max_steps=4, model\.temporal_context\.mode="
        r"original, model\.prototype_attention\.mode=original, model\.width=384"
    )
    with pytest.raises(ConfigError, match=rf"tmp_weighting of the checkpoint is \(4,\).*{fitting}"):
        loaded(released_weights(gpt2, vit=vit), other)


def test_all_classes_of_the_checkpoint_are_needed(gpt2):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM)
    with pytest.raises(ConfigError, match="has 7 classes and the data set 5, but the prototypes of all classes"):
        convert_published(stored, ON_FEATURES, num_actions=5, class_order=range(5))


def test_weights_of_s_gear_and_of_avt_are_told_apart(gpt2):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM)
    with pytest.raises(ConfigError, match=r"model\.name=avt was asked for, but vis_prototypes, .* of the S-GEAR rel"):
        convert_published(stored, replace(ON_FEATURES, name="avt"), num_actions=NUM_ACTIONS)
    avt = {name: tensor for name, tensor in stored.items() if name.startswith(("future_predictor", "classifiers"))}
    with pytest.raises(ConfigError, match=r"model\.name=sgear was asked for, but future_predictor\.\S+ .* of avt"):
        convert_published(avt, ON_FEATURES, num_actions=NUM_ACTIONS)


def test_the_form_of_the_release_reads_whole_clips_alone(gpt2):
    model, _ = loaded(released_weights(gpt2, feature_dim=FEATURE_DIM), ON_FEATURES)
    clip = torch.randn(1, NUM_STEPS, FEATURE_DIM)
    mask = torch.tensor([[False, True, True, True]])
    with pytest.raises(ValueError, match="exactly 4 real steps, got 4, of them 3 real"):
        model(clip, mask)
    with pytest.raises(ValueError, match="exactly 4 real steps, got 3"):
        model(clip[:, 1:])
    with pytest.raises(ValueError, match="choose another mode for streams"):
        model.step(clip[:, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["model.max_steps=16"], r"max_steps=15 and protocol\.short_history=repeat, now 16 and repeat"),
        (["protocol.short_history=mask"], r"max_steps=15 and protocol\.short_history=repeat, now 15 and mask"),
        (["protocol.tau_o_s=10"], r"max_steps=10 and"),
    ],
)
def test_clips_that_the_form_of_the_release_cannot_read_are_refused_before_anything_runs(changes, message):
    fitting = ["model.max_steps=15", "protocol.short_history=repeat", "model.prototype_attention.mode=original"]
    compose_experiment(["experiment=epic100/tsn", *fitting])
    with pytest.raises(ConfigError, match=rf"model\.prototype_attention\.mode=original .*{message}"):
        compose_experiment(["experiment=epic100/tsn", *fitting, *changes])


def test_there_are_as_many_prototypes_as_steps():
    with pytest.raises(ConfigError, match="the top 4, but there are 3 actions"):
        build_model(ON_FEATURES, num_actions=3)


def test_weights_are_found_beside_something_else_of_their_name(gpt2, tmp_path):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM)
    wrapped = {f"module.{name}": tensor for name, tensor in stored.items()}
    for index, odd in enumerate(({"depth": 12}, "sgear", {"name": "sgear", "blocks": [1, 2]})):
        path = tmp_path / f"{index}.pth"
        torch.save({"model": odd, "state_dict": wrapped, "epoch": 3}, path)
        model, _ = build_published(read_published(path, ON_FEATURES), ON_FEATURES, num_actions=NUM_ACTIONS)
        assert torch.equal(model.bank.visual, stored["vis_prototypes"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_name(gpt2, tmp_path, value):
    stored = released_weights(gpt2, feature_dim=FEATURE_DIM)
    stored["ProtAttn.proj.bias"][3] = value
    torch.save({"model": stored}, tmp_path / "bad.pth")
    with pytest.raises(RunError, match=r"bad\.pth: 1 tensors have values that are not finite \(ProtAttn\.proj\.bias\)"):
        read_checkpoint(tmp_path / "bad.pth")


@pytest.mark.parametrize(("experiment", "feature_dim"), [("epic100/vit", 0), ("epic100/tsn", 1024)])
def test_the_commands_of_the_migration_page_fit_the_released_networks(experiment, feature_dim):
    page = Path(__file__).parents[2] / "docs" / "migration.md"
    lines = page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    (command,) = (line for line in lines if line.startswith("sgear import") and f"experiment={experiment} " in line)
    config = compose_experiment([word for word in shlex.split(command) if "=" in word])
    with torch.device("meta"):
        gpt2 = make_gpt2(width=2048, num_layers=6, num_heads=4)
        vit = None if feature_dim else import_timm().create_model("vit_base_patch16_384", num_classes=0)
        stored = released_weights(gpt2, feature_dim=feature_dim, vit=vit, num_actions=3806, width=768, num_steps=15)
    conversion = convert_published(stored, config.model, num_actions=3806)
    assert "trained with" not in conversion.assumed
    assert config.protocol.short_history == "repeat"
    assert config.protocol.tau_o_s * config.protocol.fps == config.model.max_steps
