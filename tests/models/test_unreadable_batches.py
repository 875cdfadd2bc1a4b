"""Clips that could not be read teach nothing: no gradient, no NaN, and the others teach what they teach alone."""

import pytest
import torch
from tiny_models import EVERY, NUM_ACTIONS, RULSTM, clip_of, tiny_model, tiny_rulstm

from sgear.data.dataset import Batch
from sgear.losses import Objective, ObjectiveConfig
from sgear.training.evaluate import SkippedClips
from sgear.training.loop import TrainStep
from sgear.video.transforms import no_colour

NUM_STEPS = 5


def make_step(name: str, *, pixels: bool = False, mixup: float = 0.0) -> TrainStep:
    if name in RULSTM:
        config = ObjectiveConfig(cls=1.0, past=0.0, feat=0.0, horizons=1.0, mixup=mixup)
        return TrainStep(tiny_rulstm(name), Objective(config))
    has_prototypes = float(name != "avt")
    config = ObjectiveConfig(
        next=1.0, cls_verb=1.0, sem=has_prototypes, past_sem=has_prototypes, reg=has_prototypes, mixup=mixup
    )
    objective = Objective(config, torch.eye(NUM_ACTIONS), verb_of_action=torch.arange(NUM_ACTIONS) % 3)
    return TrainStep(tiny_model(name, pixels=pixels), objective)


def make_batch(readable: list[bool], *, pixels: bool = False) -> Batch:
    """Clips by their place, so that a part of a batch holds the same clips as the whole."""
    num_clips = len(readable)
    is_read = torch.tensor(readable)
    labels = (torch.arange(num_clips)[:, None] + torch.arange(NUM_STEPS)) % NUM_ACTIONS
    clip = clip_of(0, num_clips, NUM_STEPS, pixels=pixels)
    return Batch(
        clip=clip * is_read.reshape(-1, *[1] * (clip.ndim - 1)),
        colour=no_colour().expand(num_clips, -1, -1),
        mask=is_read[:, None].expand(-1, NUM_STEPS).clone(),
        step_labels=torch.where(is_read[:, None], labels, -1),
        next_labels=torch.where(is_read[:, None], labels + 1, -1).clamp(max=NUM_ACTIONS - 1),
        target=torch.where(is_read, labels[:, 0], -1),
        row=torch.arange(num_clips),
        unreadable=["" if is_whole else "lost" for is_whole in readable],
    )


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    tensors = {name: value[rows] for name, value in batch.items() if isinstance(value, torch.Tensor)}
    return Batch(**tensors, unreadable=[batch["unreadable"][row] for row in rows])


def gradients(step: TrainStep, batch: Batch) -> dict[str, torch.Tensor]:
    step.zero_grad()
    terms = step(batch)
    assert all(torch.isfinite(value) for value in terms.values())
    terms["total"].backward()
    return {name: parameter.grad.clone() for name, parameter in step.named_parameters() if parameter.grad is not None}


CASES = [*((name, False) for name in (*EVERY, *RULSTM)), ("sgear", True), ("avt", True)]


@pytest.mark.parametrize(("name", "pixels"), CASES)
def test_an_unreadable_clip_changes_no_gradient(name, pixels):
    step = make_step(name, pixels=pixels)
    batch = make_batch([True, False, True, False], pixels=pixels)
    alone = gradients(step, rows_of(batch, [0, 2]))
    among = gradients(step, batch)
    assert alone.keys() == among.keys()
    for parameter, expected in alone.items():
        torch.testing.assert_close(among[parameter], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "pixels", "mixup"), [(*case, 0.0) for case in CASES] + [(*case, 0.4) for case in CASES if not case[1]]
)
def test_a_batch_without_any_readable_clip_has_no_gradient_and_no_nan(name, pixels, mixup):
    step = make_step(name, pixels=pixels, mixup=mixup).train()
    for parameter, gradient in gradients(step, make_batch([False, False, False], pixels=pixels)).items():
        assert not gradient.any(), parameter


@pytest.mark.parametrize("name", ["sgear", "avt", "rulstm"])
def test_in_mixup_an_unreadable_clip_is_no_partner(name):
    step = make_step(name, mixup=0.4).train()
    for module in step.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    step.model.eval()
    batch = make_batch([True, False])
    for seed in range(4):
        torch.manual_seed(seed)
        among = gradients(step, batch)
        torch.manual_seed(seed)
        alone = gradients(step, rows_of(batch, [0]))
        for parameter, expected in alone.items():
            torch.testing.assert_close(among[parameter], expected, rtol=1e-4, atol=1e-5)


def test_one_unreadable_clip_is_counted_once_and_keeps_its_first_reason():
    skipped = SkippedClips(["a", "b", "c"], known={"b": "in an earlier epoch"})
    batch = make_batch([True, False, False])
    skipped.add(batch)
    skipped.add(Batch(**{**batch, "unreadable": ["", "again", "another"]}))
    assert skipped.gathered() == {"b": "in an earlier epoch", "c": "lost"}
