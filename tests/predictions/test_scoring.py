"""Scores of a table: each number equals the plain metric on the samples and classes that it is about."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scoring_examples import NUM_VERBS, PROTOCOL, make_masks, make_table

from sgear.errors import PredictionError
from sgear.metrics import (
    class_mean_precision,
    class_mean_recall,
    reliability,
    target_ranks,
    time_to_action,
    top_k_accuracy,
    top_k_hits,
)
from sgear.predictions import Predictions, field_outcomes, score, times_to_action
from sgear.taxonomy import FIELDS, Taxonomy


@pytest.mark.parametrize("has_heads", [False, True])
def test_every_number_equals_the_plain_metric_on_its_samples(has_heads):
    table, subsets = make_table(has_heads=has_heads), make_masks()
    everything = dict.fromkeys(FIELDS, np.ones(80, dtype=bool))
    scores = score(table, subsets=subsets)
    for subset, masks in {"overall": everything, **subsets}.items():
        for field in FIELDS:
            probs, targets = table.field_probs(field)[masks[field]], table.field_targets(field)[masks[field]]
            numbers = scores[subset][field]
            assert numbers["top1"] == pytest.approx(top_k_accuracy(probs, targets, k=1))
            assert numbers["top5"] == pytest.approx(top_k_accuracy(probs, targets, k=5))
            assert numbers["recall5"] == pytest.approx(class_mean_recall(probs, targets, k=5))
            assert numbers["class_mean_top1"] == pytest.approx(class_mean_recall(probs, targets, k=1))
            assert numbers["num_samples"] == masks[field].sum() == len(targets)
            assert numbers["num_classes"] == len(set(targets.tolist()))
            assert ("ece" in numbers) == (subset == "overall")


@pytest.mark.parametrize("has_heads", [False, True])
def test_calibration_error_is_that_of_the_best_class_of_each_field(has_heads):
    table = make_table(has_heads=has_heads)
    for field in FIELDS:
        probs = table.field_probs(field)
        is_right = top_k_hits(probs, table.field_targets(field), k=1)
        expected = reliability(probs.max(axis=1), is_right).ece
        assert score(table)["overall"][field]["ece"] == pytest.approx(expected)


@pytest.mark.parametrize("has_heads", [False, True])
def test_many_shot_numbers_average_over_frequent_classes_alone(has_heads):
    table = make_table(has_heads=has_heads)
    frequent = {"verb": np.array([0, 2]), "noun": np.array([1, 3, 8]), "action": np.arange(4, 20)}
    scores = score(table, many_shot=frequent)["many_shot"]
    for field in FIELDS:
        probs, targets, classes = table.field_probs(field), table.field_targets(field), frequent[field]
        numbers = scores[field]
        assert numbers["recall5"] == pytest.approx(class_mean_recall(probs, targets, classes=classes))
        assert numbers["class_mean_top1"] == pytest.approx(class_mean_recall(probs, targets, classes=classes, k=1))
        assert numbers["precision"] == pytest.approx(class_mean_precision(probs, targets, classes=classes))
        assert numbers["num_samples"] == np.isin(targets, classes).sum()
        assert numbers["num_classes"] == len(np.intersect1d(targets, classes))


def test_all_classes_as_many_shot_give_the_overall_recall():
    table = make_table()
    every = {field: np.arange(len(table.taxonomy.names(field))) for field in FIELDS}
    scores = score(table, many_shot=every)
    for field in FIELDS:
        assert scores["many_shot"][field]["recall5"] == scores["overall"][field]["recall5"]


def test_verbs_and_nouns_are_ranked_by_summed_probabilities():
    taxonomy = Taxonomy(
        verbs=("take", "cut", "put"), nouns=("knife", "onion"), action_pairs=((0, 0), (0, 1), (1, 1), (2, 0))
    )
    # Action 3 (put knife) is the single most likely; the two "take" actions together are likelier.
    logits = np.log(np.array([[0.3, 0.3, 0.0001, 0.3999]], dtype=np.float32))
    table = Predictions(uids=("v",), logits=logits, targets=np.array([0]), taxonomy=taxonomy, protocol=PROTOCOL)
    scores = score(table)["overall"]
    assert scores["action"]["top1"] == 0.0
    assert scores["verb"]["top1"] == 1.0


def test_a_head_of_its_own_replaces_the_sums():
    table = make_table()
    targets = table.field_targets("verb")
    perfect = np.eye(NUM_VERBS, dtype=np.float32)[targets]
    scores = score(replace(table, verb_logits=perfect))["overall"]
    assert scores["verb"]["top1"] == 1.0
    assert scores["noun"] == score(table)["overall"]["noun"]
    assert scores["action"] == score(table)["overall"]["action"]


@given(st.integers(0, 50), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_samples(seed, random):
    table = make_table(seed, num_samples=20)
    order = list(range(20))
    random.shuffle(order)
    shuffled = score(table.take(np.array(order)))["overall"]
    for field, numbers in score(table)["overall"].items():
        assert shuffled[field] == pytest.approx(numbers)


@given(st.integers(0, 50))
def test_confident_and_wary_logits_rank_actions_alike(seed):
    table = make_table(seed, num_samples=20)
    warmer = replace(table, logits=4 * table.logits - 7)
    mine, other = score(table)["overall"]["action"], score(warmer)["overall"]["action"]
    assert {name: mine[name] for name in mine if name != "ece"} == {
        name: other[name] for name in other if name != "ece"
    }


def test_ranks_of_float32_logits_equal_those_of_float64_probabilities():
    table = make_table(3, num_samples=400)
    for field, outcome in field_outcomes(table).items():
        assert np.array_equal(outcome.ranks, target_ranks(table.field_probs(field), outcome.targets))


def test_constant_scores_favour_no_verb_with_many_actions_beyond_its_share():
    # All actions tie: a verb's score is its number of actions, so the true ranks are those of the counts.
    table = replace(make_table(), logits=np.full((80, 30), 0.1, dtype=np.float32))
    counts = np.bincount(table.taxonomy.verb_of_action, minlength=NUM_VERBS).astype(float)
    expected = target_ranks(np.broadcast_to(counts, (80, NUM_VERBS)), table.field_targets("verb"))
    assert np.array_equal(field_outcomes(table)["verb"].ranks, expected)


def test_fewer_than_five_classes_are_all_guessed():
    taxonomy = Taxonomy(verbs=("a", "b"), nouns=("c",), action_pairs=((0, 0), (1, 0)))
    logits = np.zeros((2, 2), dtype=np.float32)
    table = Predictions(uids=("v", "w"), logits=logits, targets=np.array([0, 1]), taxonomy=taxonomy, protocol=PROTOCOL)
    assert score(table)["overall"]["action"]["top5"] == 1.0


def test_empty_subsets_and_fields_are_left_out():
    nobody, somebody = np.zeros(80, dtype=bool), np.arange(80) < 5
    subsets = {
        "unseen": dict.fromkeys(FIELDS, nobody),
        "tail": {"verb": nobody, "noun": somebody, "action": somebody},
    }
    scores = score(make_table(), subsets=subsets, many_shot={"verb": np.array([NUM_VERBS - 1])})
    assert set(scores) == {"overall", "tail"}
    assert set(scores["tail"]) == {"noun", "action"}


def test_masks_and_classes_that_do_not_fit_are_refused():
    table = make_table()
    with pytest.raises(ValueError, match="subset tail, verb"):
        score(table, subsets={"tail": dict.fromkeys(FIELDS, np.ones(3, dtype=bool))})
    with pytest.raises(ValueError, match="'overall'"):
        score(table, subsets={"overall": dict.fromkeys(FIELDS, np.ones(80, dtype=bool))})
    with pytest.raises(ValueError, match="many-shot verbs"):
        score(table, many_shot={"verb": np.array([0, 1, 2, 3, 4, 5, NUM_VERBS])})


def test_tables_without_labels_or_samples_have_no_score():
    table = make_table()
    with pytest.raises(PredictionError, match="without labels"):
        score(replace(table, targets=np.full(80, -1)))
    with pytest.raises(PredictionError, match="without any sample"):
        score(table.take(np.array([], dtype=np.int64)))


def at_horizon(tau_a_s, seed):
    return replace(make_table(seed), targets=make_table(0).targets, protocol={**PROTOCOL, "tau_a_s": tau_a_s})


def test_the_time_to_action_is_that_of_the_hits_of_all_tables():
    tables = [at_horizon(0.5, 1), at_horizon(2.0, 2), at_horizon(1.0, 3)]
    times_s = times_to_action([tables[0], tables[1].take(np.arange(80)[::-1]), tables[2]])
    for field in FIELDS:
        hits = np.stack([field_outcomes(table)[field].hits(5) for table in tables], axis=1)
        assert times_s[field] == time_to_action(hits, [0.5, 2.0, 1.0])


def test_horizons_that_do_not_belong_together_are_refused():
    table = at_horizon(1.0, 0)
    with pytest.raises(PredictionError, match="same anticipation time"):
        times_to_action([table, table])
    with pytest.raises(PredictionError, match="differ in more than"):
        times_to_action([table, replace(table, protocol={**PROTOCOL, "tau_a_s": 2.0, "fps": 2.0})])
    with pytest.raises(PredictionError, match="no anticipation time"):
        times_to_action([replace(table, protocol={"kind": "recognition", "num_steps": 4, "jitter": 0.0})])
    with pytest.raises(PredictionError, match="disagree about the true actions"):
        times_to_action([table, replace(at_horizon(2.0, 0), targets=(table.targets + 1) % 30)])
    with pytest.raises(ValueError, match="at least one"):
        times_to_action([])
