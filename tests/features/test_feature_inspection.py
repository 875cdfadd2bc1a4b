import os

import numpy as np
import pytest
from feature_examples import make_lmdb, make_store, random_rows, rulstm_entries, segments_of

from sgear.errors import FeatureError
from sgear.features import FeatureStore, LmdbFeatures, LmdbLayout, open_features
from sgear.features.inspection import coverage, find_damage, summarise
from sgear.features.opening import find_features
from sgear.timing import AnticipationProtocol

LAST_INSTANT = AnticipationProtocol(tau_a_s=1.0, tau_o_s=1.0, fps=1.0)
FOUR_SECONDS = AnticipationProtocol(tau_a_s=1.0, tau_o_s=4.0, fps=1.0)


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
    found = coverage(store, segments, LAST_INSTANT)
    assert found.missing_videos == ("P09_01",)
    assert (found.num_segments, found.num_of_missing_videos, found.num_blind) == (6, 2, 2)
    assert found.unreadable == ("P01_01_2",)
    assert not found.is_complete


def test_a_hole_of_an_lmdb_is_found(table):
    found = coverage(table, segments_of(("P01_01", 4, 5, 0), ("P01_01", 7, 8, 1), ("P01_01", 9, 10, 2)), LAST_INSTANT)
    assert found.unreadable == ("P01_01_1",)


def test_a_hole_inside_a_window_makes_its_segment_unreadable(table):
    segments = segments_of(("P01_01", 4, 5, 0), ("P01_01", 9.5, 10, 1), ("P01_01", 3, 4, 1))
    assert coverage(table, segments, LAST_INSTANT).is_complete
    # Steps at 5.5 to 8.5 s; no frame is there from 5 to 6.6 s.
    assert coverage(table, segments, FOUR_SECONDS).unreadable == ("P01_01_1",)


@pytest.mark.parametrize("max_gap_s", [0.0, 0.2, 0.3, 5.0])
def test_the_holes_of_an_lmdb_are_what_cannot_be_read_of_it(table, max_gap_s):
    video = LmdbFeatures(table.path, LmdbLayout(max_gap_s=max_gap_s))["P01_01"]
    holes = video.holes(video.numbers())
    for t_s in np.arange(1 / 30, 10.0, 0.0101):
        is_in_hole = any(begin_s - 1e-6 <= t_s < end_s - 1e-6 for begin_s, end_s in holes)
        assert video.covers(np.array([t_s]))[0] == (not is_in_hole), t_s


def test_the_holes_of_a_store_are_what_cannot_be_read_of_it(tmp_path):
    times_s = np.concatenate([np.arange(20) / 4, 9 + np.arange(20) / 4])
    video = make_store(tmp_path / "store", {"v": (times_s, random_rows(40))})["v"]
    assert video.holes == [(5.5, 9.0)]
    summary = summarise(FeatureStore(tmp_path / "store"))
    assert summary.videos[0].holes == ((5.5, 9.0),)
    for t_s in np.arange(0.0, 13.7, 0.0101):
        assert video.covers(np.array([t_s]))[0] == (not 5.5 < t_s < 9.0), t_s


@pytest.fixture
def torn(tmp_path) -> FeatureStore:
    """A store of five videos: one file gone, one cut, one with a changed bit, two whole."""
    times_s = np.arange(40) / 4
    root = make_store(tmp_path / "torn", {f"v{n}": (times_s, random_rows(40)) for n in range(5)}).root
    files = [root / "videos" / f"v{n}.safetensors" for n in range(5)]
    files[0].unlink()
    os.truncate(files[1], files[1].stat().st_size - 8)
    content = bytearray(files[2].read_bytes())
    content[4200] ^= 1
    files[2].write_bytes(content)
    return FeatureStore(root)


def test_videos_that_cannot_be_opened_are_all_named_and_the_others_described(torn):
    summary = summarise(torn)
    assert [video.video_id for video in summary.videos] == ["v2", "v3", "v4"]
    assert list(summary.damaged) == ["v0", "v1"]
    assert "v0.safetensors: the file is gone, but the index lists it" in summary.damaged["v0"]
    assert "truncated or damaged" in summary.damaged["v1"]


def test_all_damaged_videos_of_a_store_are_found(torn):
    wrong = find_damage(torn)
    assert list(wrong) == ["v0", "v1", "v2"]
    assert "fingerprint" in wrong["v2"]


def test_all_damaged_videos_of_an_lmdb_are_found(tmp_path):
    entries = {key: value for n in range(4) for key, value in rulstm_entries(f"v{n}", range(1, 90)).items()}
    entries["v1_frame_0000000007.jpg"] = np.full(4, np.nan, np.float32).tobytes()
    entries["v3_frame_0000000050.jpg"] = b"short"
    wrong = find_damage(LmdbFeatures(make_lmdb(tmp_path / "db", entries)))
    assert list(wrong) == ["v1", "v3"]


def test_segments_of_damaged_videos_are_unreadable(torn):
    found = coverage(torn, segments_of(("v0", 5, 6, 0), ("v1", 5, 6, 1), ("v3", 5, 6, 2)), LAST_INSTANT)
    assert (found.missing_videos, found.unreadable) == ((), ("v0_0", "v1_1"))


def test_segments_with_nothing_to_see_are_no_fault(store):
    assert coverage(store, segments_of(("P01_01", 0.5, 3, 0), ("P01_02", 6, 7, 0)), LAST_INSTANT).is_complete


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
