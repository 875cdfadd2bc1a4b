"""Calibration: a model that means what it says has no error, and the tables add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_twins import slow_calibration_error

from sgear.metrics import reliability

CONFIDENCES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


@given(CONFIDENCES, st.integers(1, 20))
def test_equal_width_error_equals_the_loop_and_count_twin(pairs, num_bins):
    confidence, is_right = (np.array(column) for column in zip(*pairs, strict=True))
    expected = slow_calibration_error(confidence, is_right, num_bins)
    assert reliability(confidence, is_right, num_bins=num_bins).ece == pytest.approx(expected)


@given(CONFIDENCES, st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_error_is_between_0_and_the_largest_gap_and_counts_are_complete(pairs, num_bins, binning):
    confidence, is_right = (np.array(column) for column in zip(*pairs, strict=True))
    table = reliability(confidence, is_right, num_bins=num_bins, binning=binning)
    assert 0 <= table.ece <= table.max_gap + 1e-12 <= 1 + 1e-9
    assert table.counts.sum() == len(pairs)
    filled = table.counts > 0
    assert np.array_equal(np.isnan(table.accuracy), ~filled)
    np.testing.assert_allclose((table.accuracy * table.counts)[filled].sum(), is_right.sum())


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_a_calibrated_model_has_almost_no_error_and_an_overconfident_one_has_its_excess(binning):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 200_000)
    is_right = rng.random(200_000) < confidence
    # A bin of 13,333 samples errs by less than 0.005 on average.
    assert reliability(confidence, is_right, binning=binning).ece < 0.005
    too_sure = np.minimum(confidence + 0.2, 1.0)
    excess = (too_sure - confidence).mean()
    assert reliability(too_sure, is_right, binning=binning).ece == pytest.approx(excess, abs=0.005)


@given(CONFIDENCES, st.randoms(use_true_random=False), st.sampled_from(["width", "mass"]))
def test_error_does_not_depend_on_the_order_of_samples(pairs, random, binning):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    errors = []
    for each in (pairs, shuffled):
        confidence, is_right = (np.array(column) for column in zip(*each, strict=True))
        errors.append(reliability(confidence, is_right, num_bins=4, binning=binning).ece)
    assert errors[0] == pytest.approx(errors[1])


def test_bins_of_equal_mass_hold_equal_numbers_of_different_confidences():
    confidence = np.random.default_rng(0).permutation(np.linspace(0, 0.1, 30))
    table = reliability(confidence, np.zeros(30, dtype=bool), num_bins=6, binning="mass")
    assert table.counts.tolist() == [5] * 6
    assert reliability(confidence, np.zeros(30, dtype=bool), num_bins=6).counts.tolist() == [30, 0, 0, 0, 0, 0]


def test_equal_confidences_share_a_bin():
    table = reliability(np.full(10, 0.4), np.arange(10) < 4, num_bins=3, binning="mass")
    assert table.counts.tolist() == [10, 0, 0]
    assert table.ece == pytest.approx(0.0)


@pytest.mark.parametrize("confidence", [[0.5, 1.1], [-0.1, 0.5], [np.nan, 0.5]])
def test_confidences_that_are_no_probabilities_are_refused(confidence):
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        reliability(np.array(confidence), np.array([True, False]))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="non-empty"):
        reliability(np.empty(0), np.empty(0, dtype=bool))
    with pytest.raises(ValueError, match="num_bins=0"):
        reliability(np.array([0.5]), np.array([True]), num_bins=0)
