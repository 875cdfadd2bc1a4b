"""Laws that every anticipation model holds, whatever its weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.models import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    ModelConfig,
    PrototypeAttentionConfig,
    TemporalContextConfig,
    build_model,
)

NUM_ACTIONS, FEATURE_DIM, MAX_STEPS = 7, 6, 8


def tiny_model(name: str, *, pixels: bool = False):
    torch.manual_seed(0)
    encoder = (
        EncoderConfig(
            name="vit_tiny_patch16_224",
            image_height=16,
            image_width=32,
            embed_dim=32,
            depth=1,
            num_heads=2,
            patch_size=8,
        )
        if pixels
        else EncoderConfig(feature_dim=FEATURE_DIM)
    )
    config = ModelConfig(
        name=name,
        width=32,
        max_steps=MAX_STEPS,
        encoder=encoder,
        temporal_context=TemporalContextConfig(num_blocks=2 if name == "sgear" else 0),
        prototype_attention=PrototypeAttentionConfig(num_heads=2),
        decoder=DecoderConfig(width=32, num_layers=2, num_heads=2),
        head=HeadConfig(mix_prototypes=True),
    )
    model = build_model(config, num_actions=NUM_ACTIONS).eval()
    # Trained weights are not small; at their start many paths are almost switched off.
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def clip_of(seed: int, batch: int, steps: int, *, pixels: bool = False) -> torch.Tensor:
    shape = (batch, steps, 3, 16, 32) if pixels else (batch, steps, FEATURE_DIM)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("name", ["sgear", "avt"])
@given(seed=st.integers(0, 1000), steps=st.integers(2, MAX_STEPS), data=st.data())
def test_changing_a_step_leaves_every_output_before_it_equal(name, pixels, seed, steps, data):
    model = tiny_model(name, pixels=pixels)
    changed_idx = data.draw(st.integers(0, steps - 1))
    clip = clip_of(seed, 2, steps, pixels=pixels)
    other = clip.clone()
    other[:, changed_idx] += 1.0
    with torch.no_grad():
        before, after = model(clip), model(other)
    assert torch.equal(before.predicted[:, :changed_idx], after.predicted[:, :changed_idx])
    assert torch.equal(before.observed[:, :changed_idx], after.observed[:, :changed_idx])
    assert not torch.equal(before.logits, after.logits)


@pytest.mark.parametrize("name", ["sgear", "avt"])
@given(seed=st.integers(0, 1000), first=st.integers(1, 3), second=st.integers(1, 3))
def test_a_clip_does_not_see_its_batch_mates(name, seed, first, second):
    model = tiny_model(name)
    clips = clip_of(seed, first + second, 5)
    with torch.no_grad():
        together = model(clips).logits
        apart = torch.cat([model(clips[:first]).logits, model(clips[first:]).logits])
    # Matrix products of another batch size may sum in another order.
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["sgear", "avt"])
@given(seed=st.integers(0, 1000), steps=st.integers(2, MAX_STEPS), data=st.data())
def test_what_fills_a_step_that_does_not_exist_is_never_read(name, seed, steps, data):
    model = tiny_model(name)
    num_missing = data.draw(st.integers(1, steps - 1))
    exists = torch.ones(1, steps, dtype=torch.bool)
    exists[:, :num_missing] = False
    clip = clip_of(seed, 1, steps)
    other = clip.clone()
    other[:, :num_missing] = 100.0
    with torch.no_grad():
        first, second = model(clip, exists), model(other, exists)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.past_logits[:, num_missing:], second.past_logits[:, num_missing:])


@pytest.mark.parametrize("name", ["sgear", "avt"])
@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_any_length_up_to_the_built_one_is_read(name, steps):
    output = tiny_model(name)(clip_of(0, 2, steps))
    assert output.logits.shape == (2, NUM_ACTIONS)
    assert output.past_logits.shape == (2, steps, NUM_ACTIONS)


def test_a_clip_longer_than_built_for_is_refused_with_both_lengths():
    with pytest.raises(ValueError, match=r"9 steps.*at most 8"):
        tiny_model("avt")(clip_of(0, 1, 9))


def test_permuting_the_classes_permutes_the_scores():
    model = tiny_model("sgear")
    order = torch.randperm(NUM_ACTIONS, generator=torch.Generator().manual_seed(3))
    clip = clip_of(1, 2, 5)
    with torch.no_grad():
        before = model(clip).logits
        model.bank.visual.copy_(model.bank.visual[order])
        model.classifier.linear.weight.copy_(model.classifier.linear.weight[order])
        model.classifier.linear.bias.copy_(model.classifier.linear.bias[order])
        after = model(clip).logits
    torch.testing.assert_close(after, before[:, order], rtol=1e-5, atol=1e-5)


def test_prototype_attention_can_keep_its_gradient_from_the_prototypes():
    model = tiny_model("sgear")
    attended = model.prototype_attention(torch.randn(1, 3, 32), model.bank.visual)
    attended.sum().backward()
    assert model.bank.visual.grad is None
