"""`objective.past_mean`: over which steps past losses are averaged, against loops and on real annotations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.data import StepLabels
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_protocol, load_benchmark
from sgear.losses import Objective, ObjectiveConfig
from sgear.losses.mixup import make_mix
from sgear.models.base import AnticipationOutput
from sgear.timing import observable

NUM_ACTIONS, WIDTH, CLIPS, STEPS = 5, 4, 3, 4
RELATIONS = torch.randn(NUM_ACTIONS, NUM_ACTIONS, generator=torch.Generator().manual_seed(7))
PAST = {"cls": 0.0, "feat": 0.0, "past": 1.0, "past_sem": 1.0}


def draw(seed: int) -> tuple[AnticipationOutput, torch.Tensor, torch.Tensor]:
    """Return the output of a model, step labels of which some are unknown, and which steps exist."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, requires_grad=True)

    output = AnticipationOutput(
        observed=normal(CLIPS, STEPS, WIDTH),
        predicted=normal(CLIPS, STEPS, WIDTH),
        logits=normal(CLIPS, NUM_ACTIONS),
        next_logits=normal(CLIPS, STEPS, NUM_ACTIONS),
        aggregated=normal(CLIPS, WIDTH),
        past_logits=normal(CLIPS, STEPS, NUM_ACTIONS),
        prototype_similarity=normal(CLIPS, NUM_ACTIONS),
        past_similarity=normal(CLIPS, STEPS, NUM_ACTIONS),
        prototypes=normal(NUM_ACTIONS, WIDTH),
    )
    labels = torch.randint(-1, NUM_ACTIONS, (CLIPS, STEPS), generator=generator)
    first = torch.randint(0, STEPS, (CLIPS, 1), generator=generator)
    return output, labels, torch.arange(STEPS) >= first


def each_loss(output: AnticipationOutput, b: int, t: int, label: int) -> dict[str, float]:
    """Return both losses of one step, by the formulas."""
    assert output.past_logits is not None
    assert output.past_similarity is not None
    ours, theirs = output.past_similarity[b, t].tolist(), RELATIONS[label].tolist()
    our_norm, their_norm = sum(map(abs, ours)), sum(map(abs, theirs))
    return {
        "past": -float(output.past_logits[b, t].detach().log_softmax(dim=-1)[label]),
        "past_sem": sum(abs(a / our_norm - c / their_norm) for a, c in zip(ours, theirs, strict=True)),
    }


@pytest.mark.parametrize("past_mean", ["labelled", "all"])
@given(seed=st.integers(0, 1000))
def test_the_losses_of_the_past_equal_their_loops(past_mean, seed):
    output, labels, mask = draw(seed)
    sums, num_steps = {"past": 0.0, "past_sem": 0.0}, 0
    for b in range(CLIPS):
        for t in range(STEPS):
            is_labelled = bool(mask[b, t]) and int(labels[b, t]) >= 0
            num_steps += is_labelled if past_mean == "labelled" else bool(mask[b, t])
            if is_labelled:
                for name, value in each_loss(output, b, t, int(labels[b, t])).items():
                    sums[name] += value
    terms = Objective(ObjectiveConfig(**PAST, past_mean=past_mean), RELATIONS)(
        output, torch.zeros(CLIPS, dtype=torch.long), labels, mask
    )
    for name, total in sums.items():
        assert terms[name].item() == pytest.approx(total / max(num_steps, 1), rel=1e-5, abs=1e-7), name


@pytest.mark.parametrize("past_mean", ["labelled", "all"])
@given(seed=st.integers(0, 1000))
def test_a_blend_of_clips_is_averaged_over_the_same_steps(past_mean, seed):
    output, labels, mask = draw(seed)
    generator = torch.Generator().manual_seed(seed)
    mix = make_mix(mask, torch.randperm(CLIPS, generator=generator), torch.rand(CLIPS, generator=generator))
    total = mass = 0.0
    for b in range(CLIPS):
        for t in range(STEPS):
            for owner, share in ((b, mix.step_share[b, t]), (int(mix.partner[b]), 1 - mix.step_share[b, t])):
                is_labelled = bool(mask[owner, t]) and int(labels[owner, t]) >= 0
                if is_labelled or (past_mean == "all" and mask[owner, t]):
                    mass += float(share)
                if is_labelled:
                    total += float(share) * each_loss(output, b, t, int(labels[owner, t]))["past"]
    terms = Objective(ObjectiveConfig(**PAST, past_mean=past_mean), RELATIONS)(
        output, torch.zeros(CLIPS, dtype=torch.long), labels, mask, mix=mix
    )
    assert terms["past"].item() == pytest.approx(total / (mass or 1), rel=1e-5, abs=1e-6)


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
    output, labels, mask = draw(0)
    objective = Objective(ObjectiveConfig(**PAST, past_mean="all"), RELATIONS)
    terms = objective(output, torch.zeros(CLIPS, dtype=torch.long), torch.full_like(labels, -1), mask)
    terms["total"].backward()
    assert terms["total"].item() == 0
    assert output.past_logits is not None
    assert output.past_logits.grad is not None
    assert output.past_logits.grad.abs().sum().item() == 0


@pytest.mark.data
@pytest.mark.parametrize(
    ("experiment", "settings", "times"),
    [
        ("epic100/avt_tsn", [], 1.37),
        ("epic55/vit", [], 1.44),
        ("epic55/vit", ["protocol.tau_o_s=20", "model.max_steps=20"], 1.41),
        ("salads50/avt_vit", [], 1.05),
        ("egtea/avt_vit", [], 2.79),
        ("egtea/vit", [], 2.94),
    ],
)
def test_real_annotations_label_so_few_steps(real_data, salads, monkeypatch, experiment, settings, times):
    """How many times heavier the mean over labelled steps is; the docstring of the setting says so."""
    # The labels of all 50 videos of 50 Salads are in an archive.
    monkeypatch.setenv("SGEAR_DATA", str(salads if experiment.startswith("salads50/") else real_data))
    config = compose_experiment([f"experiment={experiment}", *settings])
    benchmark, protocol = load_benchmark(config.dataset), build_protocol(replace(config.protocol, kind="anticipation"))
    labels = StepLabels(benchmark.train)
    num_steps = num_labelled = 0
    # Every tenth segment: the ratio moves by less than a hundredth.
    for row, segment in enumerate(benchmark.train):
        if row % 10 and len(benchmark.train) > 10_000:
            continue
        instants_s = protocol.timestamps(segment.start_s)
        instants_s = instants_s[observable(instants_s)]
        num_steps += len(instants_s)
        num_labelled += int(np.sum(labels.at(segment.video_id, instants_s) >= 0))
    assert num_steps / num_labelled == pytest.approx(times, rel=0.02)
