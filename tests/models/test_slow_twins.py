"""Modules against twins written with loops from their equations."""

import math

import torch

from sgear.models import DecoderConfig, HeadConfig, PrototypeAttentionConfig, TemporalContextConfig
from sgear.models.causal_decoder import CausalDecoder
from sgear.models.heads import PrototypeMix, cosine_similarity
from sgear.models.prototype_attention import PrototypeAttention
from sgear.models.temporal_context import TemporalContextAggregator


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def test_temporal_context_equals_the_sum_over_earlier_frames():
    num_steps, num_tokens, width, head_dim = 4, 3, 64, 32
    module = randomise(TemporalContextAggregator(TemporalContextConfig(num_blocks=1), width=width, max_steps=6))
    block = module.blocks[0]
    with torch.no_grad():
        block.step_weights.copy_(torch.tensor([0.5, 2.0, 1.5, 0.7, 1.0, 1.0]))
    weights = block.step_weights.tolist()
    tokens = torch.randn(1, num_steps, num_tokens, width)
    qkv = block.qkv(block.attention_norm(tokens))[0]
    query, key, value = qkv.split(width, dim=-1)
    attended = torch.zeros(num_steps, num_tokens, width)
    for t in range(num_steps):
        total = sum(weights[:t])
        for head in range(width // head_dim):
            part = slice(head * head_dim, (head + 1) * head_dim)
            keys, values = key[t, :, part].clone(), value[t, :, part].clone()
            for s in range(t):
                keys = keys + weights[s] * key[s, :, part] / max(1.0, total)
                values = values + weights[s] * value[s, :, part] / max(1.0, total)
            for n in range(num_tokens):
                scores = torch.stack([query[t, n, part] @ keys[m] / math.sqrt(head_dim) for m in range(num_tokens)])
                attended[t, n, part] = scores.softmax(0) @ values
    expected = tokens + block.attention_out(attended)[None]
    expected = expected + block.mlp_out(torch.nn.functional.gelu(block.mlp_in(block.mlp_norm(expected))))
    torch.testing.assert_close(module(tokens), expected, rtol=1e-4, atol=1e-5)


def test_prototype_attention_equals_a_softmax_over_all_prototypes():
    width, num_heads, num_actions = 8, 2, 5
    module = randomise(PrototypeAttention(PrototypeAttentionConfig(num_heads=num_heads), width=width))
    frames, prototypes = torch.randn(2, 3, width), torch.randn(num_actions, width)
    key, value = module.key_value(prototypes).split(width, dim=-1)
    read = torch.zeros(2, 3, width)
    for b in range(2):
        for t in range(3):
            query = module.query(frames[b, t])
            for head in range(num_heads):
                part = slice(head * 4, head * 4 + 4)
                scores = torch.stack([query[part] @ key[k, part] / 2.0 for k in range(num_actions)])
                read[b, t, part] = scores.softmax(0) @ value[:, part]
    torch.testing.assert_close(module(frames, prototypes), module.out(read), rtol=1e-4, atol=1e-5)


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
