import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.losses import Objective, ObjectiveConfig
from sgear.losses.classification import classification_loss
from sgear.losses.feature import feature_loss
from sgear.losses.semantic import regularization_loss, semantic_loss
from sgear.models.outputs import AnticipationOutput

NUM_ACTIONS, WIDTH = 5, 4


def make_output(batch=3, steps=4, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, requires_grad=True)

    return AnticipationOutput(
        observed=draw(batch, steps, WIDTH),
        predicted=draw(batch, steps, WIDTH),
        logits=draw(batch, NUM_ACTIONS),
        past_logits=draw(batch, steps, NUM_ACTIONS),
        next_logits=draw(batch, steps, NUM_ACTIONS),
        aggregated=draw(batch, WIDTH),
        prototype_similarity=draw(batch, NUM_ACTIONS),
        past_similarity=draw(batch, steps, NUM_ACTIONS),
        prototypes=draw(NUM_ACTIONS, WIDTH),
    )


def test_cross_entropy_counts_known_targets_only():
    logits = torch.randn(4, NUM_ACTIONS)
    targets = torch.tensor([1, -1, 3, -1])
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], targets[[0, 2]])
    torch.testing.assert_close(classification_loss(logits, targets), expected)


def test_feature_loss_equals_a_loop_over_steps_that_exist():
    output = make_output()
    exists = torch.tensor([[False, True, True, True], [True] * 4, [False, False, False, True]])
    errors = [
        (output.predicted[b, t] - output.observed[b, t + 1]).square().mean()
        for b in range(3)
        for t in range(3)
        if exists[b, t] and exists[b, t + 1]
    ]
    loss = feature_loss(output.predicted, output.observed, exists)
    torch.testing.assert_close(loss, torch.stack(errors).mean())


@given(st.integers(0, 1000))
def test_semantic_loss_is_zero_where_the_geometry_is_reproduced(seed):
    relations = torch.randn(NUM_ACTIONS, NUM_ACTIONS, generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor([0, 3, 3])
    loss = semantic_loss(2.5 * relations[targets], targets, relations)
    torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-6, rtol=0)


@given(st.integers(0, 1000))
def test_semantic_loss_is_between_0_and_2_and_the_other_between_0_and_4(seed):
    output = make_output(seed=seed)
    relations = torch.randn(NUM_ACTIONS, NUM_ACTIONS, generator=torch.Generator().manual_seed(seed + 1))
    targets = torch.tensor([4, 0, 2])
    assert 0 <= semantic_loss(output.prototype_similarity, targets, relations).item() <= 2 + 1e-6
    assert 0 <= regularization_loss(output.predicted[:, -1], targets, output.prototypes).item() <= 4 + 1e-6


def test_regularization_moves_the_feature_and_not_the_prototype():
    output = make_output()
    regularization_loss(output.predicted[:, -1], torch.tensor([0, 1, 2]), output.prototypes).backward()
    assert output.prototypes.grad is None
    assert output.predicted.grad.abs().sum() > 0


def test_unlabelled_clips_and_steps_give_no_gradient():
    output = make_output()
    config = ObjectiveConfig(feat=0.0, sem=1.0, past_sem=1.0, reg=1.0)
    objective = Objective(config, torch.eye(NUM_ACTIONS))
    unknown = torch.full((3,), -1)
    terms = objective(output, unknown, torch.full((3, 4), -1), torch.ones(3, 4, dtype=torch.bool))
    terms["total"].backward()
    assert terms["total"].item() == 0
    for tensor in (output.logits, output.past_logits, output.prototype_similarity, output.past_similarity):
        assert float(tensor.grad.abs().sum()) == 0


def test_total_is_the_weighted_sum_of_the_named_terms():
    config = ObjectiveConfig(cls=0.5, past=2.0, next=0.7, feat=3.0, sem=4.0, past_sem=0.25, reg=1.5)
    terms = Objective(config, torch.eye(NUM_ACTIONS))(
        make_output(),
        torch.tensor([0, 1, -1]),
        torch.zeros(3, 4, dtype=torch.long),
        torch.ones(3, 4, dtype=torch.bool),
        torch.ones(3, 4, dtype=torch.long),
    )
    expected = sum(getattr(config, name) * value.item() for name, value in terms.items() if name != "total")
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)


def test_semantic_loss_without_language_prototypes_is_refused():
    with pytest.raises(ConfigError, match="language_prototypes"):
        Objective(ObjectiveConfig(sem=1.0))
