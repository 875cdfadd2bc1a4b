import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recall_twin import slow_class_mean_recall

from sgear.errors import PredictionError
from sgear.metrics import class_mean_recall, marginalize, paired_test, top_k_accuracy, top_k_hits


@st.composite
def scored(draw):
    num_classes, num_samples = draw(st.integers(2, 8)), draw(st.integers(1, 20))
    scores = draw(hnp.arrays(np.float64, (num_samples, num_classes), elements=st.floats(-5, 5), unique=True))
    targets = draw(hnp.arrays(np.int64, num_samples, elements=st.integers(0, num_classes - 1)))
    return scores, targets


@given(scored(), st.integers(1, 8))
def test_recall_equals_the_loop_and_count_twin(sample, k):
    scores, targets = sample
    k = min(k, scores.shape[1])
    assert class_mean_recall(scores, targets, k=k) == pytest.approx(slow_class_mean_recall(scores, targets, k))


@given(scored(), st.randoms(use_true_random=False))
def test_recall_does_not_depend_on_the_order_of_samples(sample, random):
    scores, targets = sample
    order = list(range(len(targets)))
    random.shuffle(order)
    k = min(2, scores.shape[1])
    shuffled = class_mean_recall(scores[order], targets[order], k=k)
    assert shuffled == pytest.approx(class_mean_recall(scores, targets, k=k))


@given(scored())
def test_recall_grows_with_k_up_to_1(sample):
    scores, targets = sample
    values = [class_mean_recall(scores, targets, k=k) for k in range(1, scores.shape[1] + 1)]
    assert values == sorted(values)
    assert values[-1] == 1.0


def test_recall_ignores_absent_classes():
    assert class_mean_recall(np.eye(3), np.array([0, 1, 1]), k=1) == 0.75


def test_recall_over_classes_without_samples_is_an_error():
    with pytest.raises(ValueError, match="no sample"):
        class_mean_recall(np.eye(3), np.array([0, 1, 1]), classes=np.array([2]), k=1)


def test_constant_scores_do_not_favour_any_id():
    targets = np.arange(9)
    assert top_k_hits(np.zeros((9, 9)), targets, k=4).sum() == 0
    assert top_k_hits(np.zeros((9, 9)), targets, k=5).sum() == 9


def test_nan_scores_are_refused():
    with pytest.raises(PredictionError, match="row 1"):
        top_k_accuracy(np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 0]), k=1)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_marginals_of_probabilities_sum_to_1(num_actions, num_parts, seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(num_actions), size=3)
    part_of_action = rng.integers(0, num_parts, num_actions)
    np.testing.assert_allclose(marginalize(probs, part_of_action, num_parts).sum(axis=1), 1.0)


def test_a_verb_without_action_gets_no_probability():
    marginals = marginalize(np.array([[0.25, 0.75]]), np.array([0, 2]), 3)
    np.testing.assert_allclose(marginals, [[0.25, 0.0, 0.75]])


def test_paired_test_of_a_model_with_itself_finds_nothing():
    hits = np.array([1.0, 0.0, 1.0])
    result = paired_test(hits, hits)
    assert (result.difference, result.p_value) == (0.0, 1.0)


def test_paired_test_equals_mcnemars_exact_test():
    first, second = np.array([1.0] * 10 + [0.0] * 2 + [1.0] * 5), np.array([0.0] * 10 + [1.0] * 2 + [1.0] * 5)
    # Two-sided binomial test of 10 successes in 12 at 1/2, from the tail sums of Pascal's triangle.
    assert paired_test(first, second).p_value == pytest.approx(2 * (66 + 12 + 1) / 4096)
