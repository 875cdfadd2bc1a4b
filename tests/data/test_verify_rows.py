import polars as pl
import pytest

from sgear.data.verify import RowProblem, annotated_videos, check_rows
from sgear.datasets import VideoInfo
from sgear.segments import SegmentTable
from sgear.taxonomy import Taxonomy
from sgear.video.base import VideoSpan

TAXONOMY = Taxonomy(verbs=("take",), nouns=("cup",), action_pairs=((0, 0),))
# Frames at 0, 0.1, ..., 9.9 s: the video ends at 10 s, and the rounding of a row is forgiven up to 10.05 s.
SPAN = VideoSpan(9.9, 10.0)


def _table(*rows):
    frame = pl.DataFrame(
        {
            "uid": [uid for uid, *_ in rows],
            "participant_id": ["P01"] * len(rows),
            "video_id": [video for _, video, *_ in rows],
            "start_s": [start_s for *_, start_s, _ in rows],
            "stop_s": [stop_s for *_, stop_s in rows],
            **{name: [0] * len(rows) for name in ("verb_id", "noun_id", "action_id")},
        }
    )
    return SegmentTable(frame, TAXONOMY, origin="rows")


def test_rows_within_their_video_are_right():
    check = check_rows({"train": _table(("a", "v", 0.0, 10.04), ("b", "v", 9.0, 10.0))}, {"v": SPAN})
    assert check.is_right
    assert check.num_rows == {"train": 2}


def test_rows_that_stop_or_start_after_their_video_are_named():
    splits = {
        "train": _table(("a", "v", 9.0, 10.2)),
        "validation": _table(("b", "v", 11.0, 12.0)),
    }
    check = check_rows(splits, {"v": SPAN})
    assert check.outside == [
        RowProblem("train", "a", "v", "stops at 10.200 s, after the video, which ends at 10.000 s"),
        RowProblem("validation", "b", "v", "starts at 11.000 s, after the video, which ends at 10.000 s"),
    ]
    assert not check.is_right


def test_rows_without_video_and_of_broken_videos_are_counted_over_all_splits():
    splits = {
        "train": _table(("a", "gone", 1.0, 2.0), ("b", "gone", 3.0, 4.0), ("c", "broken", 1.0, 2.0)),
        "test": _table(("d", "gone", 1.0, 2.0)),
    }
    check = check_rows(splits, {"broken": None})
    assert (check.missing, check.unchecked) == ({"gone": 3}, {"broken": 1})
    assert not check.is_right


def test_videos_without_rows_are_told_but_no_mistake():
    check = check_rows({"train": _table(("a", "v", 1.0, 2.0))}, {"v": SPAN, "other": SPAN, "more": None})
    assert check.without_rows == ["more", "other"]
    assert check.is_right


def test_videos_of_another_length_than_stated_are_named():
    splits = {"train": _table(("a", "v", 1.0, 2.0), ("b", "w", 1.0, 2.0))}
    info = {"v": VideoInfo(10.4, 30.0), "w": VideoInfo(12.0, 30.0), "unused": VideoInfo(1.0, 30.0)}
    check = check_rows(splits, {"v": SPAN, "w": SPAN, "unused": SPAN}, info)
    assert list(check.lengths) == ["w"]
    assert "ends at 10.000 s, the video info csv says 12.000 s" in check.lengths["w"]
    assert not check.is_right


def test_annotated_videos_are_those_of_all_splits():
    splits = {"train": _table(("a", "w", 1.0, 2.0)), "test": _table(("b", "v", 1.0, 2.0), ("c", "w", 1.0, 2.0))}
    assert annotated_videos(splits) == ["v", "w"]


@pytest.mark.parametrize(("t_s", "is_past"), [(0.0, False), (10.0, False), (10.04, False), (10.06, True)])
def test_span_ends_when_the_last_frame_has_been_shown_and_forgives_rounding(t_s, is_past):
    assert SPAN.is_past(t_s) == is_past
