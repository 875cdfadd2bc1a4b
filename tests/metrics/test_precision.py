"""Precision per class and over many-shot classes: equal to a twin and to scikit-learn's macro precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_twins import slow_precision
from sklearn.metrics import precision_score

from sgear.metrics import class_mean_precision, class_mean_recall, precision_per_class


@st.composite
def scored(draw, values):
    num_classes, num_samples = draw(st.integers(2, 6)), draw(st.integers(1, 25))
    scores = draw(hnp.arrays(np.float64, (num_samples, num_classes), elements=values))
    targets = draw(hnp.arrays(np.int64, num_samples, elements=st.integers(0, num_classes - 1)))
    return scores, targets


@given(scored(st.integers(0, 2).map(float)))
def test_precision_equals_the_loop_and_count_twin_with_ties(sample):
    scores, targets = sample
    expected = slow_precision(scores, targets, scores.shape[1])
    np.testing.assert_allclose(precision_per_class(scores, targets), expected)


@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 100), st.data())
def test_many_shot_precision_equals_scikit_learn_over_the_classes_present(num_classes, num_samples, seed, data):
    rng = np.random.default_rng(seed)
    scores, targets = rng.standard_normal((num_samples, num_classes)), rng.integers(0, num_classes, num_samples)
    frequent = np.array(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=1, unique=True)))
    present = np.intersect1d(frequent, targets)
    if not len(present):
        with pytest.raises(ValueError, match="no sample"):
            class_mean_precision(scores, targets, classes=frequent)
        return
    expected = precision_score(targets, scores.argmax(axis=1), labels=present, average="macro", zero_division=0)
    assert class_mean_precision(scores, targets, classes=frequent) == pytest.approx(expected)


def test_a_class_that_is_present_but_never_guessed_has_precision_0():
    scores = np.eye(3)[[0, 0, 2]]
    np.testing.assert_array_equal(precision_per_class(scores, np.array([0, 1, 2])), [0.5, 0.0, 1.0])


def test_guesses_on_samples_of_other_classes_lower_the_precision_of_a_frequent_one():
    scores = np.eye(3)[[0, 0, 0, 1]]
    targets = np.array([0, 2, 2, 1])
    assert class_mean_precision(scores, targets, classes=np.array([0])) == pytest.approx(1 / 3)
    assert class_mean_recall(scores, targets, classes=np.array([0]), k=1) == 1.0


def test_precision_does_not_depend_on_the_order_of_classes():
    rng = np.random.default_rng(0)
    scores, targets, order = rng.integers(0, 3, (40, 6)).astype(float), rng.integers(0, 6, 40), rng.permutation(6)
    renamed = precision_per_class(scores[:, order], np.argsort(order)[targets])
    np.testing.assert_allclose(renamed, precision_per_class(scores, targets)[order])


def test_sums_that_differ_by_rounding_tie_within_the_tolerance():
    scores = np.array([[0.3, 0.1 + 0.2]])
    assert scores[0, 0] != scores[0, 1]
    assert precision_per_class(scores, np.array([1]))[1] == 1.0
    assert precision_per_class(scores, np.array([1]), tie_tolerance=1e-12)[1] == 0.0
