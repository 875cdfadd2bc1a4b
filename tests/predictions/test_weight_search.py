"""Weights are found on held-out segments, exactly and repeatably, and never on the reported ones."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scoring_examples import PROTOCOL
from scoring_examples import graded_table as table

from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall, top_k_accuracy
from sgear.predictions import late_fuse
from sgear.predictions.fusion import RULES
from sgear.predictions.held_out import fuse_with_search, search_weights


def score_of(fused, metric, field="action"):
    scores, targets = fused.field_probs(field), fused.field_targets(field)
    k = 1 if metric == "top1" else min(5, scores.shape[1])
    return (class_mean_recall if metric == "recall5" else top_k_accuracy)(scores, targets, k=k)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("metric", ["recall5", "top1", "top5"])
def test_the_score_of_the_search_is_that_of_the_fused_table(rule, metric):
    tables = [table(1), table(2)]
    found = search_weights(tables, metric=metric, rule=rule, num_steps=5)
    assert found.score == pytest.approx(score_of(late_fuse(tables, found.weights, rule=rule), metric), abs=1e-9)


def test_three_tables_are_searched_on_the_whole_grid():
    tables = [table(1), table(2), table(3)]
    found = search_weights(tables, num_steps=4)
    grid = {tuple(step / 4 for step in steps) for steps in itertools.product(range(5), repeat=3) if sum(steps) == 4}
    assert {weights for weights, _ in found.tried} == grid
    best = max(score_of(late_fuse(tables, weights), "recall5") for weights in grid)
    assert found.score == pytest.approx(best, abs=1e-9)


def test_a_useless_model_gets_no_weight():
    good, useless = table(1, strength=4.0), table(2, strength=0.0)
    found = search_weights([good, useless], metric="top1")
    assert found.weights[0] > 0.5
    assert found.score >= score_of(good, "top1")


def test_equal_scores_give_the_most_even_weights():
    same = table(1)
    assert search_weights([same, same], num_steps=4).weights == (0.5, 0.5)


def test_four_tables_are_never_worse_than_the_best_single_one_or_the_mean():
    tables = [table(seed, strength=0.5 * seed) for seed in range(1, 5)]
    found = search_weights(tables, num_steps=5)
    singles = [score_of(each, "recall5") for each in tables]
    assert found.score >= max(*singles, score_of(late_fuse(tables, [1.0] * 4), "recall5")) - 1e-9
    assert sum(found.weights) == pytest.approx(1.0)


def test_the_search_is_the_same_each_time():
    tables = [table(seed) for seed in range(4)]
    assert search_weights(tables, num_steps=4) == search_weights(tables, num_steps=4)


def test_verbs_are_searched_by_their_own_score():
    tables = [table(1), table(2)]
    found = search_weights(tables, metric="top1", field="verb", num_steps=4)
    fused = late_fuse(tables, found.weights, field_weights={"verb": found.weights})
    assert found.field == "verb"
    assert found.score == pytest.approx(score_of(fused, "top1", "verb"), abs=1e-9)


def test_rows_of_held_out_tables_are_joined_by_uid():
    first, second = table(1), table(2)
    rows = np.random.default_rng(0).permutation(60)
    assert search_weights([first, second.take(rows)], num_steps=4) == search_weights([first, second], num_steps=4)


def test_one_shared_segment_is_enough_to_refuse():
    reported = table(1, prefix="r")
    held_out = table(2)
    mixed = replace(held_out, uids=(*held_out.uids[:-1], "r_7"))
    fuse_with_search([reported, reported], [held_out, held_out], num_steps=1)
    with pytest.raises(PredictionError, match=r"1 segments are in the held-out and in the reported .* 'r_7'.* noise"):
        fuse_with_search([reported, reported], [mixed, mixed])


def test_the_result_says_where_its_weights_were_found():
    reported = [table(seed, prefix="r") for seed in (1, 2)]
    held_out = [table(seed) for seed in (3, 4)]
    fused, searches = fuse_with_search(reported, held_out, num_steps=4, fields=("verb",))
    assert set(searches) == {"action", "verb"}
    note = fused.provenance["weights_searched_on"]["action"]
    assert note["held_out_segments"] == 60
    assert note["weights"] == list(searches["action"].weights)
    assert note["num_tried"] == 5
    json.dumps(fused.provenance)
    expected = late_fuse(reported, searches["action"].weights, field_weights={"verb": searches["verb"].weights})
    assert np.array_equal(fused.logits, expected.logits)
    assert np.array_equal(fused.verb_logits, expected.verb_logits)


def test_the_search_does_not_look_at_the_reported_labels():
    held_out = [table(seed) for seed in (3, 4)]
    found = []
    for offset in (0, 7):
        truth = (np.arange(60) + offset) % 20
        reported = [table(seed, prefix="r", targets=truth, strength=0.0) for seed in (1, 2)]
        found.append(fuse_with_search(reported, held_out, num_steps=4)[0].logits)
    assert np.array_equal(*found)


def test_models_of_another_protocol_are_not_searched_for():
    reported = [table(seed, prefix="r") for seed in (1, 2)]
    held_out = [table(seed, protocol={**PROTOCOL, "tau_a_s": 0.5}) for seed in (3, 4)]
    with pytest.raises(PredictionError, match="different protocols"):
        fuse_with_search(reported, held_out)


def test_a_search_needs_labels_and_two_tables():
    unlabelled = table(1, targets=np.full(60, -1))
    with pytest.raises(PredictionError, match="without labels"):
        search_weights([unlabelled, unlabelled])
    with pytest.raises(ValueError, match="at least 2 tables"):
        search_weights([table(1)])
    with pytest.raises(ValueError, match="one per model"):
        fuse_with_search([table(1, prefix="r")] * 2, [table(1)] * 3)
