"""Frame encoders from timm: its own tokens, its own weights, and files that do not fit."""

import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import PIXELS, WIDTH

from sgear.errors import ConfigError, RunError
from sgear.models import EncoderConfig
from sgear.models.encoders import TimmEncoder, frame_size, frame_statistics
from sgear.torchvision_guard import import_timm

SIZES = {"embed_dim": WIDTH, "depth": 1, "num_heads": 2, "patch_size": 8}


def published(name: str = "vit_tiny_patch16_224", img_size=(16, 32), **sizes) -> torch.nn.Module:
    torch.manual_seed(5)
    return import_timm().create_model(name, num_classes=9, img_size=img_size, **(SIZES | sizes)).eval()


def test_tokens_are_those_of_timm(tmp_path):
    vit = published()
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    encoder = TimmEncoder(replace(PIXELS, weights=str(tmp_path / "vit.safetensors")), width=WIDTH).eval()
    clip = torch.randn(2, 3, 3, 16, 32)
    with torch.no_grad():
        tokens, expected = encoder(clip), vit.forward_features(clip.flatten(0, 1))
    torch.testing.assert_close(tokens, expected.unflatten(0, (2, 3)))
    loaded, missing, unexpected = encoder.loaded
    assert loaded.startswith(f"from {tmp_path / 'vit.safetensors'}: loaded 18 tensors: encoder 18 (encoder.vit.")
    assert missing.endswith("missing none")
    assert "unexpected 2 tensors: head 2 (head.bias, head.weight)" in unexpected


def test_a_map_to_another_width_is_reported_as_missing(tmp_path):
    save_file(published().state_dict(), tmp_path / "vit.safetensors")
    encoder = TimmEncoder(replace(PIXELS, weights=str(tmp_path / "vit.safetensors")), width=2 * WIDTH)
    assert (
        "missing 2 tensors: encoder 2 (encoder.project.weight, encoder.project.bias); they keep their start values"
        in encoder.loaded[1]
    )
    assert TimmEncoder(PIXELS, width=2 * WIDTH).loaded == []


@pytest.fixture
def hub(tmp_path) -> tuple[str, torch.nn.Module]:
    """A model in the layout of the hub, in a local folder, and its name for timm."""
    vit = published()
    import_timm().models.save_for_hf(vit, str(tmp_path), model_config={}, safe_serialization=True)
    return f"local-dir:{tmp_path}", vit


def test_what_timm_publishes_is_told_like_a_file(hub):
    name, vit = hub
    encoder = TimmEncoder(replace(PIXELS, name=name, pretrained=True), width=2 * WIDTH)
    assert torch.equal(encoder.vit.blocks[0].attn.qkv.weight, vit.blocks[0].attn.qkv.weight)
    loaded, missing, unexpected = encoder.loaded
    assert loaded.startswith(f"from timm's published weights of {name}: loaded 18 tensors: encoder 18 (encoder.vit.")
    assert "missing 2 tensors: encoder 2 (encoder.project.weight" in missing
    assert unexpected.endswith("unexpected none")


def test_published_weights_that_leave_tensors_at_random_are_refused(hub):
    name, _ = hub
    with pytest.raises(RunError, match=r"have nothing for 12 tensors .*blocks\.1.*remove model\.encoder\.depth"):
        TimmEncoder(replace(PIXELS, name=name, pretrained=True, depth=2), width=WIDTH)


def test_published_weights_that_are_not_used_are_told(tmp_path):
    vit = published(depth=2)
    import_timm().models.save_for_hf(vit, str(tmp_path), model_config={}, safe_serialization=True)
    encoder = TimmEncoder(replace(PIXELS, name=f"local-dir:{tmp_path}", pretrained=True), width=WIDTH)
    assert "unexpected 12 tensors: blocks 12 (blocks.1." in encoder.loaded[2]


def test_the_log_of_timm_is_left_as_it_was(hub):
    log = logging.getLogger("timm.models._builder")
    before = (log.level, log.propagate, list(log.handlers))
    TimmEncoder(replace(PIXELS, name=hub[0], pretrained=True), width=WIDTH)
    assert (log.level, log.propagate, list(log.handlers)) == before


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_pth_file_may_wrap_its_tensors(tmp_path, wrapper):
    vit, path = published(), tmp_path / "vit.pth"
    stored = {f"module.{name}": tensor for name, tensor in vit.state_dict().items()}
    torch.save(stored if wrapper is None else {wrapper: stored, "epoch": 3}, path)
    encoder = TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)
    assert torch.equal(encoder.vit.blocks[0].attn.qkv.weight, vit.blocks[0].attn.qkv.weight)


def test_the_positional_embedding_is_resized_by_timm(tmp_path):
    vit, path = published(img_size=(32, 32)), tmp_path / "vit.safetensors"
    save_file(vit.state_dict(), path)
    encoder = TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)
    expected = import_timm().layers.resample_abs_pos_embed(
        vit.pos_embed, new_size=[2, 4], old_size=[4, 4], num_prefix_tokens=1
    )
    torch.testing.assert_close(encoder.vit.pos_embed, expected)
    assert "pos_embed resized from (1, 17, 32) to (1, 9, 32)" in encoder.loaded[0]


def test_weights_of_another_vit_are_refused_with_both_sides(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(published(depth=2).state_dict(), path)
    with pytest.raises(RunError, match=r"not the weights of this ViT: 12 are not known here.*blocks\.1"):
        TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)
    save_file(published(embed_dim=64).state_dict(), path)
    with pytest.raises(RunError, match=r"is \(1, 1, 64\), expected \(1, 1, 32\)"):
        TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)


def test_a_vit_without_class_token_gets_its_pooled_feature_in_front():
    torch.manual_seed(0)
    config = replace(PIXELS, name="vit_base_patch16_siglip_224")
    encoder = TimmEncoder(config, width=WIDTH).eval()
    clip = torch.randn(1, 2, 3, 16, 32)
    with torch.no_grad():
        tokens = encoder(clip)
        patches = encoder.vit.forward_features(clip[0])
        pooled = encoder.vit.forward_head(patches, pre_logits=True)
    assert tokens.shape == (1, 2, 9, WIDTH)
    torch.testing.assert_close(tokens[0, :, 0], pooled)
    torch.testing.assert_close(tokens[0, :, 1:], patches)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EncoderConfig(name="resnet18"), "is no plain ViT"),
        (EncoderConfig(name="naflexvit_base_patch16_gap", depth=1, embed_dim=32, num_heads=2), "is no plain ViT"),
        (replace(PIXELS, name="resnet18"), "cannot be built by timm"),
        (EncoderConfig(name="vit_of_my_own"), "vit_of_my_own.*list_models"),
    ],
)
def test_a_name_that_is_no_vit_of_timm_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        TimmEncoder(config, width=WIDTH)


def test_frames_of_another_size_are_refused_with_both_sizes():
    with pytest.raises(ConfigError, match=r"\(16, 32\).*\(1, 2, 3, 32, 32\)"):
        TimmEncoder(PIXELS, width=WIDTH)(torch.zeros(1, 2, 3, 32, 32))


def test_frame_statistics_are_those_the_model_was_trained_with():
    assert frame_statistics("vit_base_patch16_384.orig_in21k_ft_in1k") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert frame_statistics("vit_base_patch14_reg4_dinov2.lvd142m")[0] == (0.485, 0.456, 0.406)


def test_frames_have_the_size_that_timm_names_unless_both_sides_are_set():
    config = EncoderConfig(name="vit_base_patch16_384")
    assert frame_size(config) == (384, 384)
    assert frame_size(replace(config, image_height=224, image_width=320)) == (224, 320)
    with pytest.raises(ConfigError, match=r"image_height=224 and image_width=0: set both, or neither"):
        frame_size(replace(config, image_height=224))
    with pytest.raises(ConfigError, match=r"image_width=32: set both, or neither"):
        TimmEncoder(replace(PIXELS, image_height=0), width=WIDTH)
    with pytest.raises(ConfigError, match=r"must be set: timm says no size for 'features'"):
        frame_size(EncoderConfig())


def test_an_encoder_without_a_size_reads_frames_of_the_size_that_timm_names():
    config = EncoderConfig(name="vit_tiny_patch16_224", embed_dim=WIDTH, depth=1, num_heads=2)
    assert tuple(TimmEncoder(config, width=WIDTH).image_size) == frame_size(config) == (224, 224)
