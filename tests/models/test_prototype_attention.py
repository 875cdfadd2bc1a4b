"""Prototype attention against twins written with loops, and what each form promises."""

import math

import pytest
import torch
from tiny_models import randomise

from sgear.errors import ConfigError
from sgear.models import PrototypeAttentionConfig
from sgear.models.prototype_attention import build_prototype_attention, nearest_prototypes

WIDTH, NUM_HEADS, NUM_ACTIONS, NUM_STEPS = 16, 4, 5, 3
HEAD_DIM = WIDTH // NUM_HEADS


def make_attention(**settings):
    config = PrototypeAttentionConfig(**({"num_heads": NUM_HEADS} | settings))
    return randomise(build_prototype_attention(config, width=WIDTH, num_actions=NUM_ACTIONS, max_steps=6))


def rank_by_cosine(frames, prototypes, exists):
    mean = sum(frame for frame, real in zip(frames, exists, strict=True) if real)
    cosines = [float(mean @ row / mean.norm() / row.norm()) for row in prototypes]
    return sorted(range(len(prototypes)), key=lambda row: -cosines[row])


def parts():
    return [slice(head * HEAD_DIM, (head + 1) * HEAD_DIM) for head in range(NUM_HEADS)]


@pytest.mark.parametrize("settings", [{}, {"share": 0.4}, {"num_prototypes": 3}, {"top_k": 2}])
def test_frames_read_a_softmax_over_the_prototypes_that_take_part(settings):
    attention = make_attention(**settings)
    frames, prototypes = torch.randn(2, NUM_STEPS, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)
    exists = torch.tensor([[False, True, True], [True, True, True]])
    read = torch.zeros(2, NUM_STEPS, WIDTH)
    for b in range(2):
        rows = list(range(NUM_ACTIONS)) if attention.subset is None else attention.subset.tolist()
        if "top_k" in settings:
            rows = rank_by_cosine(frames[b], prototypes, exists[b])[:2]
        key, value = attention.key_value(prototypes[rows]).split(WIDTH, dim=-1)
        for t in range(NUM_STEPS):
            query = attention.query(frames[b, t])
            for part in parts():
                scores = torch.stack([query[part] @ row[part] / math.sqrt(HEAD_DIM) for row in key])
                read[b, t, part] = scores.softmax(0) @ value[:, part]
    torch.testing.assert_close(attention(frames, prototypes, exists), attention.out(read), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"toeplitz": False}, {"top_k": 2}])
def test_the_released_form_equals_its_loops(settings):
    attention = make_attention(mode="released", **settings)
    frames, prototypes = torch.randn(2, NUM_STEPS, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)
    exists = torch.tensor([[False, True, True], [True, True, True]])
    read = torch.zeros(2, NUM_STEPS, WIDTH)
    for b in range(2):
        order = rank_by_cosine(frames[b], prototypes, exists[b])[: settings.get("top_k", NUM_STEPS)]
        chosen = prototypes[[order[t % len(order)] for t in range(NUM_STEPS)]]
        for t in range(NUM_STEPS):
            seen = [s for s in range(t + 1) if exists[b, s] or s == t]
            for head, part in enumerate(parts()):
                scores = torch.stack([chosen[t, part] @ frames[b, s, part] / math.sqrt(HEAD_DIM) for s in seen])
                shares = scores.softmax(0)
                if settings.get("toeplitz", True):
                    wave = math.cos if head < 3 else math.sin
                    waves = torch.tensor([wave(attention.distance_weights[head, t - s].item()) for s in seen])
                    gate = attention.blend_gate.sigmoid()
                    shares = gate * shares + (1 - gate) * waves.softmax(0)
                read[b, t, part] = sum(share * chosen[s, part] for share, s in zip(shares, seen, strict=True))
    torch.testing.assert_close(attention(frames, prototypes, exists), attention.out(read), rtol=1e-4, atol=1e-5)


def test_the_released_form_fits_clips_longer_than_there_are_prototypes():
    attention = make_attention(mode="released")
    assert attention(torch.randn(2, 6, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)).shape == (2, 6, WIDTH)


def test_the_nearest_prototypes_come_in_order_and_per_clip():
    prototypes = torch.eye(4)
    frames = torch.tensor([[[3.0, 2.0, 1.0, 0.0]], [[0.0, 1.0, 2.0, 3.0]]])
    chosen = nearest_prototypes(frames, prototypes, torch.ones(2, 1, dtype=torch.bool), k=3)
    assert chosen.tolist() == [[0, 1, 2], [3, 2, 1]]


def test_a_share_of_the_prototypes_is_drawn_once_and_saved():
    first, again, other = (make_attention(share=0.4, subset_seed=seed) for seed in (1, 1, 2))
    assert len(first.subset) == 2
    assert torch.equal(first.subset, again.subset)
    assert "subset" in first.state_dict()
    subsets = {tuple(make_attention(share=0.4, subset_seed=seed).subset.tolist()) for seed in range(8)}
    assert len(subsets) > 1, other.subset


def test_all_prototypes_need_no_buffer():
    assert "subset" not in make_attention().state_dict()


@pytest.mark.parametrize("mode", ["paper", "released"])
@pytest.mark.parametrize("detach", [True, False])
def test_the_gradient_reaches_the_prototypes_where_it_is_let_through(mode, detach):
    attention = make_attention(mode=mode, detach_prototypes=detach)
    prototypes = torch.randn(NUM_ACTIONS, WIDTH, requires_grad=True)
    attention(torch.randn(1, NUM_STEPS, WIDTH), prototypes).square().sum().backward()
    assert (prototypes.grad is None) == detach


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\], got 0.0"),
        ({"share": 1.5}, r"share must be in \(0, 1\], got 1.5"),
        ({"num_prototypes": 6}, "6 prototypes.*5 actions"),
        ({"num_prototypes": 2, "top_k": 3}, "2 prototypes.*top 3"),
        ({"mode": "released", "top_k": 6}, "top 6.*5 actions"),
        ({"mode": "printed"}, "paper or released"),
    ],
)
def test_prototypes_that_cannot_be_asked_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_attention(**settings)
