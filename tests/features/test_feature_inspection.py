import numpy as np
import pytest
from feature_examples import make_lmdb, make_store, random_rows, rulstm_entries, segments_of

from sgear.errors import FeatureError
from sgear.features import FeatureStore, LmdbFeatures, open_features
from sgear.features.inspection import coverage, summarise
from sgear.features.opening import find_features


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    times_s = np.arange(40) / 4
    return make_store(
        tmp_path / "store", {"P01_01": (times_s, random_rows(40)), "P01_02": (times_s + 2, random_rows(40))}
    )


@pytest.fixture
def table(tmp_path) -> LmdbFeatures:
    numbers = [*range(1, 151, 3), *range(200, 301, 3)]
    return LmdbFeatures(make_lmdb(tmp_path / "db", rulstm_entries("P01_01", numbers) | rulstm_entries("P01_02", [6])))


def test_a_store_is_described(store):
    summary = summarise(store)
    assert (summary.kind, summary.width, summary.dtype, summary.rows) == ("store", 6, "float32", 80)
    assert [(video.video_id, video.rows, video.first_s, video.last_s, video.rate) for video in summary.videos] == [
        ("P01_01", 40, 0.0, 9.75, 4.0),
        ("P01_02", 40, 2.0, 11.75, 4.0),
    ]
    assert summary.origin["encoder"] == "test"


def test_an_lmdb_is_described(table):
    summary = summarise(table)
    assert (summary.kind, summary.width, summary.rows) == ("lmdb", 4, 85)
    assert summary.first_key == "P01_01_frame_0000000001.jpg"
    assert summary.last_key == "P01_02_frame_0000000006.jpg"
    assert [(video.rows, video.rate) for video in summary.videos] == [(84, 10.0), (1, 0.0)]


def test_coverage_of_a_store_counts_what_cannot_be_read(store):
    segments = segments_of(
        ("P01_01", 0.5, 3, 0),
        ("P01_01", 5, 6, 1),
        ("P01_01", 30, 31, 1),
        ("P01_02", 2.5, 4, 2),
        ("P09_01", 5, 6, 0),
        ("P09_01", 7, 8, 0),
    )
    found = coverage(store, segments, tau_a_s=1.0)
    assert found.missing_videos == ("P09_01",)
    assert (found.num_segments, found.num_of_missing_videos, found.num_blind) == (6, 2, 2)
    assert found.unreadable == ("P01_01_2",)
    assert not found.is_complete


def test_a_hole_of_an_lmdb_is_found(table):
    found = coverage(table, segments_of(("P01_01", 4, 5, 0), ("P01_01", 7, 8, 1), ("P01_01", 9, 10, 2)), tau_a_s=1.0)
    assert found.unreadable == ("P01_01_1",)


def test_segments_with_nothing_to_see_are_no_fault(store):
    assert coverage(store, segments_of(("P01_01", 0.5, 3, 0), ("P01_02", 6, 7, 0)), tau_a_s=1.0).is_complete


def test_a_path_is_opened_as_what_it_is(store, table, tmp_path):
    assert isinstance(open_features(store.root), FeatureStore)
    assert isinstance(open_features(table.path), LmdbFeatures)
    with pytest.raises(
        FeatureError, match=r"neither a feature store .* nor an LMDB .*the folder holds \['db', 'store'\]"
    ):
        open_features(tmp_path)
    with pytest.raises(FeatureError, match="there is no such folder"):
        open_features(tmp_path / "absent")


def test_names_are_searched_under_roots_in_order(store, tmp_path):
    (tmp_path / "first").mkdir()
    assert find_features("store", [tmp_path / "first", tmp_path]) == tmp_path / "store"
    with pytest.raises(FeatureError, match=r"'flow' were not found: no feature store or LMDB at flow, .*first/flow"):
        find_features("flow", [tmp_path / "first", tmp_path])
