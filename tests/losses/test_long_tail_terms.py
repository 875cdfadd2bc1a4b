"""Terms for long tails: neighbors in language, relations as distributions, balanced softmax, focal loss."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from sgear.errors import ConfigError
from sgear.losses import Objective, ObjectiveConfig
from sgear.losses.terms import classification_loss, nearest_classes, neighbor_loss, relation_loss
from sgear.models.base import AnticipationOutput

A, B = 7, 5
COUNTS = torch.tensor([100, 50, 0, 20, 5, 1, 0])
TARGETS = torch.tensor([0, 3, 5, -1, 1])


@pytest.fixture
def relations() -> torch.Tensor:
    vectors = F.normalize(torch.randn(A, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    return vectors @ vectors.T


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(B, A, generator=torch.Generator().manual_seed(1))


def total(logits: torch.Tensor, relations: torch.Tensor | None = None, **settings) -> torch.Tensor:
    objective = Objective(ObjectiveConfig(past=0.0, feat=0.0, **settings), relations, counts=COUNTS)
    none = torch.zeros(B, 1, 2)
    output = AnticipationOutput(
        observed=none, predicted=none, logits=logits, next_logits=logits[:, None], aggregated=none[:, 0]
    )
    return objective(output, TARGETS, torch.full((B, 1), -1), torch.ones(B, 1, dtype=torch.bool))["total"]


def test_neighbors_equal_a_loop_over_labels_and_classes(logits, relations):
    neighbors, shares = nearest_classes(relations, 3, 0.2)
    expected = []
    for sample, target in enumerate(TARGETS.tolist()):
        if target < 0:
            continue
        order = sorted((a for a in range(A) if a != target), key=lambda a: -relations[target, a].item())[:3]
        weights = torch.softmax(torch.stack([relations[target, a] for a in order]) / 0.2, dim=0)
        log_probs = logits[sample].log_softmax(dim=0)
        expected.append(-sum(w * log_probs[a] for w, a in zip(weights, order, strict=True)))
    torch.testing.assert_close(neighbor_loss(logits, TARGETS, neighbors, shares), torch.stack(expected).mean())


def test_the_share_of_the_neighbors_is_taken_from_the_class_itself(logits, relations):
    own, shared = total(logits), total(logits, relations, neighbors=0.3, num_neighbors=3)
    near = neighbor_loss(logits, TARGETS, *nearest_classes(relations, 3, 0.05))
    torch.testing.assert_close(shared, 0.7 * own + 0.3 * near)


def test_neighbors_of_an_open_vocabulary_are_seen_classes(logits, relations):
    logits.requires_grad_()
    total(logits, relations, neighbors=0.5, open=True).backward()
    assert (logits.grad[:, COUNTS == 0] == 0).all()


def test_a_geometry_that_is_reproduced_costs_nothing_and_any_other_does(relations):
    targets = torch.tensor([0, 3, 5])
    assert relation_loss(relations[targets], targets, relations, temperature=0.1) == pytest.approx(0, abs=1e-6)
    assert relation_loss(-relations[targets], targets, relations, temperature=0.1) > 0.1


def test_balanced_softmax_learns_scores_that_are_free_of_the_prior(logits):
    # Softmax over n_k exp(s_k), by hand.
    counts = COUNTS.clamp(min=1).float()
    known = TARGETS >= 0
    weighed = counts * logits[known].exp()
    expected = -(weighed.gather(1, TARGETS[known][:, None])[:, 0] / weighed.sum(dim=1)).log().mean()
    torch.testing.assert_close(total(logits, balanced=1.0), expected)


def test_focal_loss_weighs_each_sample_by_what_is_not_known_of_it_yet(logits):
    known = TARGETS >= 0
    probs = logits[known].softmax(dim=1).gather(1, TARGETS[known][:, None])[:, 0]
    expected = (-((1 - probs) ** 2) * probs.log()).mean()
    torch.testing.assert_close(classification_loss(logits, TARGETS, focal=2.0), expected)
    torch.testing.assert_close(classification_loss(logits, TARGETS, focal=0.0), total(logits))


def test_terms_are_refused_without_what_they_need():
    with pytest.raises(ConfigError, match=r"objective\.neighbors needs language prototypes"):
        Objective(ObjectiveConfig(neighbors=0.1))
    with pytest.raises(ConfigError, match="training samples of each action"):
        Objective(ObjectiveConfig(balanced=1.0))
