import numpy as np
import pytest
from feature_examples import make_lmdb, make_store, random_rows, rulstm_entries
from hypothesis import given
from hypothesis import strategies as st

from sgear.data import FeatureSource
from sgear.errors import FeatureError
from sgear.experiment.sources import require_videos
from sgear.features import FeatureTable, LmdbFeatures, MultiFeatures, VideoFeatures, side_by_side


def clock(fps: float, first_s: float = 0.0, video_id: str = "v", width: int = 1) -> FeatureTable:
    """Features that hold their own time."""
    times_s = first_s + np.arange(int(20 * fps)) / fps
    rows = np.repeat(times_s[:, None], width, axis=1).astype(np.float32)
    return FeatureTable({video_id: VideoFeatures(times_s, rows, "clock")})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A camera at 4 fps in a store, an LMDB at 30 fps, an accelerometer at 50 Hz in memory."""
    root = tmp_path_factory.mktemp("three")
    times_s = np.arange(80) / 4
    rgb = make_store(root / "rgb", {"v": (times_s, np.repeat(times_s[:, None], 3, axis=1).astype(np.float32))})
    flow = LmdbFeatures(make_lmdb(root / "flow", rulstm_entries("v", range(1, 600), width=2)))
    return MultiFeatures({"rgb": rgb, "flow": flow, "accelerometer": clock(50.0)})


@given(times_s=st.lists(st.floats(0.1, 19.0), min_size=1, max_size=15))
def test_each_modality_shows_its_newest_row_at_or_before_the_instant(three, times_s):
    features, pts_s, _ = FeatureSource(three).read("v", np.array(times_s), None)
    for row, t_s, newest_s in zip(features.tolist(), times_s, pts_s, strict=True):
        rgb, flow, accelerometer = row[0], row[3] / 30, row[5]
        for shown_s, period_s in ((rgb, 1 / 4), (flow, 1 / 30), (accelerometer, 1 / 50)):
            assert t_s - period_s - 1e-5 <= shown_s <= t_s + 1e-5
        assert newest_s == pytest.approx(max(rgb, flow, accelerometer), abs=1e-5)


def test_widths_are_remembered_in_order(three):
    assert three.widths == {"rgb": 3, "flow": 2, "accelerometer": 1}
    assert three.width == 6
    assert three["v"].read(np.array([1.0]))[0].tolist() == [[1.0, 1.0, 1.0, 30.0, 30.0, 1.0]]


def test_each_modality_is_pooled_over_the_same_seconds():
    table = MultiFeatures({"slow": clock(2.0), "fast": clock(8.0)})
    features = FeatureSource(table, pool_s=1.0).read("v", np.array([10.0]), None).steps
    assert features.tolist() == [[pytest.approx(np.mean([9.5, 10.0])), pytest.approx(np.mean(np.arange(73, 81) / 8))]]


def test_a_clip_begins_when_every_modality_is_there():
    table = MultiFeatures({"early": clock(4.0), "late": clock(4.0, first_s=2.0)})
    assert table["v"].first_s == 2.0
    assert table["v"].covers(np.array([1.0, 2.0, 19.0, 21.0])).tolist() == [False, True, True, False]


def test_an_absent_modality_is_named():
    table = MultiFeatures({"rgb": clock(4.0), "flow": clock(4.0, video_id="w")})
    assert "v" not in table
    assert table.video_ids == []
    with pytest.raises(FeatureError, match=r"'v' has no features of modality flow \(it has rgb\)"):
        FeatureSource(table).read("v", np.array([1.0]), None)


def test_deviations_stand_side_by_side(three):
    parts = [table.standard_deviation(["v"]) for table in three.modalities.values()]
    assert np.array_equal(three.standard_deviation(["v"]), np.concatenate(parts))


def test_at_least_one_modality_is_needed():
    with pytest.raises(ValueError, match="at least one"):
        MultiFeatures({})


def test_random_rows_of_two_stores_are_concatenated(tmp_path):
    times_s = np.arange(40) / 4
    stores = [make_store(tmp_path / str(n), {"v": (times_s, random_rows(40, seed=n))}) for n in range(2)]
    features, _ = MultiFeatures({"a": stores[0], "b": stores[1]})["v"].read(times_s)
    assert np.array_equal(features, np.concatenate([random_rows(40, seed=0), random_rows(40, seed=1)], axis=1))


def test_kinds_in_memory_with_equal_times_become_one_table_in_memory():
    joined = side_by_side({"camera": clock(3.0, width=2), "accelerometer": clock(3.0)})
    assert isinstance(joined, FeatureTable)
    assert joined.width == 3
    assert joined["v"].features[4].tolist() == [pytest.approx(4 / 3)] * 3


def test_kinds_in_memory_with_their_own_times_are_read_one_by_one():
    assert isinstance(side_by_side({"camera": clock(3.0), "accelerometer": clock(4.0)}), MultiFeatures)


@pytest.mark.parametrize("others", ["v", "u"], ids=["one video in common", "none in common"])
def test_the_kind_in_memory_that_a_video_lacks_is_named(others):
    both = VideoFeatures(np.arange(3.0), np.ones((3, 1), dtype=np.float32), "x")
    camera, accelerometer = FeatureTable({"v": both, "w": both}), FeatureTable({others: both})
    joined = side_by_side({"camera": camera, "accelerometer": accelerometer})
    assert joined.video_ids == [video_id for video_id in ["v"] if others == "v"]
    with pytest.raises(FeatureError, match=r"'w' has no features of modality accelerometer \(it has camera\)"):
        require_videos(joined, ["w"], "camera+accelerometer")
