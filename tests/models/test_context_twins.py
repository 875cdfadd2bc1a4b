"""TCA against twins written with loops from their equations."""

import math

import pytest
import torch
from tiny_models import randomise

from sgear.errors import ConfigError
from sgear.models import TemporalContextConfig
from sgear.models.temporal_context import TemporalContextAggregator

NUM_STEPS, NUM_TOKENS, WIDTH, HEAD_DIM = 4, 3, 64, 32
HEADS = range(WIDTH // HEAD_DIM)


def make_context(mode: str, **settings) -> TemporalContextAggregator:
    config = TemporalContextConfig(num_blocks=1, mode=mode, **settings)
    context = randomise(TemporalContextAggregator(config, width=WIDTH, max_steps=6))
    with torch.no_grad():
        for name, parameter in context.named_parameters():
            if "step_weights" in name:
                parameter.copy_(torch.tensor([0.5, 2.0, 1.5, 0.7, 1.0, 1.0]))
            if "log_lifetime" in name:
                parameter.copy_(torch.tensor([0.4, 1.6]).log())
    return context


def finish(block, tokens, attended):
    expected = tokens + block.attention_out(attended)[None]
    return expected + block.mlp_out(torch.nn.functional.gelu(block.mlp_in(block.mlp_norm(expected))))


def attend(query, keys, values):
    scores = torch.stack([query @ key / math.sqrt(HEAD_DIM) for key in keys])
    return scores.softmax(0) @ torch.stack(list(values))


def split_qkv(block, tokens):
    return block.qkv(block.attention_norm(tokens))[0].split(WIDTH, dim=-1)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mode", ["cumulative", "decay"])
def test_a_context_of_sums_equals_the_weighted_sum_over_earlier_frames_that_exist(mode, normalise):
    context = make_context(mode, normalise=normalise)
    block, tokens = context.blocks[0], torch.randn(1, NUM_STEPS, NUM_TOKENS, WIDTH)
    mask = [True, False, True, True]
    query, key, value = split_qkv(block, tokens)
    attended = torch.zeros(NUM_STEPS, NUM_TOKENS, WIDTH)
    for t in range(NUM_STEPS):
        for head in HEADS:
            part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
            weights = {}
            for s in range(t):
                if mask[s] and mode == "cumulative":
                    weights[s] = block.step_weights[s].item()
                elif mask[s]:
                    weights[s] = math.exp(-(t - s) / [0.4, 1.6][head])
            norm = max(1.0, sum(weights.values())) if normalise else 1.0
            keys, values = key[t, :, part].clone(), value[t, :, part].clone()
            for s, weight in weights.items():
                keys = keys + weight * key[s, :, part] / norm
                values = values + weight * value[s, :, part] / norm
            for n in range(NUM_TOKENS):
                attended[t, n, part] = attend(query[t, n, part], keys, values)
    torch.testing.assert_close(
        context(tokens, torch.tensor([mask])), finish(block, tokens, attended), rtol=1e-4, atol=1e-5
    )


def test_a_causal_context_equals_attention_over_all_tokens_of_earlier_frames_that_exist():
    context = make_context("causal")
    block, tokens = context.blocks[0], torch.randn(1, NUM_STEPS, NUM_TOKENS, WIDTH)
    mask = [True, False, True, True]
    query, key, value = split_qkv(block, tokens)
    attended = torch.zeros(NUM_STEPS, NUM_TOKENS, WIDTH)
    for t in range(NUM_STEPS):
        seen = [s for s in range(t + 1) if mask[s] or s == t]
        for head in HEADS:
            part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
            for n in range(NUM_TOKENS):
                keys = [key[s, m, part] for s in seen for m in range(NUM_TOKENS)]
                values = [value[s, m, part] for s in seen for m in range(NUM_TOKENS)]
                attended[t, n, part] = attend(query[t, n, part], keys, values)
    torch.testing.assert_close(
        context(tokens, torch.tensor([mask])), finish(block, tokens, attended), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mode", ["cumulative", "decay"])
def test_one_token_per_frame_is_read_without_attention_and_gives_its_values_and_gradients(mode, normalise):
    context = make_context(mode, normalise=normalise)
    block, tokens = context.blocks[0], torch.randn(2, NUM_STEPS, 1, WIDTH)
    mask = torch.tensor([[True, False, True, True], [False, False, True, True]])
    results = []
    for read in (block.read_clip, lambda normed, mask: block.attend(*block._project(normed), mask)):
        leaf = tokens.clone().requires_grad_()
        context.zero_grad()
        value = read(leaf, mask)
        value.square().sum().backward()
        past_weights = block.step_weights if mode == "cumulative" else block.log_lifetime
        results.append([value.detach(), leaf.grad, block.qkv.weight.grad.clone(), past_weights.grad.clone()])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_tokens", [1, 3])
@pytest.mark.parametrize("mode", ["cumulative", "decay"])
def test_a_long_clip_says_what_its_stream_says(mode, num_tokens):
    config = TemporalContextConfig(num_blocks=1, mode=mode, detach_past=False)
    context = TemporalContextAggregator(config, width=WIDTH, max_steps=80)
    tokens, mask = torch.randn(2, 80, num_tokens, WIDTH), torch.rand(2, 80) > 0.3
    with torch.no_grad():
        state, steps = None, []
        for step_idx in range(80):
            step, state = context.step(tokens[:, step_idx], state, mask[:, step_idx])
            steps.append(step)
        torch.testing.assert_close(context(tokens, mask), torch.stack(steps, dim=1), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("mode", ["cumulative", "decay"])
def test_sums_over_the_past_keep_float32_under_autocast(mode):
    block = make_context(mode).blocks[0]
    values, real = torch.randn(2, NUM_STEPS, 2, 3, HEAD_DIM), torch.ones(2, NUM_STEPS, 2, 1, 1)
    with torch.no_grad():
        expected = block._sums(values, real)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            summed = block._sums(values, real)
    assert summed.dtype == torch.float32
    assert torch.equal(summed, expected)


@pytest.mark.parametrize("mode", ["cumulative", "decay", "causal"])
def test_detaching_the_past_changes_gradients_and_not_values(mode):
    tokens = torch.randn(1, NUM_STEPS, NUM_TOKENS, WIDTH)
    outputs, reaches_past = {}, {}
    for detach_past in (True, False):
        leaf = tokens.clone().requires_grad_()
        outputs[detach_past] = make_context(mode, detach_past=detach_past)(leaf)
        outputs[detach_past][:, -1].sum().backward()
        reaches_past[detach_past] = bool(leaf.grad[:, :-1].abs().sum() > 0)
        assert leaf.grad[:, -1].abs().sum() > 0
    torch.testing.assert_close(outputs[True], outputs[False], rtol=1e-4, atol=1e-5)
    assert reaches_past == {True: False, False: True}


@pytest.mark.parametrize("mode", ["cumulative", "decay", "causal"])
def test_detaching_the_past_in_training_says_what_evaluation_says(mode):
    context, tokens = make_context(mode), torch.randn(2, NUM_STEPS, NUM_TOKENS, WIDTH)
    with torch.no_grad():
        expected = context(tokens)
    torch.testing.assert_close(context(tokens.requires_grad_()), expected, rtol=1e-4, atol=1e-5)


def test_the_weights_of_the_past_learn():
    for mode, name in (("cumulative", "step_weights"), ("decay", "log_lifetime")):
        context = make_context(mode)
        context(torch.randn(1, NUM_STEPS, NUM_TOKENS, WIDTH)).square().sum().backward()
        assert getattr(context.blocks[0], name).grad.abs().sum() > 0


@pytest.mark.parametrize("mode", ["cumulative", "causal"])
def test_a_clip_longer_than_the_context_was_built_for_is_refused(mode):
    with pytest.raises(ValueError, match=r"7 steps.*at most 6"):
        make_context(mode)(torch.zeros(1, 7, NUM_TOKENS, WIDTH))


def test_an_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="cumulative, decay, causal or original"):
        make_context("sideways")
