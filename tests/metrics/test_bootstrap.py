"""Bootstrap intervals: what they contain, how wide they are, and that the fast way draws what the slow way draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.metrics import bootstrap_interval, bootstrap_statistic
from sgear.metrics.statistics import centred_interval, mean_or_class_mean, resampled_means


@st.composite
def valued(draw):
    num_samples = draw(st.integers(1, 30))
    values = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=num_samples, max_size=num_samples))
    targets = draw(st.lists(st.integers(0, 4), min_size=num_samples, max_size=num_samples))
    return np.array(values), np.array(targets)


@given(valued(), st.booleans(), st.integers(0, 5))
def test_interval_contains_the_value_and_stays_within_the_values(sample, is_class_mean, seed):
    values, targets = sample
    interval = bootstrap_interval(values, targets if is_class_mean else None, num_resamples=50, seed=seed)
    assert interval.low <= interval.value <= interval.high
    assert values.min() <= interval.low
    assert interval.high <= values.max()


def test_resamples_of_class_means_equal_the_metric_on_the_rows_drawn():
    rng = np.random.default_rng(0)
    values, targets = rng.random(30), rng.integers(0, 8, 30)
    draws = np.random.default_rng(5)
    expected = []
    for _ in range(70):
        rows = draws.integers(0, 30, 30, dtype=np.int32)
        expected.append(mean_or_class_mean(values[rows], targets[rows]))
    np.testing.assert_allclose(resampled_means(values, targets, num_resamples=70, seed=5), expected)


def test_spread_of_a_mean_is_its_standard_error():
    hits = (np.arange(400) < 100).astype(float)
    means = resampled_means(hits, num_resamples=4000)
    assert means.std() == pytest.approx(np.sqrt(0.25 * 0.75 / 400), rel=0.05)
    assert means.mean() == pytest.approx(0.25, abs=0.002)


def test_95_percent_intervals_contain_the_truth_about_that_often():
    rng = np.random.default_rng(0)
    is_inside = []
    for seed in range(200):
        interval = bootstrap_interval((rng.random(150) < 0.3).astype(float), num_resamples=200, seed=seed)
        is_inside.append(interval.low <= 0.3 <= interval.high)
    # 200 trials at 95 % have a standard error of 1.5 points.
    assert 0.905 <= np.mean(is_inside) <= 0.995


def test_interval_of_a_class_mean_does_not_drift_with_classes_that_drop_out():
    # Singletons are never right and drop out of every third resample: raw percentiles lie above the value.
    targets = np.concatenate([np.zeros(200, dtype=np.int64), np.arange(1, 41)])
    hits = (targets == 0).astype(float)
    value = mean_or_class_mean(hits, targets)
    assert np.quantile(resampled_means(hits, targets), 0.025) > value
    interval = bootstrap_interval(hits, targets)
    assert interval.low < interval.value == value < interval.high


def test_a_wider_level_gives_a_wider_interval():
    hits = np.random.default_rng(0).random(100) < 0.5
    narrow, wide = (bootstrap_interval(hits.astype(float), level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval():
    hits = np.random.default_rng(0).random(100)
    assert bootstrap_interval(hits, seed=1) == bootstrap_interval(hits, seed=1)
    assert bootstrap_interval(hits, seed=1) != bootstrap_interval(hits, seed=2)


def test_any_number_of_the_rows_can_be_resampled():
    hits = (np.random.default_rng(0).random(200) < 0.4).astype(float)
    slow = bootstrap_statistic(lambda rows: hits[rows].mean(), 200, num_resamples=2000)
    fast = bootstrap_interval(hits)
    assert slow.value == fast.value
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), abs=0.015)


@pytest.mark.parametrize(
    ("values", "targets"), [(np.empty(0), None), (np.ones(2), np.zeros(3, dtype=np.int64)), (np.ones((2, 2)), None)]
)
def test_values_that_do_not_fit_are_refused(values, targets):
    with pytest.raises(ValueError, match="non-empty values"):
        bootstrap_interval(values, targets)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_resamples=0"):
        bootstrap_interval(np.ones(3), num_resamples=0)
    with pytest.raises(ValueError, match=r"level=1\.0"):
        centred_interval(0.5, np.ones(3), level=1.0)
    with pytest.raises(ValueError, match="num_samples=0"):
        bootstrap_statistic(lambda rows: 0.0, 0)
