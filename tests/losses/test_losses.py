from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.losses import Objective, ObjectiveConfig
from sgear.losses.terms import classification_loss, feature_loss, regularization_loss, semantic_loss
from sgear.models.base import AnticipationOutput
from sgear.models.heads import cosine_similarity
from sgear.prototypes.geometry import cosine_relations

NUM_ACTIONS, NUM_VERBS, NUM_NOUNS, WIDTH = 5, 2, 4, 4
VERB_OF_ACTION, NOUN_OF_ACTION = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([3, 3, 0, 1, 2])


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
        verb_logits=draw(batch, NUM_VERBS),
        noun_logits=draw(batch, NUM_NOUNS),
    )


def make_objective(**settings):
    relations = cosine_relations(torch.randn(NUM_ACTIONS, 3, generator=torch.Generator().manual_seed(7)))
    classes = {"verb_of_action": VERB_OF_ACTION, "noun_of_action": NOUN_OF_ACTION}
    return Objective(ObjectiveConfig(**settings), relations, **classes)


def test_cross_entropy_counts_known_targets_only():
    logits = torch.randn(4, NUM_ACTIONS)
    targets = torch.tensor([1, -1, 3, -1])
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], targets[[0, 2]])
    torch.testing.assert_close(classification_loss(logits, targets), expected)


def test_feature_loss_equals_a_loop_over_steps_that_exist():
    output = make_output()
    mask = torch.tensor([[False, True, True, True], [True] * 4, [False, False, False, True]])
    errors = [
        (output.predicted[b, t] - output.observed[b, t + 1]).square().mean()
        for b in range(3)
        for t in range(3)
        if mask[b, t] and mask[b, t + 1]
    ]
    loss = feature_loss(output.predicted, output.observed, mask)
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
    objective = make_objective(
        feat=0.0, next=1.0, sem=1.0, past_sem=1.0, reg=1.0, cls_verb=1.0, cls_noun=1.0, label_smoothing=0.2
    )
    unknown = torch.full((3,), -1)
    steps = torch.full((3, 4), -1)
    terms = objective(output, unknown, steps, torch.ones(3, 4, dtype=torch.bool), steps)
    terms["total"].backward()
    assert set(terms) == {"cls", "past", "next", "sem", "past_sem", "reg", "cls_verb", "cls_noun", "total"}
    assert terms["total"].item() == 0
    for name in ("logits", "past_logits", "next_logits", "prototype_similarity", "past_similarity", "predicted"):
        assert getattr(output, name).grad.abs().sum().item() == 0
    for name in ("verb_logits", "noun_logits"):
        assert getattr(output, name).grad.abs().sum().item() == 0


def test_an_unlabelled_clip_gives_no_gradient_beside_a_labelled_one():
    output = make_output()
    terms = make_objective(feat=0.0, sem=1.0, past_sem=1.0, reg=1.0, cls_verb=1.0, cls_noun=1.0)(
        output,
        torch.tensor([2, -1, 0]),
        torch.tensor([[1, -1, 0, 2]] * 3),
        torch.tensor([[True] * 4, [True] * 4, [False, True, True, True]]),
    )
    terms["total"].backward()
    known, known_steps = torch.tensor([True, False, True]), torch.tensor([[True, False, True, True]] * 3)
    known_steps[2, 0] = False
    for name in ("logits", "verb_logits", "noun_logits"):
        assert torch.equal(getattr(output, name).grad.abs().sum(dim=-1) > 0, known), name
    assert torch.equal(output.past_logits.grad.abs().sum(dim=-1) > 0, known_steps)
    # L1 norms leave flat places: a labelled feature may have no semantic gradient either.
    for gradient, mask in ((output.prototype_similarity.grad, known), (output.past_similarity.grad, known_steps)):
        assert gradient[~mask].abs().sum() == 0
        assert gradient[mask].abs().sum() > 0


def test_total_is_the_weighted_sum_of_the_named_terms():
    weights = {"cls": 0.5, "past": 2.0, "next": 0.7, "feat": 3.0, "sem": 4.0, "past_sem": 0.25, "reg": 1.5}
    weights |= {"cls_verb": 0.3, "cls_noun": 0.6}
    terms = make_objective(**weights)(
        make_output(),
        torch.tensor([0, 1, -1]),
        torch.zeros(3, 4, dtype=torch.long),
        torch.ones(3, 4, dtype=torch.bool),
        torch.ones(3, 4, dtype=torch.long),
    )
    assert set(terms) == {*weights, "total"}
    expected = sum(weight * terms[name].item() for name, weight in weights.items())
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)


def test_semantic_loss_without_language_prototypes_is_refused():
    with pytest.raises(ConfigError, match="language_prototypes"):
        Objective(ObjectiveConfig(sem=1.0))


def test_semantic_loss_equals_its_loops():
    similarity = torch.randn(3, 2, NUM_ACTIONS)
    relations = torch.randn(NUM_ACTIONS, NUM_ACTIONS)
    targets = torch.tensor([[0, -1], [4, 2], [-1, -1]])
    weights = torch.tensor([[0.5, 1.0], [2.0, 0.0], [1.0, 1.0]])
    total = mass = 0.0
    for b in range(3):
        for t in range(2):
            if targets[b, t] < 0:
                continue
            ours, theirs = similarity[b, t].tolist(), relations[targets[b, t]].tolist()
            our_norm, their_norm = sum(map(abs, ours)), sum(map(abs, theirs))
            loss = sum(abs(a / our_norm - c / their_norm) for a, c in zip(ours, theirs, strict=True))
            total += loss * weights[b, t].item()
            mass += weights[b, t].item()
    assert semantic_loss(similarity, targets, relations, weights=weights).item() == pytest.approx(
        total / mass, rel=1e-5
    )


def test_regularization_equals_the_squared_distance_of_unit_vectors():
    features, prototypes = torch.randn(3, WIDTH), torch.randn(NUM_ACTIONS, WIDTH)
    targets = torch.tensor([4, -1, 0])
    distances = []
    for b in (0, 2):
        unit = features[b] / features[b].norm() - prototypes[targets[b]] / prototypes[targets[b]].norm()
        distances.append(unit.square().sum().item())
    assert regularization_loss(features, targets, prototypes).item() == pytest.approx(sum(distances) / 2, rel=1e-5)


def test_a_feature_with_the_geometry_of_its_label_has_no_semantic_loss():
    language = torch.randn(NUM_ACTIONS, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([3, 1])
    # Any rotation and scale of the language prototypes has the same cosines.
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]
    visual, features = 3.0 * language @ rotation, 0.2 * language[targets] @ rotation
    loss = semantic_loss(cosine_similarity(features, visual), targets, cosine_relations(language))
    torch.testing.assert_close(loss, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_label_smoothing_moves_its_share_of_the_mass_to_all_classes():
    logits, targets = torch.randn(3, NUM_ACTIONS), torch.tensor([1, -1, 4])
    log_probs = logits.log_softmax(dim=-1)
    expected = [-(0.7 * log_probs[b, targets[b]] + 0.3 * log_probs[b].mean()) for b in (0, 2)]
    loss = classification_loss(logits, targets, label_smoothing=0.3)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_verb_and_noun_are_asked_for_those_of_the_action():
    output = make_output()
    targets = torch.tensor([3, -1, 2])
    terms = make_objective(past=0.0, feat=0.0, cls_verb=1.0, cls_noun=1.0)(
        output, targets, torch.full((3, 4), -1), torch.ones(3, 4, dtype=torch.bool)
    )
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(terms["cls_verb"], cross_entropy(output.verb_logits[[0, 2]], torch.tensor([1, 0])))
    torch.testing.assert_close(terms["cls_noun"], cross_entropy(output.noun_logits[[0, 2]], torch.tensor([1, 0])))


@pytest.mark.parametrize(
    ("settings", "missing", "message"),
    [
        ({"cls_verb": 1.0}, "verb_logits", "objective.cls_verb needs a model with verb and noun classifiers"),
        ({"cls_noun": 1.0}, "noun_logits", "objective.cls_noun needs a model with verb and noun classifiers"),
        ({"sem": 1.0}, "prototypes", "model.name=sgear"),
        ({"past": 1.0}, "past_logits", "recognizes what it saw"),
    ],
)
def test_a_term_without_what_it_reads_is_refused(settings, missing, message):
    output = replace(make_output(), **{missing: None})
    with pytest.raises(ConfigError, match=message):
        make_objective(**settings)(
            output, torch.zeros(3).long(), torch.zeros(3, 4).long(), torch.ones(3, 4, dtype=torch.bool)
        )


def test_language_prototypes_of_another_vocabulary_are_refused_with_both_numbers():
    objective = Objective(ObjectiveConfig(sem=1.0), torch.eye(9))
    with pytest.raises(ConfigError, match="9 actions, but the model has 5"):
        objective(make_output(), torch.zeros(3).long(), torch.zeros(3, 4).long(), torch.ones(3, 4, dtype=torch.bool))


@pytest.mark.parametrize("settings", [{"mixup": -0.1}, {"label_smoothing": 1.0}])
def test_a_setting_out_of_range_is_refused(settings):
    with pytest.raises(ConfigError, match=r"mixup must be at least 0 and label_smoothing in \[0, 1\)"):
        make_objective(**settings)


def test_an_objective_without_terms_is_refused():
    with pytest.raises(ConfigError, match="every weight of the objective is 0"):
        make_objective(cls=0.0, past=0.0, feat=0.0)(
            make_output(), torch.zeros(3).long(), torch.zeros(3, 4).long(), torch.ones(3, 4, dtype=torch.bool)
        )
