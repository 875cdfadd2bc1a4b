"""Late fusion: what a weight, a rule and a field's own weights do, and what they never do."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import PredictionError
from sgear.predictions import Predictions, late_fuse
from sgear.predictions.fusion import RULES
from sgear.taxonomy import Taxonomy
from sgear.timing import AnticipationProtocol

# The noun "salt" occurs in no action.
TAXONOMY = Taxonomy(
    verbs=("take", "cut", "put"), nouns=("knife", "onion", "salt"), action_pairs=((0, 0), (0, 1), (1, 1), (2, 0))
)
PROTOCOL = AnticipationProtocol(tau_a_s=1.0, tau_o_s=10.0, fps=1.0).to_dict()
UIDS = tuple(f"v_{index}" for index in range(5))


def table(logits=None, *, seed=0, **changes) -> Predictions:
    rng = np.random.default_rng(seed)
    fields = {
        "uids": UIDS,
        "logits": (3 * rng.normal(size=(5, 4)) if logits is None else np.asarray(logits)).astype(np.float32),
        "targets": np.arange(5) % 4,
        "taxonomy": TAXONOMY,
        "protocol": PROTOCOL,
        "provenance": {"model": f"m{seed}"},
    }
    return Predictions(**(fields | changes))


def order(scores):
    """Dense ranks of each row: equal where scores are equal."""
    return [np.unique(row, return_inverse=True)[1].tolist() for row in scores]


def verb_head(seed):
    return np.random.default_rng(100 + seed).normal(size=(5, 3)).astype(np.float32)


@given(st.integers(0, 50), st.floats(0.01, 10), st.floats(0.01, 10), st.sampled_from(RULES))
def test_a_model_fused_with_itself_keeps_its_ranking(seed, first, second, rule):
    original = table(seed=seed)
    assert order(late_fuse([original, original], [first, second], rule=rule).logits) == order(original.logits)


ODD_SCORES = st.sampled_from([0.0, 1.0, 1.0 + 1e-6, -3000.0, 5.0, 1e-12])


@given(st.lists(st.lists(ODD_SCORES, min_size=4, max_size=4), min_size=5, max_size=5), st.sampled_from(RULES))
def test_one_model_alone_keeps_its_ranking_with_ties_and_far_scores(rows, rule):
    original = table(rows)
    fused = late_fuse([original, table(seed=1)], [1.0, 0.0], rule=rule)
    assert order(fused.logits) == order(original.logits)


@given(st.floats(0.1, 50), st.sampled_from(RULES))
def test_only_the_proportion_of_weights_counts(factor, rule):
    tables = [table(seed=1), table(seed=2)]
    plain = late_fuse(tables, [2.5, 0.5], rule=rule)
    scaled = late_fuse(tables, [2.5 * factor, 0.5 * factor], rule=rule)
    np.testing.assert_allclose(scaled.logits, plain.logits, rtol=1e-5, atol=1e-5)


def test_probs_are_averaged_with_their_weights():
    first, second = table(seed=1), table(seed=2)
    fused = late_fuse([first, second], [2.5, 0.5])
    assert fused.verb_logits is None
    assert fused.noun_logits is None
    np.testing.assert_allclose(fused.probs, (2.5 * first.probs + 0.5 * second.probs) / 3, atol=1e-6)


def test_logits_give_the_weighted_geometric_mean():
    first, second = table(seed=1), table(seed=2)
    expected = first.probs ** (2 / 3) * second.probs ** (1 / 3)
    fused = late_fuse([first, second], [2.0, 1.0], rule="logits")
    np.testing.assert_allclose(fused.probs, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_a_constant_added_to_all_logits_of_a_model_changes_no_probability():
    first, second = table(seed=1), table(seed=2)
    moved = table(second.logits + 64.0)
    for rule in RULES:
        plain, other = (late_fuse([first, each], [1.0, 1.0], rule=rule) for each in (second, moved))
        np.testing.assert_allclose(other.probs, plain.probs, rtol=1e-4)


def fused_by_avt(tables, weights):
    """AVT's late fusion, one segment and one class at a time: logits of actions, probabilities of verbs and nouns."""
    fused = {"action": np.zeros((5, 4)), "verb": np.zeros((5, 3)), "noun": np.zeros((5, 3))}
    for each, weight in zip(tables, weights, strict=True):
        for row, logits in enumerate(each.logits.astype(np.float64)):
            total = sum(np.exp(score) for score in logits)
            for action, (verb, noun) in enumerate(TAXONOMY.action_pairs):
                fused["action"][row, action] += weight * logits[action]
                fused["verb"][row, verb] += weight * np.exp(logits[action]) / total
                fused["noun"][row, noun] += weight * np.exp(logits[action]) / total
    return fused


def test_the_rule_of_avt_adds_logits_of_actions_and_probabilities_of_verbs_and_nouns():
    # Logits of another size and far from 0, as of two models that were trained apart.
    first, second = table(seed=1), table(2.0 * table(seed=2).logits + 7.0)
    expected = fused_by_avt([first, second], [2.5, 0.5])
    fused = late_fuse([first, second], [2.5, 0.5], rule="avt")
    np.testing.assert_allclose(3.0 * fused.logits, expected["action"], rtol=1e-6)
    for field in ("verb", "noun"):
        np.testing.assert_allclose(3.0 * fused.field_probs(field), expected[field], rtol=1e-6)
    assert {field: order(fused.field_probs(field)) for field in expected} == {
        field: order(scores) for field, scores in expected.items()
    }
    assert order(late_fuse([first, second], [2.5, 0.5], rule="probs").logits) != order(expected["action"])


def test_the_rule_of_avt_adds_logits_of_heads_and_no_logits_to_probabilities():
    heads = [table(seed=seed, verb_logits=verb_head(seed)) for seed in (1, 2)]
    fused = late_fuse(heads, [3.0, 1.0], rule="avt")
    np.testing.assert_allclose(
        4.0 * fused.verb_logits, 3.0 * heads[0].verb_logits + heads[1].verb_logits, rtol=1e-5, atol=1e-6
    )
    with pytest.raises(PredictionError, match="1 of 2 models have a verb head"):
        late_fuse([heads[0], table(seed=2)], [3.0, 1.0], rule="avt")


def test_ranks_are_reciprocal_and_equal_scores_share_theirs():
    first = table(np.tile([4.0, 3.0, 2.0, 1.0], (5, 1)))
    second = table(np.tile([0.0, 5.0, 5.0, 5.0], (5, 1)))
    fused = late_fuse([first, second], [2.0, 1.0], rule="ranks")
    ranks = ((1, 4), (2, 2), (3, 2), (4, 2))
    expected = np.array([2 / (60 + one) + 1 / (60 + other) for one, other in ranks])
    np.testing.assert_allclose(fused.probs[0], expected / expected.sum(), rtol=1e-5)


def test_a_confident_model_rules_probs_but_not_ranks():
    sure = table(np.tile([0.0, 30.0, 0.0, 0.0], (5, 1)))
    vague = table(np.tile([0.3, 0.0, 0.2, 0.1], (5, 1)))
    assert late_fuse([sure, vague], [1.0, 2.0]).logits.argmax(axis=1).tolist() == [1] * 5
    assert late_fuse([sure, vague], [1.0, 2.0], rule="ranks").logits.argmax(axis=1).tolist() == [0] * 5


def test_a_score_too_small_for_a_probability_keeps_its_place():
    first = table(np.tile([0.0, -900.0, -2000.0, -1500.0], (5, 1)))
    fused = late_fuse([first, first], [1.0, 1.0])
    assert np.argsort(-fused.logits[0]).tolist() == [0, 1, 3, 2]


def test_field_weights_give_that_field_a_ranking_of_its_own():
    first, second = table(seed=1), table(seed=2)
    fused = late_fuse([first, second], [1.0, 1.0], field_weights={"verb": [3.0, 1.0]})
    assert fused.noun_logits is None
    expected = (3 * first.field_probs("verb") + second.field_probs("verb")) / 4
    np.testing.assert_allclose(fused.field_probs("verb"), expected, atol=1e-6)
    np.testing.assert_allclose(fused.probs, (first.probs + second.probs) / 2, atol=1e-6)


def test_a_head_of_one_model_is_fused_with_the_sums_of_the_other():
    first, second = table(seed=1, verb_logits=verb_head(1)), table(seed=2)
    fused = late_fuse([first, second], [1.0, 3.0])
    expected = (first.field_probs("verb") + 3 * second.field_probs("verb")) / 4
    np.testing.assert_allclose(fused.field_probs("verb"), expected, atol=1e-6)
    assert fused.noun_logits is None


def test_the_weights_of_actions_can_be_given_apart():
    first, second = table(seed=1), table(seed=2)
    fused = late_fuse([first, second], [1.0, 1.0], field_weights={"action": [0.0, 1.0]})
    np.testing.assert_allclose(fused.probs, second.probs, atol=1e-6)


def test_a_noun_without_actions_stays_impossible():
    for rule in ("probs", "logits"):
        fused = late_fuse([table(seed=1), table(seed=2)], [1.0, 1.0], rule=rule, field_weights={"noun": [1.0, 2.0]})
        assert fused.field_probs("noun")[:, 2].tolist() == [0.0] * 5
        assert (fused.noun_logits[:, 2] < fused.noun_logits[:, :2].min(axis=1)).all()


def test_ranks_give_verbs_and_nouns_rankings_of_their_own():
    first, second = table(seed=1), table(seed=2)
    fused = late_fuse([first, second], [1.0, 0.0], rule="ranks")
    assert order(fused.verb_logits) == order(first.field_probs("verb"))


def test_rows_are_joined_by_uid_with_heads_and_targets():
    first, second = (table(seed=seed, verb_logits=verb_head(seed)) for seed in (1, 2))
    rows = np.array([3, 1, 0, 4, 2])
    for rule in RULES:
        plain = late_fuse([first, second], [1.0, 2.0], rule=rule)
        joined = late_fuse([first, second.take(rows)], [1.0, 2.0], rule=rule)
        assert joined.uids == first.uids
        assert np.array_equal(joined.logits, plain.logits)
        assert np.array_equal(joined.verb_logits, plain.verb_logits)


def test_other_segments_targets_protocols_and_vocabularies_are_refused():
    one = table()
    faults = {
        "1 uids missing, 1 extra": table(uids=(*UIDS[:4], "x")),
        "disagree about the true actions": table(targets=np.zeros(5, dtype=np.int64)),
        "different protocols": table(protocol=AnticipationProtocol(tau_a_s=0.5, tau_o_s=10.0, fps=1.0).to_dict()),
        "different vocabularies": table(taxonomy=Taxonomy(("a", "b", "c"), ("d", "e", "f"), TAXONOMY.action_pairs)),
    }
    for text, other in faults.items():
        with pytest.raises(PredictionError, match=text):
            late_fuse([one, other], [1.0, 1.0])


def test_a_model_with_several_views_is_fused_with_one_of_stored_features():
    protocols = [PROTOCOL | {"views": views} for views in ("three-crop", "centre")]
    fused = late_fuse([table(seed=1, protocol=protocols[0]), table(seed=2, protocol=protocols[1])], [2.5, 0.5])
    assert fused.protocol == protocols[0]


def test_models_that_look_back_by_different_lengths_are_fused_and_the_result_states_the_longest():
    longer = AnticipationProtocol(tau_a_s=1.0, tau_o_s=60.0, fps=0.5).to_dict()
    first, second = table(seed=1), table(seed=2, protocol=longer)
    assert late_fuse([first, second], [1.0, 1.0]).protocol == longer
    # As rows of one table they would still be refused: more past is an advantage.
    with pytest.raises(PredictionError, match="different protocols: tau_o_s"):
        first.check_comparable(second)


def test_predictions_without_labels_can_be_fused():
    unlabelled = {"targets": np.full(5, -1)}
    assert not late_fuse([table(seed=1, **unlabelled), table(seed=2, **unlabelled)], [1.0, 1.0]).is_labelled


@pytest.mark.parametrize(
    "weights", [[1.0], [1.0, 1.0, 1.0], [0.0, 0.0], [-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0], []]
)
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weight"):
        late_fuse([table(), table()], weights)
    with pytest.raises(ValueError, match="weight"):
        late_fuse([table(), table()], [1.0, 1.0], field_weights={"noun": weights})


def test_provenance_says_what_was_fused_and_how(tmp_path):
    fused = late_fuse(
        [table(seed=1), table(seed=2)],
        [2.5, 0.5],
        rule="logits",
        field_weights={"verb": [1.0, 2.0]},
        notes={"by": "me"},
    )
    fused.save(tmp_path / "fused.safetensors")
    provenance = Predictions.load(tmp_path / "fused.safetensors").provenance
    assert provenance == {
        "fusion": [{"model": "m1"}, {"model": "m2"}],
        "weights": [2.5, 0.5],
        "rule": "logits",
        "field_weights": {"verb": [1.0, 2.0]},
        "by": "me",
    }
    json.dumps(provenance)


def test_the_fused_file_starts_no_worse_than_its_parts_in_float32():
    # Two classes whose fused scores differ by less than one step of float32.
    first = table(np.tile([0.0, 0.0, -9.0, -9.0], (5, 1)))
    second = table(np.tile([1e-9, 0.0, -9.0, -9.0], (5, 1)))
    fused = late_fuse([first, second], [1.0, 1.0])
    assert (fused.logits[:, 0] > fused.logits[:, 1]).all()
