import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgear.timing import AnticipationProtocol, RecognitionProtocol, VJepaProtocol, observable, protocol_from_dict

positive = st.floats(0.1, 30, allow_nan=False)


@given(tau_a_s=positive, tau_o_s=st.floats(1, 60), fps=st.floats(1, 30), start_s=st.floats(0, 1000))
def test_no_instant_of_a_window_is_later_than_tau_a_before_the_action(tau_a_s, tau_o_s, fps, start_s):
    protocol = AnticipationProtocol(tau_a_s=tau_a_s, tau_o_s=tau_o_s, fps=fps)
    timestamps_s = protocol.timestamps(start_s)
    assert len(timestamps_s) == protocol.num_steps
    assert timestamps_s[-1] == start_s - tau_a_s
    assert (np.diff(timestamps_s) > 0).all()
    protocol.assert_no_future(timestamps_s, start_s)


def test_a_frame_from_the_future_is_caught():
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
    with pytest.raises(AssertionError, match=r"9\.1"):
        protocol.assert_no_future(np.array([8.0, 9.1]), anchor_s=10.0)


def test_training_may_lengthen_tau_a_but_never_shorten_it():
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)
    assert protocol.timestamps(10.0, 1.5)[-1] == 8.5
    with pytest.raises(ValueError, match="shorter"):
        protocol.timestamps(10.0, 0.5)


@pytest.mark.parametrize("tau_a_s", [0.0, -1.0, float("nan"), float("inf")])
def test_anticipation_cannot_look_into_the_action(tau_a_s):
    with pytest.raises(ValueError, match="tau_a_s"):
        AnticipationProtocol(tau_a_s=tau_a_s, tau_o_s=4.0, fps=1.0)


@given(start_s=st.floats(0, 100), length_s=st.floats(0.1, 20), num_steps=st.integers(1, 20), seed=st.integers(0, 99))
def test_recognition_stays_inside_the_action(start_s, length_s, num_steps, seed):
    protocol = RecognitionProtocol(num_steps=num_steps, jitter=1.0)
    for rng in (None, np.random.default_rng(seed)):
        timestamps_s = protocol.timestamps(start_s, start_s + length_s, rng)
        assert start_s - 1e-9 <= timestamps_s.min()
        assert timestamps_s.max() <= start_s + length_s + 1e-9
        assert (np.diff(timestamps_s) >= -1e-9).all()


@given(
    start_s=st.floats(0, 100),
    length_s=st.floats(0.1, 20),
    after_start_s=st.floats(0.1, 5),
    fps=st.floats(0.5, 10),
    num_steps=st.integers(1, 20),
)
def test_a_recognition_window_ends_after_the_start_whatever_the_length(
    start_s, length_s, after_start_s, fps, num_steps
):
    protocol = RecognitionProtocol(num_steps=num_steps, after_start_s=after_start_s, fps=fps)
    timestamps_s = protocol.timestamps(start_s, start_s + length_s, np.random.default_rng(0))
    expected = [start_s + after_start_s - (num_steps - 1 - step) / fps for step in range(num_steps)]
    assert timestamps_s == pytest.approx(expected)
    ended = protocol.timestamps(start_s, start_s + length_s, last_s=start_s + after_start_s / 2)
    assert ended[-1] == start_s + after_start_s / 2
    assert np.diff(ended) == pytest.approx(np.diff(timestamps_s))


def test_the_released_recognition_window_is_10_frames_at_2_fps_until_1_s_after_the_start():
    protocol = RecognitionProtocol(num_steps=10, after_start_s=1.0, fps=2.0)
    assert protocol.timestamps(20.0, 27.0).tolist() == [16.5, 17.0, 17.5, 18.0, 18.5, 19.0, 19.5, 20.0, 20.5, 21.0]
    assert protocol.kind == "recognition"
    assert protocol.to_dict() == {"kind": "recognition", "num_steps": 10, "after_start_s": 1.0, "fps": 2.0}


@pytest.mark.parametrize(
    "settings",
    [
        {"after_start_s": 1.0},
        {"fps": 2.0},
        {"after_start_s": -1.0, "fps": 2.0},
        {"after_start_s": float("nan"), "fps": 2.0},
        {"after_start_s": 1.0, "fps": 2.0, "jitter": 0.5},
    ],
)
def test_half_a_recognition_window_is_refused(settings):
    with pytest.raises(ValueError, match="after_start_s"):
        RecognitionProtocol(num_steps=4, **settings)


def test_what_is_averaged_over_views_belongs_to_protocols_of_several_views():
    window = {"tau_a_s": 1.0, "tau_o_s": 4.0, "fps": 1.0}
    crops = [AnticipationProtocol(**window, views="three-crop", view_mean=mean) for mean in ("logits", "probabilities")]
    assert crops[0] != crops[1]
    assert AnticipationProtocol(**window, view_mean="logits") == AnticipationProtocol(**window)


def test_instants_before_the_video_do_not_exist():
    assert observable(np.array([-0.5, 0.0, 0.5])).tolist() == [False, True, True]


PROTOCOLS = [
    AnticipationProtocol(tau_a_s=1.0, tau_o_s=15.0, fps=1.0),
    AnticipationProtocol(
        tau_a_s=0.5, tau_o_s=4.0, fps=4.0, short_history="repeat", views="three-crop-flip", view_mean="logits"
    ),
    VJepaProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=8.0),
    RecognitionProtocol(num_steps=4, jitter=0.5),
    RecognitionProtocol(num_steps=10, after_start_s=1.0, fps=2.0),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_survives_its_dict(protocol):
    assert protocol_from_dict(protocol.to_dict()) == protocol


def test_stamps_of_the_first_version_are_read_with_the_rules_they_had():
    stamp = {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 15.0, "fps": 1.0}
    assert protocol_from_dict(stamp) == PROTOCOLS[0]


@pytest.mark.parametrize(
    "stamp",
    [
        {"kind": "anticipation"},
        {"kind": "oracle", "tau_a_s": 1.0},
        {"tau_a_s": 1.0, "tau_o_s": 15.0, "fps": 1.0},
        {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 15.0, "fps": 1.0, "views": "all"},
        {"kind": "anticipation", "tau_a_s": 1.0, "tau_o_s": 15.0, "fps": 1.0, "short_history": "zeros"},
        {"kind": "anticipation", "tau_a_s": "soon", "tau_o_s": 15.0, "fps": 1.0},
        {"kind": "recognition"},
    ],
)
def test_a_stamp_that_cannot_be_read_is_an_error(stamp):
    with pytest.raises(ValueError, match=r"protocol|must be|convert"):
        protocol_from_dict(stamp)


def test_the_two_anchors_differ_by_the_length_of_the_action():
    anticipation, vjepa = PROTOCOLS[0], PROTOCOLS[2]
    assert anticipation.timestamps(anticipation.anchor_s(10.0, 16.0))[-1] == 9.0
    assert vjepa.timestamps(vjepa.anchor_s(10.0, 16.0))[-1] == 15.0


def test_no_setting_of_anticipation_moves_the_window_into_the_action():
    # The end of the action reaches the protocol through anchor_s alone, and there it must have no effect.
    for protocol in PROTOCOLS[:2]:
        assert protocol.anchor_s(10.0, 16.0) == protocol.anchor_s(10.0, 99.0) == 10.0


def test_another_anticipation_time_moves_the_window_or_cuts_its_end():
    rulstm = AnticipationProtocol(tau_a_s=0.25, tau_o_s=3.5, fps=4.0)
    moved, cut = rulstm.at_tau_a(1.0), rulstm.at_tau_a(1.0, keeps_start=True)
    assert (moved.num_steps, cut.num_steps) == (14, 11)
    assert moved.timestamps(10.0)[[0, -1]].tolist() == [5.75, 9.0]
    assert cut.timestamps(10.0).tolist() == rulstm.timestamps(10.0)[:11].tolist()


@given(num_steps=st.integers(2, 20), step=st.integers(0, 19), fps=st.sampled_from([0.2, 1.0, 2.0, 3.0, 4.0, 30.0]))
def test_a_window_that_keeps_its_start_loses_whole_steps(num_steps, step, fps):
    protocol = AnticipationProtocol(tau_a_s=1 / fps, tau_o_s=num_steps / fps, fps=fps)
    lost = min(step, num_steps - 1)
    cut = protocol.at_tau_a((1 + lost) / fps, keeps_start=True)
    assert cut.num_steps == num_steps - lost
    assert cut.timestamps(100.0) == pytest.approx(protocol.timestamps(100.0)[: cut.num_steps], abs=1e-9)


@pytest.mark.parametrize("tau_a_s", [0.3, 3.75, 9.0])
def test_a_window_that_keeps_its_start_ends_at_one_of_its_steps(tau_a_s):
    rulstm = AnticipationProtocol(tau_a_s=0.25, tau_o_s=3.5, fps=4.0)
    with pytest.raises(ValueError, match=rf"lie 3\.5 s to 0\.25 s before the action.*; {tau_a_s:g} s is none of them"):
        rulstm.at_tau_a(tau_a_s, keeps_start=True)
