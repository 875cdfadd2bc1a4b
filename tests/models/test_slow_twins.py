"""Modules against twins written with loops from their equations."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_models import clip_of, randomise, tiny_model

from sgear.errors import ConfigError
from sgear.models import DecoderConfig, EncoderConfig, HeadConfig, build_model, model_config
from sgear.models.base import hide_absent
from sgear.models.causal_decoder import CausalDecoder
from sgear.models.heads import PrototypeMix, cosine_similarity
from sgear.models.stepwise import features_for_past
from sgear.torchvision_guard import guard_torchvision


def test_a_frame_is_the_gated_mean_of_its_context_and_of_what_it_reads_of_the_prototypes():
    model, clip = tiny_model("sgear"), clip_of(0, 2, 4)
    with torch.no_grad():
        tokens = model.encoder(clip)
        informed = model.temporal_context(tokens)
        # Prototype attention reads the class tokens before TCA.
        related = model.prototype_attention(tokens[:, :, 0], model.bank.visual)
        gate = 1 / (1 + math.exp(-0.5))
        observed = model(clip).observed
    for b in range(2):
        for t in range(4):
            expected = gate * informed[b, t, 0] + (1 - gate) * related[b, t]
            torch.testing.assert_close(observed[b, t], expected)


def test_a_step_is_judged_by_the_feature_predicted_for_it_or_by_its_own_where_nothing_precedes_it():
    observed, predicted = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[False, True, True, True], [True] * 4])
    for known in (mask, None):
        past = features_for_past(observed, predicted, known)
        for b in range(2):
            for t in range(4):
                has_past = t > 0 and (known is None or bool(known[b, t - 1]))
                assert torch.equal(past[b, t], predicted[b, t - 1] if has_past else observed[b, t])


@pytest.mark.parametrize("whose", ["predicted", "encoder"])
def test_the_past_is_like_the_prototypes_as_its_predicted_features_or_as_the_class_tokens_of_its_frames(whose):
    model, clip = tiny_model("sgear"), clip_of(0, 2, 4)
    model.config = replace(model.config, head=replace(model.config.head, past_similarity=whose))
    mask = torch.tensor([[False, True, True, True], [True] * 4])
    with torch.no_grad():
        output = model(clip, mask)
        # The class tokens before temporal context and prototype attention, as the released code with both reads them.
        features = model.encoder(hide_absent(clip, mask))[:, :, 0]
        if whose == "predicted":
            features = features_for_past(output.observed, output.predicted, mask)
        prototypes = model.bank.visual
        for b in range(2):
            for t in range(4):
                for k, prototype in enumerate(prototypes):
                    lengths = features[b, t].norm() * prototype.norm()
                    cosine = 0.0 if lengths == 0 else float(features[b, t] @ prototype / lengths)
                    assert output.past_similarity[b, t, k].item() == pytest.approx(cosine, abs=1e-5)


def test_features_without_a_map_reach_the_decoder_as_they_are():
    model = build_model(
        model_config(
            name="avt",
            width=6,
            max_steps=4,
            encoder=EncoderConfig(feature_dim=6, map=False),
            decoder=DecoderConfig(width=8, num_layers=1, num_heads=2),
        ),
        num_actions=3,
    ).eval()
    clip = torch.randn(2, 4, 6)
    assert torch.equal(model(clip).observed, clip)
    assert not [name for name, _ in model.named_parameters() if name.startswith("encoder")]


def test_features_of_another_width_need_their_map():
    with pytest.raises(ConfigError, match=r"map=false hands on 5 numbers per step as they are, but model\.width=6"):
        build_model(model_config(width=6, encoder=EncoderConfig(feature_dim=5, map=False)), num_actions=3)


def test_prototype_mix_equals_its_formula():
    mix = PrototypeMix(HeadConfig(temperature=0.5))
    features, prototypes = torch.randn(2, 4), torch.randn(3, 4)
    similarity = cosine_similarity(features, prototypes)
    mixed = mix(features, similarity, prototypes)
    gate = 1 / (1 + math.exp(-0.5))
    for b in range(2):
        cosines = [float(features[b] @ prototypes[k] / features[b].norm() / prototypes[k].norm()) for k in range(3)]
        shares = torch.tensor(cosines).div(0.5).softmax(0)
        read_out = sum(shares[k] * prototypes[k] for k in range(3))
        torch.testing.assert_close(mixed[b], gate * features[b] + (1 - gate) * read_out)


def test_decoder_equals_the_gpt2_of_transformers():
    guard_torchvision()
    transformers = __import__("transformers")
    width, num_layers, num_heads, num_steps = 16, 2, 4, 5
    decoder = randomise(
        CausalDecoder(
            DecoderConfig(width=width, num_layers=num_layers, num_heads=num_heads), feature_dim=6, max_steps=8
        )
    )
    gpt2 = transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=1, n_positions=8, n_embd=width, n_layer=num_layers, n_head=num_heads)
    ).eval()
    with torch.no_grad():
        gpt2.wpe.weight.copy_(decoder.positions.weight)
        gpt2.ln_f.load_state_dict(decoder.norm.state_dict())
        for ours, theirs in zip(decoder.blocks, gpt2.h, strict=True):
            theirs.ln_1.load_state_dict(ours.attention_norm.state_dict())
            theirs.ln_2.load_state_dict(ours.mlp_norm.state_dict())
            for linear, conv in (
                (ours.qkv, theirs.attn.c_attn),
                (ours.attention_out, theirs.attn.c_proj),
                (ours.mlp_in, theirs.mlp.c_fc),
                (ours.mlp_out, theirs.mlp.c_proj),
            ):
                conv.weight.copy_(linear.weight.T)
                conv.bias.copy_(linear.bias)
        features = torch.randn(2, num_steps, 6)
        expected = decoder.project_out(gpt2(inputs_embeds=decoder.project_in(features)).last_hidden_state)
        torch.testing.assert_close(decoder(features), expected, rtol=1e-4, atol=1e-5)
