"""Time to action and the curve over horizons."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_twins import slow_time_to_action

from sgear.metrics import time_to_action

TIMES_S = (2.0, 1.75, 1.5, 1.25, 1.0, 0.75, 0.5, 0.25)
HITS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.just(len(TIMES_S))))


@given(HITS)
def test_time_to_action_equals_the_loop_and_count_twin(hits):
    assert time_to_action(hits, TIMES_S) == pytest.approx(slow_time_to_action(hits, TIMES_S))


def test_always_right_has_the_longest_time_and_never_right_has_0():
    assert time_to_action(np.ones((5, 8), dtype=bool), TIMES_S) == 2.0
    assert time_to_action(np.zeros((5, 8), dtype=bool), TIMES_S) == 0.0


def test_an_early_hit_counts_even_if_later_answers_are_wrong():
    assert time_to_action(np.array([[False, True, False]]), [3.0, 2.0, 1.0]) == 2.0


@given(HITS, st.permutations(range(8)))
def test_time_to_action_does_not_depend_on_the_order_of_horizons(hits, order):
    shuffled = time_to_action(hits[:, order], [TIMES_S[index] for index in order])
    assert shuffled == pytest.approx(time_to_action(hits, TIMES_S))


@given(HITS, HITS)
def test_more_hits_never_come_later(hits, others):
    rows = min(len(hits), len(others))
    hits, others = hits[:rows], others[:rows]
    assert time_to_action(hits | others, TIMES_S) >= time_to_action(hits, TIMES_S)


@pytest.mark.parametrize("times_s", [[1.0], [1.0, 0.0], [1.0, 1.0], [np.nan, 1.0]])
def test_times_that_are_no_horizons_are_refused(times_s):
    with pytest.raises(ValueError, match=r"anticipation times|expected"):
        time_to_action(np.ones((2, 2), dtype=bool), times_s)


def test_no_samples_have_no_time_to_action():
    with pytest.raises(ValueError, match="expected"):
        time_to_action(np.ones((0, 2), dtype=bool), [1.0, 2.0])
