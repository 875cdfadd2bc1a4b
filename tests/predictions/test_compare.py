"""Intervals and tests of whole tables, and two models side by side: scores and classes that changed hands."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scoring_examples import GRADED_TAXONOMY, PROTOCOL, graded_table, make_masks, make_table

from sgear.errors import PredictionError
from sgear.metrics import paired_test
from sgear.predictions import compare_predictions, field_outcomes, score, score_intervals
from sgear.predictions.compare import compare
from sgear.taxonomy import FIELDS


@pytest.mark.parametrize("has_heads", [False, True])
def test_intervals_are_around_the_scores(has_heads):
    table, subsets = make_table(has_heads=has_heads), make_masks()
    scores, intervals = score(table, subsets=subsets), score_intervals(table, subsets=subsets, num_resamples=100)
    assert set(intervals) == {"overall", "unseen"}
    for subset, by_field in intervals.items():
        for field, by_name in by_field.items():
            assert set(by_name) == {"top1", "top5", "recall5", "class_mean_top1"}
            for name, interval in by_name.items():
                assert interval.value == pytest.approx(scores[subset][field][name])
                assert interval.low <= interval.value <= interval.high
    wide = intervals["overall"]["action"]["top5"]
    assert wide.high - wide.low > 0.05


def test_differences_are_those_of_the_scores_and_do_not_depend_on_row_order():
    first, second = make_table(0), replace(make_table(1), targets=make_table(0).targets)
    subsets = make_masks()
    shuffled = second.take(np.random.default_rng(0).permutation(80))
    tests = compare_predictions(first, shuffled, subsets=subsets, num_resamples=100)
    mine, other = score(first, subsets=subsets), score(second, subsets=subsets)
    for subset, by_field in tests.items():
        for field, by_name in by_field.items():
            for name, test in by_name.items():
                assert test.difference == pytest.approx(mine[subset][field][name] - other[subset][field][name])
                assert test.low <= test.difference <= test.high
                assert 0 < test.p_value <= 1


def test_a_comparison_of_accuracies_is_the_sign_test_on_hits():
    first, second = make_table(0), replace(make_table(1), targets=make_table(0).targets)
    hits, others = (field_outcomes(table)["noun"].hits(5).astype(float) for table in (first, second))
    expected = paired_test(hits, others, num_resamples=50)
    assert compare_predictions(first, second, num_resamples=50)["overall"]["noun"]["top5"] == expected


def test_the_sign_test_leaves_class_means_out():
    table = make_table()
    tests = compare_predictions(table, table, method="sign", num_resamples=10)
    assert set(tests["overall"]["action"]) == {"top1", "top5"}


def test_a_model_that_knows_more_is_found_better_in_every_field():
    table = make_table()
    logits = table.logits.copy()
    logits[np.arange(80), table.targets] += 4
    tests = compare_predictions(replace(table, logits=logits), table, num_resamples=500)
    for field in FIELDS:
        assert tests["overall"][field]["recall5"].p_value < 0.05
        assert tests["overall"][field]["recall5"].low > 0


def test_tables_that_are_not_comparable_are_refused():
    table = make_table()
    with pytest.raises(PredictionError, match="different protocols"):
        compare_predictions(table, replace(table, protocol={**PROTOCOL, "tau_a_s": 2.0}))
    with pytest.raises(PredictionError, match="disagree about the true actions"):
        compare_predictions(table, replace(table, targets=(table.targets + 1) % 30))
    with pytest.raises(PredictionError, match="without labels"):
        compare_predictions(*(replace(table, targets=np.full(80, -1)),) * 2)


def subsets():
    mask = np.arange(60) < 30
    return {"unseen": dict.fromkeys(FIELDS, mask)}


def test_every_score_is_that_of_each_model_alone():
    first, second = graded_table(1), graded_table(2)
    result = compare(first, second, subsets=subsets(), num_resamples=50)
    scores = [score(each, subsets=subsets()) for each in (first, second)]
    assert len(result.scores) == 2 * 3 * 3
    for row in result.scores:
        assert row.first == scores[0][row.subset][row.field][row.metric]
        assert row.second == scores[1][row.subset][row.field][row.metric]
        assert row.difference == pytest.approx(row.first - row.second, abs=1e-12)
        assert row.low <= row.difference <= row.high
        assert row.num_samples == (30 if row.subset == "unseen" else 60)


def test_a_comparison_counts_and_tests_accuracies_as_the_paired_test_does():
    first, second = graded_table(1), graded_table(2)
    hits = [(each.logits.argmax(axis=1) == each.targets).astype(float) for each in (first, second)]
    expected = paired_test(*hits, num_resamples=200, seed=3)
    result = compare(first, second, num_resamples=200, seed=3)
    row = next(row for row in result.scores if (row.field, row.metric) == ("action", "top1"))
    assert (row.p_value, row.low, row.high) == (expected.p_value, expected.low, expected.high)
    assert row.num_first_only == int(((hits[0] == 1) & (hits[1] == 0)).sum())
    assert row.num_second_only == int(((hits[0] == 0) & (hits[1] == 1)).sum())


def test_a_model_differs_from_itself_in_nothing():
    result = compare(graded_table(1), graded_table(1), num_resamples=50)
    assert all(row.difference == 0 and row.p_value == 1 and row.num_first_only == 0 for row in result.scores)
    assert not any(result.gains.values())
    assert not any(result.losses.values())


def test_swapping_the_models_turns_every_sign():
    forward = compare(graded_table(1), graded_table(2), num_resamples=50)
    backward = compare(graded_table(2), graded_table(1), num_resamples=50)
    for one, other in zip(forward.scores, backward.scores, strict=True):
        assert one.difference == -other.difference
        assert (one.num_first_only, one.num_second_only) == (other.num_second_only, other.num_first_only)
    for field in FIELDS:
        names = [[change.name for change in changes[field]] for changes in (forward.gains, backward.losses)]
        assert names[0] == names[1]


def test_classes_are_listed_by_the_segments_they_gained():
    first, second = graded_table(1), graded_table(2, strength=-3.0)
    result = compare(first, second, num_resamples=20)
    gains = result.gains["action"]
    assert 0 < len(gains) <= 10
    assert [change.num_hits for change in gains] == sorted((change.num_hits for change in gains), reverse=True)
    for change in gains:
        rows = first.targets == change.class_id
        own = (np.argsort(-first.logits[rows], axis=1)[:, :5] == change.class_id).any(axis=1)
        other = (np.argsort(-second.logits[rows], axis=1)[:, :5] == change.class_id).any(axis=1)
        assert change.name == GRADED_TAXONOMY.action_names[change.class_id]
        assert change.num_hits == own.sum() - other.sum()
        assert (change.first, change.second) == (own.mean(), other.mean())
        assert change.num_samples == rows.sum()


def test_a_comparison_is_plain_json():
    result = compare(graded_table(1), graded_table(2), num_resamples=20).to_dict()
    assert json.loads(json.dumps(result)) == json.loads(json.dumps(result, allow_nan=False))
    assert len(result["scores"]) == 9
