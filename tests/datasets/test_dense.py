import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.datasets.dense import dense_accuracy, observed_and_future

CLASSES = 4
videos = st.lists(
    st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=0, max_size=12),
    min_size=1,
    max_size=5,
).filter(any)


def looped_accuracy(predicted: list[list[int]], true: list[list[int]]) -> float:
    """The definition with loops: right and wrong frames per class over all videos, then the mean over classes."""
    right, wrong = {}, {}
    for guesses, targets in zip(predicted, true, strict=True):
        for guess, target in zip(guesses, targets, strict=True):
            counter = right if guess == target else wrong
            counter[target] = counter.get(target, 0) + 1
    shares = [right.get(c, 0) / (right.get(c, 0) + wrong.get(c, 0)) for c in range(CLASSES) if c in right or c in wrong]
    return sum(shares) / len(shares)


@given(videos)
def test_accuracy_equals_the_looped_twin(pairs):
    predicted = [[guess for guess, _ in video] for video in pairs]
    true = [[target for _, target in video] for video in pairs]
    fast = dense_accuracy([np.array(v, dtype=int) for v in predicted], [np.array(v, dtype=int) for v in true], CLASSES)
    assert fast == pytest.approx(looped_accuracy(predicted, true), abs=1e-12)


def test_frames_are_counted_over_all_videos_before_the_mean():
    # Class 0: 1 of 4 frames right over both videos, class 1: 1 of 1. A mean per video would give another value.
    true = [np.array([0, 0, 0]), np.array([0, 1])]
    predicted = [np.array([1, 1, 1]), np.array([0, 1])]
    assert dense_accuracy(predicted, true, 2) == (1 / 4 + 1) / 2


def test_classes_that_do_not_occur_do_not_count():
    assert dense_accuracy([np.array([2, 2])], [np.array([2, 2])], 19) == 1.0


def test_shares_are_of_the_whole_video_and_rounded_down():
    observed, future = observed_and_future(np.arange(99), 0.2, 0.5)
    assert (observed[0], observed[-1], future[0], future[-1]) == (0, 18, 19, 67)


@given(st.integers(20, 500), st.sampled_from([0.2, 0.3]), st.sampled_from([0.1, 0.2, 0.3, 0.5]))
def test_the_future_follows_the_observed_frames_without_a_gap(num_frames, observe, predict):
    labels = np.arange(num_frames)
    observed, future = observed_and_future(labels, observe, predict)
    assert np.array_equal(np.concatenate([observed, future]), labels[: len(observed) + len(future)])
    assert len(observed) == int(observe * num_frames)
    assert len(future) == int(predict * num_frames)


@pytest.mark.parametrize(("observe", "predict"), [(0.0, 0.1), (0.6, 0.5), (0.2, -0.1), (float("nan"), 0.1)])
def test_shares_out_of_range_are_errors(observe, predict):
    with pytest.raises(ValueError, match="must be positive and sum to at most 1"):
        observed_and_future(np.arange(100), observe, predict)


def test_a_video_without_a_frame_to_predict_is_an_error():
    with pytest.raises(ValueError, match="a video of 9 frames"):
        observed_and_future(np.arange(9), 0.2, 0.1)


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [([[0]], [[0, 1]], "same number of frames"), ([[4]], [[0]], "predicted classes"), ([[]], [[]], "no frame")],
)
def test_contradictory_frames_are_errors(predicted, true, message):
    with pytest.raises(ValueError, match=message):
        dense_accuracy([np.array(v, dtype=int) for v in predicted], [np.array(v, dtype=int) for v in true], 4)
