import lmdb
import numpy as np
import pytest
from feature_examples import make_store, random_rows
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import FeatureError
from sgear.features import LmdbFeatures, LmdbLayout
from sgear.features.imports import import_lmdb
from sgear.features.lmdb_export import export_store, frame_numbers, write_lmdb


def test_an_export_has_the_keys_and_values_of_rulstm(tmp_path):
    rows = random_rows(5, width=3)
    store = make_store(tmp_path / "store", {"P01_01": (np.arange(5) / 4, rows)})
    export_store(store, tmp_path / "rgb")
    with lmdb.open(str(tmp_path / "rgb"), readonly=True, lock=False) as environment, environment.begin() as transaction:
        entries = {key.decode(): np.frombuffer(value, "float32") for key, value in transaction.cursor()}
    # On screen at 0, 0.25, 0.5, 0.75 and 1 s of a video of 30 frames a second.
    assert list(entries) == [f"P01_01_frame_{number:010d}.jpg" for number in (1, 8, 16, 23, 31)]
    assert np.array_equal(np.stack(list(entries.values())), rows)


@given(times_s=st.lists(st.floats(0, 500), min_size=1, max_size=20), fps=st.sampled_from([24.0, 29.97, 30.0, 59.94]))
def test_no_frame_is_exported_to_a_time_before_it_was_seen(times_s, fps):
    numbers = frame_numbers(np.array(times_s), fps)
    delay_s = numbers / fps - np.array(times_s)
    assert (delay_s >= -1e-5).all()
    assert (delay_s <= 1 / fps + 1e-5).all()
    assert (numbers >= 1).all()


def test_export_and_import_give_the_rows_back(tmp_path):
    times_s, rows = np.arange(200) / 30, random_rows(200)
    store = make_store(tmp_path / "store", {"b": (times_s, rows), "a": (times_s[:50], rows[:50])})
    export_store(store, tmp_path / "rgb")
    again = import_lmdb(LmdbFeatures(tmp_path / "rgb"), tmp_path / "again", name="again")
    assert again.video_ids == ["a", "b"]
    assert np.array_equal(again["b"].features, rows)
    assert again["b"].times_s == pytest.approx(times_s + 1 / 30)


def test_rows_that_fall_on_one_frame_are_refused(tmp_path):
    store = make_store(tmp_path / "store", {"v": (np.array([0.0, 0.25, 0.26]), random_rows(3))})
    with pytest.raises(FeatureError, match=r"rows 1 and 2 \(0\.250 and 0\.260 s\) fall on one frame at 30 frames"):
        export_store(store, tmp_path / "rgb")
    assert not (tmp_path / "rgb").exists()
    export_store(store, tmp_path / "rgb", layout=LmdbLayout(fps=100.0))


def test_an_export_replaces_nothing(tmp_path):
    (tmp_path / "rgb").mkdir()
    with pytest.raises(FeatureError, match="exists; delete it"):
        write_lmdb(tmp_path / "rgb", [], num_rows=0, width=3)


@pytest.mark.parametrize("width", [1, 352, 1000, 1020, 1024, 2048, 3000])
def test_the_database_is_large_enough_for_every_width(tmp_path, width):
    rows = np.zeros((3000, width), dtype=np.float32)
    write_lmdb(tmp_path / "db", [("v", np.arange(3000) / 30, rows)], num_rows=3000, width=width)
    assert LmdbFeatures(tmp_path / "db").num_entries == 3000
