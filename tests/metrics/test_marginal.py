"""Verbs and nouns as sums of actions: mass, ranks without rounding, and confidence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_twins import slow_part_rank

from sgear.errors import PredictionError
from sgear.metrics import marginalize
from sgear.metrics.probabilities import Grouping, softmax_pass
from sgear.metrics.ranks import target_ranks


@st.composite
def grouped(draw):
    """Whole-numbered logits, so that sums tie often; the parts of the actions; and true actions."""
    num_parts = draw(st.integers(1, 5))
    others = draw(st.lists(st.integers(0, num_parts - 1), max_size=10))
    part_of_action = np.array(draw(st.permutations([*range(num_parts), *others])))
    num_samples = draw(st.integers(1, 6))
    rows = st.lists(st.integers(-2, 2), min_size=len(part_of_action), max_size=len(part_of_action))
    logits = np.array([draw(rows) for _ in range(num_samples)], dtype=np.float32)
    targets = np.array([draw(st.integers(0, len(part_of_action) - 1)) for _ in range(num_samples)])
    return logits, targets, part_of_action, num_parts


@given(grouped())
def test_ranks_of_parts_equal_those_without_rounding_ties_included(sample):
    logits, targets, part_of_action, num_parts = sample
    result = softmax_pass(logits, targets, [Grouping(part_of_action, num_parts)])
    expected = [
        slow_part_rank(row, target, part_of_action.tolist())
        for row, target in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    assert result.part_ranks[0].tolist() == expected


@given(grouped(), st.randoms(use_true_random=False))
def test_ranks_of_parts_do_not_depend_on_the_order_of_actions(sample, random):
    logits, targets, part_of_action, num_parts = sample
    order = list(range(len(part_of_action)))
    random.shuffle(order)
    shuffled = softmax_pass(logits[:, order], np.argsort(order)[targets], [Grouping(part_of_action[order], num_parts)])
    plain = softmax_pass(logits, targets, [Grouping(part_of_action, num_parts)])
    assert np.array_equal(shuffled.part_ranks[0], plain.part_ranks[0])


@pytest.mark.parametrize("num_threads", [1, 3])
def test_one_pass_equals_softmax_then_sums_then_ranks(num_threads):
    torch.set_num_threads(num_threads)
    rng = np.random.default_rng(0)
    part_of_action, targets = rng.integers(0, 40, 900), rng.integers(0, 900, 1000)
    logits = rng.standard_normal((1000, 900)).astype(np.float32)
    probs = torch.from_numpy(logits).double().softmax(dim=1).numpy()
    parts = marginalize(probs, part_of_action, 40)
    result = softmax_pass(logits, targets, [Grouping(part_of_action, 40), Grouping(np.arange(900), 900)])
    assert np.array_equal(result.part_ranks[0], target_ranks(parts, part_of_action[targets]))
    assert np.array_equal(result.part_ranks[1], target_ranks(logits, targets))
    np.testing.assert_allclose(result.confidence, probs.max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(result.part_confidence[0], parts.max(axis=1), rtol=1e-12)


def test_logits_far_apart_neither_overflow_nor_lose_the_best():
    logits = np.array([[1000.0, -1000.0, 999.0]], dtype=np.float32)
    result = softmax_pass(logits, np.array([0]), [Grouping(np.array([0, 1, 1]), 2)])
    assert result.part_ranks[0].tolist() == [0]
    assert result.confidence[0] == pytest.approx(1 / (1 + np.exp(-1.0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_without_a_softmax_is_refused(bad):
    logits = np.zeros((3, 2))
    logits[1, 0] = bad
    with pytest.raises(PredictionError, match="row 1"):
        softmax_pass(logits, np.zeros(3, dtype=np.int64))


def test_a_grouping_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="grouping has 2"):
        softmax_pass(np.zeros((1, 3)), np.array([0]), [Grouping(np.array([0, 1]), 2)])
    with pytest.raises(ValueError, match="2 actions"):
        marginalize(np.zeros((1, 3)), np.array([0, 1]), 2)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_marginals_of_probabilities_sum_to_1(num_actions, num_parts, seed):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(num_actions), size=3)
    part_of_action = rng.integers(0, num_parts, num_actions)
    np.testing.assert_allclose(marginalize(probs, part_of_action, num_parts).sum(axis=1), 1.0)


def test_marginals_of_many_rows_equal_the_product_with_a_table_of_members():
    rng = np.random.default_rng(0)
    probs, part_of_action = rng.random((700, 500)), rng.integers(0, 30, 500)
    members = (part_of_action[:, None] == np.arange(30)).astype(float)
    np.testing.assert_allclose(marginalize(probs, part_of_action, 30), probs @ members, rtol=1e-12)
    np.testing.assert_allclose(marginalize(probs[::-1], part_of_action, 30), (probs @ members)[::-1], rtol=1e-12)


def test_a_verb_without_action_gets_no_probability():
    marginals = marginalize(np.array([[0.25, 0.75]]), np.array([0, 2]), 3)
    np.testing.assert_allclose(marginals, [[0.25, 0.0, 0.75]])
