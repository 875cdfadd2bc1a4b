"""Training with an open vocabulary: a class without samples is no wrong answer."""

import pytest
import torch

from sgear.errors import ConfigError
from sgear.losses import Objective, ObjectiveConfig
from sgear.models.base import AnticipationOutput

IS_SEEN = torch.tensor([True, False, True, True, False])


def output_of(logits: torch.Tensor) -> AnticipationOutput:
    none = torch.zeros(len(logits), 1, 2)
    return AnticipationOutput(
        observed=none, predicted=none, logits=logits, next_logits=logits[:, None], aggregated=none[:, 0]
    )


def loss_of(logits: torch.Tensor, targets: torch.Tensor, *, is_open: bool, smoothing: float = 0.0) -> torch.Tensor:
    config = ObjectiveConfig(past=0.0, feat=0.0, open=is_open, label_smoothing=smoothing)
    objective = Objective(config, counts=9 * IS_SEEN.long() if is_open else None)
    labels = torch.full((len(logits), 1), -1)
    return objective(output_of(logits), targets, labels, torch.ones(len(logits), 1, dtype=torch.bool))["total"]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_scores_of_never_seen_classes_get_no_gradient(smoothing):
    logits = torch.randn(4, 5, requires_grad=True)
    loss_of(logits, torch.tensor([0, 2, 3, -1]), is_open=True, smoothing=smoothing).backward()
    assert (logits.grad[:, ~IS_SEEN] == 0).all()
    assert (logits.grad[:3, IS_SEEN] != 0).all()
    assert (logits.grad[3] == 0).all()


def test_the_loss_is_that_of_the_seen_classes_alone():
    logits, targets = torch.randn(4, 5), torch.tensor([0, 2, 3, 3])
    own = torch.tensor([0, 1, 2, 2])
    expected = torch.nn.functional.cross_entropy(logits[:, IS_SEEN], own)
    torch.testing.assert_close(loss_of(logits, targets, is_open=True), expected)
    assert loss_of(logits, targets, is_open=False) > expected


def test_open_training_needs_to_know_what_was_seen():
    with pytest.raises(ConfigError, match="training samples"):
        Objective(ObjectiveConfig(open=True))
