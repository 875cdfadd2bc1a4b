import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from feature_examples import make_lmdb, random_rows, rulstm_entries
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from sgear.errors import FeatureError
from sgear.features import LmdbFeatures, LmdbLayout
from sgear.features.imports import ArrayFormat, find_arrays, import_arrays, import_lmdb

FORM = ArrayFormat(fps=3.0)


def test_tcn_files_become_a_store(tmp_path):
    rows = {f"rgb-01-{n}": random_rows(50 + n, 16, seed=n) for n in (1, 2)}
    for name, features in rows.items():
        savemat(tmp_path / f"{name}.mat", {"A": features.T, "Y": np.zeros((len(features), 1)), "S": np.ones(7)})
    paths = find_arrays(tmp_path)
    store = import_arrays(paths, tmp_path / "store", ArrayFormat(fps=3.0, first_s=2.0), name="TCN")
    assert store.video_ids == ["rgb-01-1", "rgb-01-2"]
    assert np.array_equal(store["rgb-01-2"].features, rows["rgb-01-2"])
    assert store["rgb-01-1"].times_s == pytest.approx(2.0 + np.arange(51) / 3)
    assert store.description.encoder == "TCN"


@pytest.mark.parametrize("is_columns", [False, True])
def test_the_side_that_all_files_share_is_the_width(tmp_path, is_columns):
    for n in (30, 40):
        features = random_rows(n, 16)
        np.save(tmp_path / f"v{n}.npy", features.T if is_columns else features)
    store = import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")
    assert (store.width, len(store["v40"].times_s)) == (16, 40)


def test_an_unclear_orientation_is_asked_for(tmp_path):
    np.savez(tmp_path / "v.npz", features=random_rows(30, 16))
    paths = find_arrays(tmp_path)
    with pytest.raises(FeatureError, match=r"unclear whether features \(30, 16\) are rows .* --orientation"):
        import_arrays(paths, tmp_path / "store", FORM, name="x")
    told = ArrayFormat(fps=3.0, orientation="columns")
    assert import_arrays(paths, tmp_path / "store", told, name="x").width == 30


def test_labels_that_fit_neither_side_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", features=random_rows(30, 16), labels=np.zeros(29))
    with pytest.raises(FeatureError, match=r"29 labels go with neither side of features \(30, 16\)"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")


def test_a_file_of_another_width_is_named(tmp_path):
    for name, width in (("a", 16), ("b", 17)):
        np.savez(tmp_path / f"{name}.npz", features=random_rows(30, width), labels=np.zeros(30))
    with pytest.raises(FeatureError, match=r"b\.npz: its rows are 17 wide, those of the first file 16"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")


def test_an_interrupted_import_goes_on(tmp_path):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", features=random_rows(30, 16), labels=np.zeros(30))
    good = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(good[:200])
    with pytest.raises(FeatureError, match=r"b\.npz: cannot be read as \.npz"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")
    first = (tmp_path / "store" / "videos" / "a.safetensors").stat().st_mtime_ns
    (tmp_path / "b.npz").write_bytes(good)
    assert import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x").video_ids == ["a", "b"]
    assert (tmp_path / "store" / "videos" / "a.safetensors").stat().st_mtime_ns == first


class _Bomb:
    def __init__(self, witness) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("name", ["v.npz", "v.npy", "v.mat"])
def test_a_pickle_in_place_of_arrays_is_refused_and_never_executed(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb(tmp_path / "witness")))
    with pytest.raises(FeatureError, match=r"without executing anything in it .* pickle: save plain arrays"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")
    assert not (tmp_path / "witness").exists()


def test_pickled_objects_inside_an_archive_are_refused_and_never_executed(tmp_path):
    np.savez(tmp_path / "v.npz", features=np.array([_Bomb(tmp_path / "witness")], dtype=object), allow_pickle=True)
    with pytest.raises(FeatureError, match=r"v\.npz: cannot be read"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")
    assert not (tmp_path / "witness").exists()


def test_an_absent_array_is_named_with_those_that_are_there(tmp_path):
    np.savez(tmp_path / "v.npz", rgb=random_rows(30, 16), flow=random_rows(30, 16))
    with pytest.raises(FeatureError, match=r"has no array 'features' or 'A', but \['flow', 'rgb'\]"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")
    told = ArrayFormat(fps=3.0, key="flow", orientation="rows")
    assert import_arrays(find_arrays(tmp_path), tmp_path / "store", told, name="x").width == 16


def test_arrays_of_another_shape_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", features=np.zeros((3, 4, 5)))
    with pytest.raises(FeatureError, match=r"float64 of shape \(3, 4, 5\), expected numbers"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")


def test_nan_rows_are_refused(tmp_path):
    rows = random_rows(30, 16)
    rows[7] = np.nan
    np.savez(tmp_path / "v.npz", features=rows, labels=np.zeros(30))
    with pytest.raises(FeatureError, match="video 'v': 1 rows are not finite, first row 7"):
        import_arrays(find_arrays(tmp_path), tmp_path / "store", FORM, name="x")


@pytest.mark.parametrize("name", ["rgb-01-1.avi.mat", "rgb-01-1.AVI.mat", "rgb-01-1.mat", "rgb-01-1.mp4.mat"])
def test_the_ending_of_a_video_is_no_part_of_a_video_id(tmp_path, name):
    savemat(tmp_path / name, {"A": random_rows(8, 16).T})
    assert list(find_arrays(tmp_path)) == ["rgb-01-1"]


def test_dots_in_a_name_are_kept(tmp_path):
    np.save(tmp_path / "P01.part2.npy", random_rows(3))
    assert list(find_arrays(tmp_path)) == ["P01.part2"]


def test_two_files_of_one_video_are_refused(tmp_path):
    for suffix in ("a", "b"):
        (tmp_path / suffix).mkdir()
        np.save(tmp_path / suffix / "v.npy", random_rows(3))
    with pytest.raises(FeatureError, match="are both of video 'v'"):
        find_arrays(tmp_path)


@given(
    numbers=st.sets(st.integers(1, 200), min_size=2, max_size=60),
    times_s=st.lists(st.floats(0.0, 8.0), min_size=1, max_size=20),
    max_gap_s=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_an_imported_store_serves_the_instants_that_the_lmdb_serves_with_the_same_rows(numbers, times_s, max_gap_s):
    with TemporaryDirectory() as folder:
        layout = LmdbLayout(max_gap_s=max_gap_s)
        source = LmdbFeatures(make_lmdb(Path(folder) / "db", rulstm_entries("v", sorted(numbers))), layout)
        store = import_lmdb(source, Path(folder) / "store", name="RULSTM rgb")
        # Away from the very ends of frames, where rounding decides.
        instants_s = np.floor(np.array(times_s) * 3000) / 3000 + 1e-4
        is_there = source["v"].covers(instants_s)
        assert store["v"].covers(instants_s).tolist() == is_there.tolist()
        if is_there.any():
            for ours, theirs in zip(*(each["v"].read(instants_s[is_there]) for each in (store, source)), strict=True):
                assert np.array_equal(ours, theirs)


def test_a_hole_of_an_lmdb_is_not_filled_by_its_import(tmp_path):
    source = LmdbFeatures(make_lmdb(tmp_path / "db", rulstm_entries("v", [*range(1, 596), *range(1200, 1300)])))
    store = import_lmdb(source, tmp_path / "store", name="RULSTM rgb")
    for table in (source, store):
        with pytest.raises(FeatureError, match=r"t = 38\.000 s"):
            table["v"].read(np.array([38.0]))


def test_an_lmdb_becomes_a_store_that_reads_alike(tmp_path):
    entries = rulstm_entries("P01_01", range(1, 9000, 3), width=2) | rulstm_entries("P01_02", [4, 9], width=2)
    source = LmdbFeatures(make_lmdb(tmp_path / "db", entries))
    store = import_lmdb(source, tmp_path / "store", name="RULSTM rgb")
    window_s = 250.0 - np.arange(15.0)[::-1]
    for ours, theirs in zip(store["P01_01"].read(window_s), source["P01_01"].read(window_s), strict=True):
        assert np.array_equal(ours, theirs)
    assert len(store["P01_01"].times_s) == 3000
    assert store["P01_02"].features[:, 0].tolist() == [4.0, 9.0]
