import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from sgear.data import StepLabels
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy

TAXONOMY = Taxonomy.from_labels(["cut onion", "peel onion", "wash pan"])
# The second starts and ends within the first.
SPANS = [(1.0, 6.0, 0), (3.0, 4.0, 1), (8.0, 9.0, 2)]


def labels() -> StepLabels:
    actions = [action for *_, action in SPANS]
    frame = pl.DataFrame(
        {
            "uid": ["v_0", "v_1", "v_2"],
            "participant_id": ["P01"] * 3,
            "video_id": ["v"] * 3,
            "start_s": [start for start, *_ in SPANS],
            "stop_s": [stop for _, stop, _ in SPANS],
            "verb_id": TAXONOMY.verb_of_action[actions],
            "noun_id": TAXONOMY.noun_of_action[actions],
            "action_id": actions,
        }
    )
    return StepLabels(SegmentTable(frame, TAXONOMY, origin="made"))


@given(last_s=st.floats(0, 12), length_s=st.floats(0, 6))
def test_the_newest_action_equals_a_loop_over_the_segments(last_s, length_s):
    first_s = last_s - length_s
    newest = -1
    for start, stop, action in SPANS:
        if start <= last_s + 1e-6 and stop > first_s:
            newest = action
    assert labels().newest("v", first_s=first_s, last_s=last_s) == newest


def test_a_longer_action_is_still_the_newest_after_a_shorter_one_inside_it():
    assert labels().newest("v", first_s=3.5, last_s=5.5) == 1
    assert labels().newest("v", first_s=4.5, last_s=5.5) == 0


def test_a_video_without_segments_has_no_newest_action():
    assert labels().newest("unknown video", first_s=0.0, last_s=5.0) == -1
