"""Intervals and tests of whole tables, and tables at several anticipation times."""

from dataclasses import replace

import numpy as np
import pytest
from scoring_examples import PROTOCOL, make_masks, make_table

from sgear.errors import PredictionError
from sgear.metrics import paired_test, time_to_action
from sgear.predictions import compare_predictions, field_outcomes, score, score_intervals, times_to_action
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
