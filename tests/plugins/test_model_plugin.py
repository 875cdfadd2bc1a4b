"""The pages on how to add a model and an encoder: their code, installed as packages of somebody else, runs."""

import pytest
import torch
from installed import install

import sgear
import sgear.models

pytestmark = pytest.mark.skipif(not hasattr(sgear.models, "register_model"), reason="needs the registry of models")


def test_the_model_of_the_page_is_found_and_holds_the_laws(tmp_path, monkeypatch):
    install(tmp_path, "add-model.md", monkeypatch)
    assert "mean_pooled" in sgear.list_models()
    torch.manual_seed(0)
    net = sgear.create_model("mean_pooled", num_actions=5, feature_dim=8).eval()
    clip, mask = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    with torch.no_grad():
        scores = net(clip, mask).next_logits
        later = clip.clone()
        later[:, 4:] += 1
        torch.testing.assert_close(net(later, mask).next_logits[:, :4], scores[:, :4])
        absent = mask.clone()
        absent[:, :2] = False
        odd = clip.clone()
        odd[:, :2] = 100.0
        torch.testing.assert_close(net(odd, absent).logits, net(clip, absent).logits)
        assert not torch.allclose(net(clip, absent).logits, net(clip, mask).logits)


def test_the_encoder_of_the_page_is_found_and_reads_clips(tmp_path, monkeypatch):
    from sgear.models.encoders import build_encoder, frame_input

    install(tmp_path, "add-encoder.md", monkeypatch)
    config = sgear.models.EncoderConfig(name="mean-color")
    read = frame_input(config)
    assert (read.size, read.frames_per_step, read.step_frames_s) == ((32, 32), 4, 0.1)
    encoder = build_encoder(config, width=16, num_actions=5)
    assert encoder(torch.zeros(2, 3, read.frames_per_step, 3, *read.size)).shape == (2, 3, 1, 16)
