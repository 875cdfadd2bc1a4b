"""Paired tests: exact where exactness is possible, and honest about chance where it is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.metrics import paired_test
from sgear.metrics.statistics import mean_or_class_mean

METHODS = ["sign", "permutation", "bootstrap"]


@pytest.mark.parametrize("method", METHODS)
def test_a_model_against_itself_finds_nothing(method):
    hits = np.array([1.0, 0.0, 1.0])
    result = paired_test(hits, hits, method=method, num_resamples=50)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_sign_test_is_mcnemars_exact_test():
    first, second = np.array([1.0] * 10 + [0.0] * 2 + [1.0] * 5), np.array([0.0] * 10 + [1.0] * 2 + [1.0] * 5)
    # Two-sided binomial test of 10 successes in 12 at 1/2, from the tail sums of Pascal's triangle.
    result = paired_test(first, second, num_resamples=100)
    assert result.p_value == pytest.approx(2 * (66 + 12 + 1) / 4096)
    assert (result.num_first_only, result.num_second_only) == (10, 2)


@pytest.mark.parametrize("is_class_mean", [False, True])
def test_random_swaps_equal_all_swaps(is_class_mean):
    rng = np.random.default_rng(1)
    first, second = (rng.random(12) < 0.8).astype(float), (rng.random(12) < 0.3).astype(float)
    targets = rng.integers(0, 4, 12) if is_class_mean else None
    delta = first - second
    observed = abs(mean_or_class_mean(delta, targets))
    swapped = [
        abs(mean_or_class_mean(delta * np.array(signs), targets)) for signs in itertools.product([1, -1], repeat=12)
    ]
    expected = np.mean(np.array(swapped) >= observed - 1e-12)
    result = paired_test(first, second, targets=targets, method="permutation", num_resamples=20_000)
    assert result.p_value == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("method", ["permutation", "bootstrap"])
def test_two_equally_good_models_are_told_apart_as_often_as_the_level_says(method):
    rng = np.random.default_rng(0)
    targets = rng.choice(30, 200, p=np.arange(1, 31) / 465)
    p_values = []
    for seed in range(200):
        first, second = ((rng.random(200) < 0.4).astype(float) for _ in range(2))
        result = paired_test(first, second, targets=targets, method=method, num_resamples=100, seed=seed)
        p_values.append(result.p_value)
    # 200 trials at 5 % have a standard error of 1.5 points.
    assert np.mean(np.array(p_values) <= 0.05) <= 0.10
    assert np.mean(np.array(p_values) <= 0.5) >= 0.35


@pytest.mark.parametrize("method", METHODS)
def test_a_clearly_better_model_is_found(method):
    rng = np.random.default_rng(0)
    first, second = (rng.random(300) < 0.7).astype(float), (rng.random(300) < 0.4).astype(float)
    result = paired_test(first, second, method=method, num_resamples=2000)
    assert result.p_value < 0.01
    assert 0.15 < result.low < result.difference < result.high < 0.45


def test_class_means_are_compared_class_by_class():
    # The first model wins three samples of one class, the second one sample of each of two classes.
    first, second = np.array([1.0, 1, 1, 0, 0]), np.array([0.0, 0, 0, 1, 1])
    targets = np.array([0, 0, 0, 1, 2])
    assert paired_test(first, second, num_resamples=50).difference == pytest.approx(1 / 5)
    assert paired_test(first, second, targets=targets, num_resamples=50).difference == pytest.approx(-1 / 3)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), st.sampled_from(METHODS))
def test_swapping_the_models_swaps_the_sign_alone(pairs, method):
    first, second = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    there = paired_test(first, second, method=method, num_resamples=40)
    back = paired_test(second, first, method=method, num_resamples=40)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p_value == pytest.approx(back.p_value)
    assert (there.num_first_only, there.num_second_only) == (back.num_second_only, back.num_first_only)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="two equal non-empty"):
        paired_test(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="cannot compare class-means"):
        paired_test(np.ones(2), np.zeros(2), targets=np.array([0, 1]), method="sign")
