"""Frame encoders from timm: its own tokens, its own weights, and files that do not fit."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import PIXELS, WIDTH

from sgear.errors import ConfigError, RunError
from sgear.models import EncoderConfig
from sgear.models.encoders import TimmEncoder, frame_statistics
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
    assert encoder.loaded.startswith("encoder: 18 tensors from")
    assert "left out head.bias, head.weight" in encoder.loaded


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
    assert "pos_embed resized from (1, 17, 32) to (1, 9, 32)" in encoder.loaded


def test_weights_of_another_vit_are_refused_with_both_sides(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(published(depth=2).state_dict(), path)
    with pytest.raises(RunError, match=r"not the weights of this ViT: 12 are not known here.*blocks\.1"):
        TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)
    save_file(published(embed_dim=64).state_dict(), path)
    with pytest.raises(RunError, match=r"is \(1, 1, 64\), expected \(1, 1, 32\)"):
        TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)


class Bomb:
    def __reduce__(self):
        return print, ("executed",)


def test_a_file_with_code_is_not_executed(tmp_path, capsys):
    path = tmp_path / "vit.pth"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(RunError, match="was not executed"):
        TimmEncoder(replace(PIXELS, weights=str(path)), width=WIDTH)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "content"), [("a.safetensors", b"no"), ("a.pth", b"no"), ("none.pth", None)])
def test_a_damaged_or_missing_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=name):
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
        (EncoderConfig(name="resnet18"), "is no ViT"),
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
