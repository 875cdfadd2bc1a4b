"""The loss that RULSTM trains with: the next action, asked at every horizon."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from sgear.errors import ConfigError
from sgear.losses import Objective, ObjectiveConfig
from sgear.models.base import AnticipationOutput

ALONE = ObjectiveConfig(cls=0.0, past=0.0, feat=0.0, horizons=1.0)
NUM_STEPS, NUM_HORIZONS, NUM_ACTIONS = 5, 3, 4


def output_of(logits: torch.Tensor | None) -> AnticipationOutput:
    steps = torch.randn(3, NUM_STEPS, NUM_ACTIONS)
    return AnticipationOutput(
        observed=torch.zeros(3, NUM_STEPS, 2),
        predicted=torch.zeros(3, NUM_STEPS, 2),
        logits=steps[:, -1],
        next_logits=steps,
        aggregated=torch.zeros(3, 2),
        horizon_logits=logits,
    )


def loss_of(config: ObjectiveConfig, logits, targets, mask) -> dict[str, torch.Tensor]:
    labels = torch.full((3, NUM_STEPS), -1)
    return Objective(config)(output_of(logits), torch.tensor(targets), labels, mask)


def test_it_is_the_mean_cross_entropy_over_clips_and_horizons():
    logits = torch.randn(3, NUM_HORIZONS, NUM_ACTIONS)
    targets = [2, 0, 3]
    expected = [F.cross_entropy(logits[b, s], torch.tensor(targets[b])) for b in range(3) for s in range(NUM_HORIZONS)]
    terms = loss_of(ALONE, logits, targets, torch.ones(3, NUM_STEPS, dtype=torch.bool))
    torch.testing.assert_close(terms["total"], torch.stack(expected).mean())


def test_horizons_whose_step_does_not_exist_and_unknown_actions_count_nothing():
    logits = torch.randn(3, NUM_HORIZONS, NUM_ACTIONS, requires_grad=True)
    mask = torch.ones(3, NUM_STEPS, dtype=torch.bool)
    # The horizons are the last three steps, so the first clip has two of them.
    mask[0, :3] = False
    terms = loss_of(ALONE, logits, [2, -1, 3], mask)
    terms["total"].backward()
    counts = [[False, True, True], [False] * 3, [True] * 3]
    assert (logits.grad.abs().sum(dim=-1) > 0).tolist() == counts
    asked = [(0, 1, 2), (0, 2, 2), (2, 0, 3), (2, 1, 3), (2, 2, 3)]
    expected = torch.stack([F.cross_entropy(logits[b, s], torch.tensor(label)) for b, s, label in asked]).mean()
    torch.testing.assert_close(terms["horizons"], expected)


@pytest.mark.parametrize(("term", "message"), [("horizons", "looks ahead from each step"), ("past", "recognizes what")])
def test_a_term_that_the_model_cannot_answer_is_refused(term, message):
    config = ObjectiveConfig(**{"past": 0.0, "feat": 0.0, term: 1.0})
    with pytest.raises(ConfigError, match=rf"objective\.{term} needs a model that {message}"):
        loss_of(config, None, [0, 1, 2], torch.ones(3, NUM_STEPS, dtype=torch.bool))
