import pytest
import torch

from sgear.models import build_model, model_config
from sgear.models.causal_decoder import CausalDecoder
from sgear.models.config import DecoderConfig, EncoderConfig, HeadConfig, PrototypeAttentionConfig
from sgear.models.encoders import FeatureEncoder
from sgear.models.sgear import SGear


def make_decoder(**settings) -> CausalDecoder:
    torch.manual_seed(0)
    return CausalDecoder(DecoderConfig(width=32, num_layers=1, num_heads=2, **settings), feature_dim=8, max_steps=6)


def test_without_positions_there_is_nothing_to_learn_about_them():
    assert make_decoder(positions=False).positions is None
    assert not [name for name, _ in make_decoder(positions=False).named_parameters() if "position" in name]


def test_without_positions_missing_steps_in_front_change_nothing():
    decoder = make_decoder(positions=False).eval()
    steps = torch.randn(2, 4, 8)
    padded = torch.cat([torch.zeros(2, 2, 8), steps], dim=1)
    mask = torch.tensor([[False, False, True, True, True, True]] * 2)
    assert torch.allclose(decoder(padded, mask)[:, 2:], decoder(steps), atol=1e-5)


def test_a_clip_that_is_too_long_is_refused_without_positions_too():
    with pytest.raises(ValueError, match="at most 6"):
        make_decoder(positions=False)(torch.zeros(1, 7, 8))


def test_init_std_sets_the_spread_of_the_weights():
    narrow, wide = make_decoder(), make_decoder(init_std=0.1)
    assert narrow.project_in.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert wide.project_in.weight.std().item() == pytest.approx(0.1, rel=0.2)


def test_init_gain_scales_the_first_map():
    def first_map(gain: float):
        torch.manual_seed(0)
        return FeatureEncoder(EncoderConfig(feature_dim=5, init_gain=gain), width=8, num_actions=3).project.weight

    assert torch.allclose(first_map(4.0), 4 * first_map(1.0))


def test_gates_start_where_they_are_told_to():
    config = model_config(
        width=32,
        max_steps=6,
        encoder=EncoderConfig(feature_dim=5),
        prototype_attention=PrototypeAttentionConfig(gate=1.5),
        decoder=DecoderConfig(width=32, num_layers=1, num_heads=2),
        head=HeadConfig(gate=-2.0),
    )
    model = build_model(config, num_actions=3)
    assert isinstance(model, SGear)
    assert model.fusion_gate is not None
    assert model.prototype_mix is not None
    assert (model.fusion_gate.item(), model.prototype_mix.gate.item()) == (1.5, -2.0)
