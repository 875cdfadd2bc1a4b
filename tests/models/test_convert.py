"""Published checkpoints: strict names, plain weights, and AVT end to end against its published parts."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from released_sgear import drawn, make_gpt2
from sgear.errors import ConfigError, RunError
from sgear.models import DecoderConfig, EncoderConfig, RulstmConfig, build_model, model_config
from sgear.models.conversion import read_checkpoint
from sgear.models.convert import build_published, convert_published, read_published
from sgear.torchvision_guard import import_timm

NUM_ACTIONS = 5
RULSTM = model_config(
    name="rulstm",
    max_steps=14,
    encoder=EncoderConfig(feature_dim=7),
    rulstm=RulstmConfig(modalities=[4, 3], hidden_dim=6),
)
AVT = model_config(
    name="avt",
    width=8,
    max_steps=4,
    encoder=EncoderConfig(feature_dim=6),
    decoder=DecoderConfig(width=16, num_layers=2, num_heads=2),
)


def published_rulstm(*, widths=(4, 3), hidden=6) -> dict[str, torch.Tensor]:
    """Random weights under RULSTM's names."""
    torch.manual_seed(0)
    stored = {}
    for index, width in enumerate(widths):
        for lstm in ("rolling_lstm.lstm", "unrolling_lstm"):
            prefix = f"branches.{index}.{lstm}"
            stored[f"{prefix}.weight_ih_l0"] = drawn(4 * hidden, width)
            stored[f"{prefix}.weight_hh_l0"] = drawn(4 * hidden, hidden)
            stored[f"{prefix}.bias_ih_l0"] = drawn(4 * hidden)
            stored[f"{prefix}.bias_hh_l0"] = drawn(4 * hidden)
        stored[f"branches.{index}.classifier.1.weight"] = drawn(NUM_ACTIONS, hidden)
        stored[f"branches.{index}.classifier.1.bias"] = drawn(NUM_ACTIONS)
    full = 2 * len(widths) * hidden
    sizes = {0: (full // 4, full), 3: (full // 8, full // 4), 6: (len(widths), full // 8)}
    for layer, (out, width) in sizes.items():
        stored[f"MATT.{layer}.weight"], stored[f"MATT.{layer}.bias"] = drawn(out, width), drawn(out)
    return stored


def published_avt(gpt2, *, feature_dim=6, width=8) -> dict[str, torch.Tensor]:
    """Weights under AVT's names, with the constants that old versions of transformers save."""
    torch.manual_seed(0)
    stored = {
        f"future_predictor.gpt_model.{name}": tensor
        for name, tensor in gpt2.state_dict().items()
        if not name.startswith("wte.") and not name.endswith((".attn.bias", ".attn.masked_bias"))
    }
    for layer in range(gpt2.config.n_layer):
        stored[f"future_predictor.gpt_model.h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32).tril().byte()
        stored[f"future_predictor.gpt_model.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    stored["future_predictor.encoder.weight"] = drawn(gpt2.config.n_embd, width)
    stored["future_predictor.decoder.weight"] = drawn(width, gpt2.config.n_embd)
    stored["classifiers.action.weight"], stored["classifiers.action.bias"] = (
        drawn(NUM_ACTIONS, width),
        drawn(NUM_ACTIONS),
    )
    if feature_dim != width:
        stored["mapper_to_inter.weight"] = drawn(width, feature_dim)
    return stored


def avt_by_parts(stored, gpt2, features):
    """AVT's forward pass on mapped features, from its weights under its own names."""
    inner = gpt2(inputs_embeds=features @ stored["future_predictor.encoder.weight"].T).last_hidden_state
    future = (inner @ stored["future_predictor.decoder.weight"].T)[:, -1]
    return future @ stored["classifiers.action.weight"].T + stored["classifiers.action.bias"]


@torch.no_grad()
def test_avt_from_pixels_equals_its_vit_and_gpt2():
    timm = import_timm()
    sizes = {"embed_dim": 8, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": (16, 16)}
    torch.manual_seed(2)
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes).eval()
    gpt2 = make_gpt2()
    stored = published_avt(gpt2, feature_dim=8)
    stored |= {f"backbone.model.{name}": tensor for name, tensor in vit.state_dict().items()}
    encoder = EncoderConfig(
        name="vit_tiny_patch16_224", image_height=16, image_width=16, embed_dim=8, depth=2, num_heads=2, patch_size=8
    )
    config = replace(AVT, encoder=encoder)
    conversion = convert_published(stored, config, num_actions=NUM_ACTIONS)
    assert {name.rsplit(".", 1)[1] for name in conversion.left_out} == {"bias", "masked_bias"}
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    model.load_state_dict(conversion.state, strict=True)
    clip = torch.randn(2, 4, 3, 16, 16)
    features = vit(clip.flatten(0, 1)).unflatten(0, (2, 4))
    torch.testing.assert_close(model(clip).logits, avt_by_parts(stored, gpt2, features), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("has_map", "filled"), [(True, {"encoder.project.weight"}), (False, set())])
def test_avt_on_features_of_its_own_width_has_no_map(has_map, filled):
    gpt2 = make_gpt2()
    stored = published_avt(gpt2, feature_dim=8)
    config = replace(AVT, encoder=EncoderConfig(feature_dim=8, map=has_map))
    conversion = convert_published(stored, config, num_actions=NUM_ACTIONS)
    assert set(conversion.filled) == {"encoder.feature_scale", *filled}
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    model.load_state_dict(conversion.state, strict=True)
    features = torch.randn(2, 3, 8)
    torch.testing.assert_close(model(features).logits, avt_by_parts(stored, gpt2, features), rtol=1e-4, atol=1e-5)


def test_classifiers_of_verbs_and_nouns_are_taken_where_they_are_asked_for():
    stored = published_avt(make_gpt2())
    for field, num_classes in (("verb", 3), ("noun", 4)):
        stored[f"classifiers.{field}.weight"], stored[f"classifiers.{field}.bias"] = (
            drawn(num_classes, 8),
            drawn(num_classes),
        )
    without = convert_published(stored, AVT, num_actions=NUM_ACTIONS)
    assert "classifiers.verb.bias" in without.left_out
    config = replace(AVT, head=replace(AVT.head, verb_noun=True))
    taken = convert_published(stored, config, num_actions=NUM_ACTIONS)
    assert torch.equal(taken.state["field_classifiers.noun.linear.weight"], stored["classifiers.noun.weight"])
    with pytest.raises(ConfigError, match=r"verb\.linear\.weight of the model has no classifiers\.verb\.weight"):
        convert_published(published_avt(make_gpt2()), config, num_actions=NUM_ACTIONS)


def test_classes_can_be_put_into_another_order():
    stored = published_rulstm()
    order = [3, 0, 4]
    state = convert_published(stored, RULSTM, num_actions=3, class_order=order).state
    for index in range(2):
        assert torch.equal(
            state[f"branches.{index}.classifier.weight"], stored[f"branches.{index}.classifier.1.weight"][order]
        )
        assert torch.equal(
            state[f"branches.{index}.classifier.bias"], stored[f"branches.{index}.classifier.1.bias"][order]
        )


def test_a_class_that_the_checkpoint_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"classes 0\.\.5, the checkpoint has 0\.\.4"):
        convert_published(published_rulstm(), RULSTM, num_actions=2, class_order=[0, 5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored.pop("MATT.3.bias"), r"layers\.3\.bias of the model has no MATT\.3\.bias"),
        (
            lambda stored: stored.update({"MATT.9.bias": drawn(3)}),
            r"MATT\.9\.bias \(3,\) of the checkpoint has no place",
        ),
        (
            lambda stored: stored.update({"MATT.6.bias": drawn(3)}),
            r"MATT\.6\.bias of the checkpoint is \(3,\), modality_attention\.layers\.6\.bias of the model needs \(2,\)",
        ),
    ],
)
def test_a_tensor_too_few_too_many_or_of_another_shape_is_an_error(change, message):
    stored = published_rulstm()
    change(stored)
    with pytest.raises(ConfigError, match=rf"1 faults: .*{message}"):
        convert_published(stored, RULSTM, num_actions=NUM_ACTIONS)


def test_an_error_says_what_the_rulstm_checkpoint_was_built_with():
    wrong = replace(RULSTM, rulstm=replace(RULSTM.rulstm, hidden_dim=8))
    with pytest.raises(ConfigError, match=r"modalities=\[4, 3\], model\.rulstm\.hidden_dim=6 and 5 actions; set the"):
        convert_published(published_rulstm(), wrong, num_actions=NUM_ACTIONS)


def test_an_error_says_what_the_avt_checkpoint_was_built_with():
    shallow = replace(AVT, decoder=replace(AVT.decoder, num_layers=1))
    sizes = "model.width=8, model.decoder.width=16, model.decoder.num_layers=2, model.encoder.feature_dim=6, 5 actions"
    with pytest.raises(ConfigError, match=sizes):
        convert_published(published_avt(make_gpt2()), shallow, num_actions=NUM_ACTIONS)


def test_weights_of_the_other_model_are_refused():
    with pytest.raises(
        ConfigError, match=r"model\.name=rulstm was asked for, but future_predictor\.\S+ .*more are weights of avt"
    ):
        convert_published(published_avt(make_gpt2()), RULSTM, num_actions=NUM_ACTIONS)
    with pytest.raises(
        ConfigError, match=r"model\.name=avt was asked for, but branches\.0\.rolling.*weights of rulstm"
    ):
        convert_published(published_rulstm(), AVT, num_actions=NUM_ACTIONS)


def test_names_of_nobody_are_listed():
    with pytest.raises(
        ConfigError, match=r"such as branches\.0\.rolling_lstm.*got a\.weight, b\.weight; these are the"
    ):
        convert_published({"a.weight": drawn(2), "b.weight": drawn(2)}, RULSTM, num_actions=NUM_ACTIONS)


def test_the_assumed_number_of_heads_is_told():
    conversion = convert_published(published_avt(make_gpt2()), AVT, num_actions=NUM_ACTIONS)
    assert conversion.assumed.startswith("model.decoder.num_heads=2 was assumed: no file stores it")
    assert "8 on 50 Salads" in conversion.assumed
    assert convert_published(published_rulstm(), RULSTM, num_actions=NUM_ACTIONS).assumed == ""


def test_an_error_says_which_frames_the_vit_of_an_avt_checkpoint_reads():
    stored = published_avt(make_gpt2(), feature_dim=8)
    stored["backbone.model.pos_embed"] = drawn(1, 10, 8)
    stored["backbone.model.patch_embed.proj.weight"] = drawn(8, 3, 16, 16)
    with pytest.raises(
        ConfigError, match=r"9 patches of 16 pixels, e\.g\. model\.encoder\.image_height=48 and image_width=48"
    ):
        convert_published(stored, AVT, num_actions=NUM_ACTIONS)


def test_there_is_no_converter_for_a_model_that_nobody_published(tmp_path):
    with pytest.raises(ConfigError, match="'frequency'; choose one of sgear, avt, rulstm"):
        read_published(tmp_path / "any.pth", model_config(name="frequency"))


def written_by_numpy_1(values: object, path: Path) -> None:
    """Write a checkpoint in which numpy numbers have the module name of numpy 1."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(entry, content)


@torch.no_grad()
@pytest.mark.parametrize("write", [torch.save, written_by_numpy_1])
def test_a_checkpoint_with_scores_and_a_wrapped_model_is_read(tmp_path, write):
    # RULSTM saves its best score, a numpy number, beside the weights.
    stored = published_rulstm()
    wrapped = {f"module.{name}": tensor for name, tensor in stored.items()}
    path = tmp_path / "RULSTM-anticipation_best.pth.tar"
    write({"state_dict": wrapped, "epoch": 7, "perf": np.float64(12.5), "best_perf": np.float64(13.0)}, path)
    model, conversion = build_published(read_published(path, RULSTM), RULSTM, num_actions=NUM_ACTIONS)
    expected = convert_published(stored, RULSTM, num_actions=NUM_ACTIONS)
    assert not model.training
    assert all(torch.equal(conversion.state[name], tensor) for name, tensor in expected.state.items())


def test_a_file_without_weights_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "history": [1.0]}, tmp_path / "log.pth")
    with pytest.raises(RunError, match=r"by name, alone or under model or state_dict; got 'epoch', 'history'"):
        read_checkpoint(tmp_path / "log.pth")
