"""Ranks, accuracy and class-mean recall: equal to slow twins and to scikit-learn, and the laws they obey."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_twins import slow_class_mean_recall, slow_rank
from sklearn.metrics import recall_score, top_k_accuracy_score

from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall, target_ranks, top_k_accuracy, top_k_hits


@st.composite
def scored(draw, *, with_ties=False):
    num_classes, num_samples = draw(st.integers(2, 12)), draw(st.integers(1, 20))
    values = st.integers(-2, 2).map(float) if with_ties else st.floats(-5, 5)
    scores = draw(hnp.arrays(np.float64, (num_samples, num_classes), elements=values, unique=not with_ties))
    targets = draw(hnp.arrays(np.int64, num_samples, elements=st.integers(0, num_classes - 1)))
    return scores, targets


@given(scored(with_ties=True))
def test_ranks_equal_the_loop_and_count_twin_with_ties(sample):
    scores, targets = sample
    expected = [slow_rank(row, target) for row, target in zip(scores.tolist(), targets.tolist(), strict=True)]
    assert target_ranks(scores, targets).tolist() == expected


@given(st.integers(1, 5000), st.integers(0, 100))
def test_ranks_of_any_number_of_classes_count_every_class(num_classes, seed):
    # Counting adds eight flags at once and up to 255 times: widths around those borders are the risk.
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (3, num_classes)).astype(np.float32)
    targets = rng.integers(0, num_classes, 3)
    expected = [slow_rank(row, target) for row, target in zip(scores.tolist(), targets.tolist(), strict=True)]
    assert target_ranks(scores, targets).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ranks_are_the_same_in_every_number_format_and_layout(dtype):
    rng = np.random.default_rng(0)
    scores = rng.integers(-50, 50, (700, 430)).astype(dtype)
    targets = rng.integers(0, 430, 700)
    expected = ((scores > scores[np.arange(700), targets][:, None]).sum(axis=1)) + (
        (scores == scores[np.arange(700), targets][:, None]).sum(axis=1)
    ) // 2
    scores.setflags(write=False)
    assert np.array_equal(target_ranks(scores, targets), expected)
    assert np.array_equal(target_ranks(np.asfortranarray(scores), targets), expected)
    assert np.array_equal(target_ranks(scores[::-1], targets[::-1]), expected[::-1])


@given(scored(), st.integers(1, 12))
def test_recall_equals_the_loop_and_count_twin(sample, k):
    scores, targets = sample
    k = min(k, scores.shape[1])
    assert class_mean_recall(scores, targets, k=k) == pytest.approx(slow_class_mean_recall(scores, targets, k))


@given(scored(), st.integers(1, 11))
def test_accuracy_equals_scikit_learn(sample, k):
    scores, targets = sample
    num_classes = scores.shape[1]
    k = min(k, num_classes - 1)
    if num_classes == 2:
        scores, num_classes = np.column_stack([scores, scores.min(axis=1) - 1]), 3
    expected = top_k_accuracy_score(targets, scores, k=k, labels=np.arange(num_classes))
    assert top_k_accuracy(scores, targets, k=k) == pytest.approx(expected)


@given(scored())
def test_class_mean_accuracy_equals_the_macro_recall_of_scikit_learn(sample):
    scores, targets = sample
    expected = recall_score(targets, scores.argmax(axis=1), labels=np.unique(targets), average="macro")
    assert class_mean_recall(scores, targets, k=1) == pytest.approx(expected)


@given(scored(with_ties=True), st.randoms(use_true_random=False))
def test_numbers_do_not_depend_on_the_order_of_samples(sample, random):
    scores, targets = sample
    order = list(range(len(targets)))
    random.shuffle(order)
    shuffled = class_mean_recall(scores[order], targets[order], k=2)
    assert shuffled == pytest.approx(class_mean_recall(scores, targets, k=2))
    assert top_k_accuracy(scores[order], targets[order], k=2) == top_k_accuracy(scores, targets, k=2)


@given(scored(with_ties=True), st.randoms(use_true_random=False))
def test_numbers_do_not_depend_on_the_order_of_classes(sample, random):
    scores, targets = sample
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    new_id = np.argsort(order)
    renamed = class_mean_recall(scores[:, order], new_id[targets], k=2)
    assert renamed == pytest.approx(class_mean_recall(scores, targets, k=2))
    assert np.array_equal(target_ranks(scores[:, order], new_id[targets]), target_ranks(scores, targets))


@given(scored(with_ties=True))
def test_recall_grows_with_k_up_to_1(sample):
    scores, targets = sample
    values = [class_mean_recall(scores, targets, k=k) for k in range(1, scores.shape[1] + 1)]
    assert values == sorted(values)
    assert values[-1] == 1.0


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 50))
def test_recall_of_a_constant_guess_is_the_share_of_its_classes(num_classes, k, seed):
    k = min(k, num_classes)
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(num_classes), [3] + [1] * (num_classes - 1)))
    guess = np.arange(num_classes, 0, -1.0)
    scores = np.broadcast_to(guess, (len(targets), num_classes))
    assert class_mean_recall(scores, targets, k=k) == pytest.approx(k / num_classes)
    assert top_k_accuracy(scores, targets, k=k) == pytest.approx((k + 2) / (num_classes + 2))


def test_recall_ignores_absent_classes():
    assert class_mean_recall(np.eye(3), np.array([0, 1, 1]), k=1) == 0.75


@given(scored())
def test_recall_over_all_classes_is_the_weighted_mean_of_any_two_halves(sample):
    scores, targets = sample
    present = np.unique(targets)
    halves = [half for half in (present[::2], present[1::2]) if len(half)]
    values = [class_mean_recall(scores, targets, k=2, classes=half) for half in halves]
    mean = np.average(values, weights=[len(half) for half in halves])
    assert mean == pytest.approx(class_mean_recall(scores, targets, k=2))


def test_recall_over_classes_without_samples_is_an_error():
    with pytest.raises(ValueError, match="no sample"):
        class_mean_recall(np.eye(3), np.array([0, 1, 1]), classes=np.array([2]), k=1)


def test_constant_scores_do_not_favour_any_id():
    targets = np.arange(9)
    assert top_k_hits(np.zeros((9, 9)), targets, k=4).sum() == 0
    assert top_k_hits(np.zeros((9, 9)), targets, k=5).sum() == 9


def test_nan_scores_are_refused_by_row():
    with pytest.raises(PredictionError, match="row 1"):
        top_k_accuracy(np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 0]), k=1)


def test_infinite_scores_are_scores():
    scores = np.array([[np.inf, 0.0, -np.inf]] * 3)
    assert target_ranks(scores, np.array([0, 1, 2])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("targets", [np.array([0]), np.array([0, 3]), np.array([-1, 0])])
def test_targets_that_do_not_fit_the_scores_are_refused(targets):
    with pytest.raises(ValueError, match="targets"):
        target_ranks(np.zeros((2, 3)), targets)


@pytest.mark.parametrize("k", [0, 4])
def test_k_outside_the_number_of_classes_is_refused(k):
    with pytest.raises(ValueError, match=f"k={k}"):
        class_mean_recall(np.eye(3), np.array([0, 1, 1]), k=k)


def test_accuracy_of_no_samples_is_an_error():
    with pytest.raises(ValueError, match="no samples"):
        top_k_accuracy(np.empty((0, 3)), np.empty(0, dtype=np.int64), k=1)
