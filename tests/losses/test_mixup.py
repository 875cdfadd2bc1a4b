"""Mixup of stored features: what is blended, what is asked, and what takes no part."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.data.dataset import Batch
from sgear.losses import Objective, ObjectiveConfig
from sgear.losses.mixup import draw_mix, make_mix, mix_clips, pair_labels
from sgear.losses.terms import classification_loss
from sgear.models import DecoderConfig, EncoderConfig, build_model, model_config
from sgear.training.loop import TrainStep
from sgear.video.transforms import no_colour

NUM_ACTIONS = 5
EXISTS = torch.tensor([[True, True, True], [False, True, True], [True, True, True]])
PARTNER = torch.tensor([1, 2, 0])
SHARE = torch.tensor([0.7, 0.4, 1.0])


def test_clips_are_blended_step_by_step_where_both_exist():
    clip, mix = torch.randn(3, 3, 4), make_mix(EXISTS, PARTNER, SHARE)
    mixed = mix_clips(clip, mix)
    for b in range(3):
        for t in range(3):
            other = int(PARTNER[b])
            share = float(SHARE[b]) if EXISTS[b, t] and EXISTS[other, t] else 1.0
            torch.testing.assert_close(mixed[b, t], share * clip[b, t] + (1 - share) * clip[other, t])


@given(seed=st.integers(0, 1000), smoothing=st.sampled_from([0.0, 0.3]))
def test_two_weighted_labels_give_the_loss_of_one_mixed_distribution(seed, smoothing):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, NUM_ACTIONS, generator=generator)
    targets = torch.randint(-1, NUM_ACTIONS, (3,), generator=generator)
    mix = make_mix(EXISTS, torch.randperm(3, generator=generator), torch.rand(3, generator=generator))
    labels = pair_labels(targets, mix)
    loss = classification_loss(labels.spread(logits), labels.targets, weights=labels.weights, label_smoothing=smoothing)
    log_probs, total, mass = logits.log_softmax(dim=-1), 0.0, 0.0
    for b in range(3):
        for target, weight in ((targets[b], mix.share[b]), (targets[mix.partner[b]], 1 - mix.share[b])):
            if target >= 0:
                wanted = torch.full((NUM_ACTIONS,), smoothing / NUM_ACTIONS)
                wanted[target] += 1 - smoothing
                total, mass = total - weight * (wanted * log_probs[b]).sum(), mass + weight
    torch.testing.assert_close(loss, total / mass if mass else torch.tensor(0.0), rtol=1e-5, atol=1e-6)


def test_the_loss_of_a_blend_is_the_blend_of_the_losses():
    logits, targets = torch.randn(3, NUM_ACTIONS), torch.tensor([0, -1, 3])
    labels = pair_labels(targets, make_mix(EXISTS, PARTNER, SHARE))
    log_probs = logits.log_softmax(dim=-1)
    total = mass = 0.0
    for b in range(3):
        for target, weight in ((targets[b], SHARE[b]), (targets[PARTNER[b]], 1 - SHARE[b])):
            if target >= 0:
                total, mass = total - weight * log_probs[b, target], mass + weight
    loss = classification_loss(labels.spread(logits), labels.targets, weights=labels.weights)
    torch.testing.assert_close(loss, total / mass)


def test_an_unlabelled_partner_or_an_absent_step_gives_no_gradient():
    logits = torch.randn(3, 3, NUM_ACTIONS, requires_grad=True)
    step_labels = torch.tensor([[-1, 1, 1], [-1, -1, 2], [-1, -1, 3]])
    labels = pair_labels(step_labels, make_mix(EXISTS, PARTNER, torch.full((3,), 0.5)))
    classification_loss(labels.spread(logits), labels.targets, weights=labels.weights).backward()
    has_gradient = logits.grad.abs().sum(dim=-1) > 0
    assert has_gradient.tolist() == [[False, True, True], [False, False, True], [False, True, True]]


def test_without_a_mix_labels_stay_as_they_are():
    labels, scores = pair_labels(torch.tensor([1, 2]), None), torch.randn(2, NUM_ACTIONS)
    assert labels.weights is None
    assert labels.spread(scores) is scores


def test_shares_are_drawn_between_0_and_1_and_partners_once_each():
    torch.manual_seed(0)
    mix = draw_mix(torch.ones(50, 2, dtype=torch.bool), alpha=0.3)
    assert sorted(mix.partner.tolist()) == list(range(50))
    assert mix.share.min() >= 0
    assert mix.share.max() <= 1
    assert mix.share.std() > 0.1


def test_frames_are_not_mixed():
    with pytest.raises(ValueError, match=r"stored features.*\(3, 3, 3, 8, 8\)"):
        mix_clips(torch.zeros(3, 3, 3, 8, 8), make_mix(EXISTS, PARTNER, SHARE))


def make_step(mixup: float) -> tuple[TrainStep, Batch]:
    torch.manual_seed(0)
    config = model_config(
        width=32,
        max_steps=3,
        encoder=EncoderConfig(feature_dim=4),
        decoder=DecoderConfig(width=32, num_layers=1, num_heads=2, dropout=0.0),
    )
    config = model_config(**(vars(config) | {"head": type(config.head)(dropout=0.0)}))
    objective = ObjectiveConfig(next=1.0, sem=1.0, past_sem=1.0, reg=1.0, mixup=mixup)
    step = TrainStep(build_model(config, num_actions=NUM_ACTIONS), Objective(objective, torch.eye(NUM_ACTIONS)))
    steps = torch.tensor([[0, 1, 2], [-1, 3, 3], [4, 4, -1]])
    batch = Batch(
        clip=torch.randn(3, 3, 4),
        colour=no_colour().expand(3, -1, -1),
        mask=EXISTS,
        step_labels=steps,
        next_labels=steps,
        target=torch.tensor([1, 2, -1]),
        row=torch.arange(3),
        unreadable=[""] * 3,
    )
    return step, batch


def test_a_training_step_mixes_in_training_alone():
    step, batch = make_step(mixup=0.4)
    plain, _ = make_step(mixup=0.0)
    assert step.train()(batch)["total"] != plain.train()(batch)["total"]
    assert step.eval()(batch)["total"] == plain.eval()(batch)["total"]


def test_every_term_of_a_mixed_batch_is_finite_and_named():
    step, batch = make_step(mixup=0.4)
    terms = step.train()(batch)
    assert set(terms) == {"cls", "past", "next", "feat", "sem", "past_sem", "reg", "total"}
    assert all(torch.isfinite(value) for value in terms.values())


def test_the_mean_is_taken_over_little_mass_too():
    logits, weights = torch.randn(2, NUM_ACTIONS), torch.tensor([0.1, 0.2])
    loss = classification_loss(logits, torch.tensor([1, 3]), weights=weights)
    each = -logits.log_softmax(dim=-1)[[0, 1], [1, 3]]
    torch.testing.assert_close(loss, (weights * each).sum() / 0.3)


def test_a_clip_without_any_real_step_is_asked_for_no_label_of_a_partner_and_gives_none():
    mask = torch.tensor([[True, True], [False, False], [True, False]])
    mix = make_mix(mask, torch.tensor([1, 2, 0]), torch.tensor([0.3, 0.3, 0.3]))
    assert mix.share.tolist() == pytest.approx([1.0, 1.0, 0.3])
