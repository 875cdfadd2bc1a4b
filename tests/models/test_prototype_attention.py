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


def rank_by_cosine(frames, prototypes, mask):
    """Ranks of the prototypes by their cosine to the mean of the real frames; all 0 where there is none."""
    mean = sum((frame for frame, real in zip(frames, mask, strict=True) if real), start=torch.zeros(WIDTH))
    cosines = [float(mean @ row / mean.norm().clamp(min=1e-12) / row.norm()) for row in prototypes]
    return sorted(range(len(prototypes)), key=lambda row: -cosines[row])


def parts():
    return [slice(head * HEAD_DIM, (head + 1) * HEAD_DIM) for head in range(NUM_HEADS)]


@pytest.mark.parametrize("settings", [{}, {"share": 0.4}, {"num_prototypes": 3}, {"top_k": 2}])
def test_frames_read_a_softmax_over_the_prototypes_that_take_part(settings):
    attention = make_attention(**settings)
    frames, prototypes = torch.randn(2, NUM_STEPS, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)
    mask = torch.tensor([[False, True, True], [True, True, True]])
    read = torch.zeros(2, NUM_STEPS, WIDTH)
    for b in range(2):
        for t in range(NUM_STEPS):
            rows = list(range(NUM_ACTIONS)) if attention.subset is None else attention.subset.tolist()
            if "top_k" in settings:
                rows = rank_by_cosine(frames[b, : t + 1], prototypes, mask[b, : t + 1])[:2]
            key, value = attention.key_value(prototypes[rows]).split(WIDTH, dim=-1)
            query = attention.query(frames[b, t])
            for part in parts():
                scores = torch.stack([query[part] @ row[part] / math.sqrt(HEAD_DIM) for row in key])
                read[b, t, part] = scores.softmax(0) @ value[:, part]
    # Before any real frame the choice of prototypes says nothing.
    answer, expected = attention(frames, prototypes, mask)[mask], attention.out(read)[mask]
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"toeplitz": False}, {"top_k": 2}])
def test_the_released_form_equals_its_loops(settings):
    attention = make_attention(mode="released", **settings)
    frames, prototypes = torch.randn(2, NUM_STEPS, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)
    mask = torch.tensor([[False, True, True], [True, True, True]])
    read = torch.zeros(2, NUM_STEPS, WIDTH)
    for b in range(2):
        for t in range(NUM_STEPS):
            ranked = rank_by_cosine(frames[b, : t + 1], prototypes, mask[b, : t + 1])
            chosen = prototypes[ranked[: settings.get("top_k", NUM_ACTIONS)]]
            for head, part in enumerate(parts()):
                shares = torch.stack([frames[b, t, part] @ row[part] / math.sqrt(HEAD_DIM) for row in chosen]).softmax(
                    0
                )
                if settings.get("toeplitz", True):
                    wave = math.cos if head < 3 else math.sin
                    distances = [abs(t - rank) for rank in range(len(chosen))]
                    waves = torch.tensor([wave(attention.distance_weights[head, far].item()) for far in distances])
                    gate = attention.blend_gate.sigmoid()
                    shares = gate * shares + (1 - gate) * waves.softmax(0)
                read[b, t, part] = sum(share * row[part] for share, row in zip(shares, chosen, strict=True))
    # Before any real frame the choice of prototypes says nothing.
    answer, expected = attention(frames, prototypes, mask)[mask], attention.out(read)[mask]
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("num_steps", "num_asked"), [(3, 3), (6, NUM_ACTIONS)])
def test_the_released_form_asks_as_many_prototypes_as_the_longest_clip_has_steps(num_steps, num_asked):
    config = PrototypeAttentionConfig(num_heads=NUM_HEADS, mode="released")
    attention = build_prototype_attention(config, width=WIDTH, num_actions=NUM_ACTIONS, max_steps=num_steps)
    assert attention.top_k == num_asked
    assert attention(torch.randn(2, num_steps, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)).shape == (2, num_steps, WIDTH)


def test_the_released_form_refuses_clips_longer_than_its_toeplitz_term():
    with pytest.raises(ValueError, match=r"7 steps.*at most 6"):
        make_attention(mode="released")(torch.randn(1, 7, WIDTH), torch.randn(NUM_ACTIONS, WIDTH))


@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"mode": "released"}, {"mode": "released", "top_k": 2}])
def test_frames_in_parts_read_what_they_read_at_once(settings):
    attention, prototypes = make_attention(**settings), torch.randn(NUM_ACTIONS, WIDTH)
    frames, mask = torch.randn(2, 6, WIDTH), torch.rand(2, 6) < 0.7
    whole, seen, parts_read = attention(frames, prototypes, mask), None, []
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        read, seen = attention.extend(frames[:, part], prototypes, mask[:, part], seen)
        parts_read.append(read)
    known = mask.cumsum(dim=1) > 0
    torch.testing.assert_close(torch.cat(parts_read, dim=1)[known], whole[known], rtol=1e-5, atol=1e-6)


def test_the_nearest_prototypes_come_in_order_and_per_clip():
    means = torch.tensor([[[3.0, 2.0, 1.0, 0.0]], [[0.0, 1.0, 2.0, 3.0]]])
    assert nearest_prototypes(means, torch.eye(4), k=3).tolist() == [[[0, 1, 2]], [[3, 2, 1]]]


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
        ({"mode": "printed"}, "paper, released or original"),
    ],
)
def test_prototypes_that_cannot_be_asked_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_attention(**settings)
