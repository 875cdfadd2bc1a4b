import json
import os
import pickle
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from feature_examples import MADE_BY, make_store, random_rows
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from sgear.data import FeatureSource
from sgear.errors import FeatureError
from sgear.features import FeatureStore, FeatureStoreWriter, FeatureTable, VideoFeatures
from sgear.features.store import fingerprint_of
from sgear.features.store_index import INDEX_SCHEMA, write_index

TIMES_S = np.arange(40) / 4


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return make_store(
        tmp_path / "store", {"P01_02": (TIMES_S, random_rows(40)), "P01_01": (TIMES_S, random_rows(40, seed=1))}
    )


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same features in a store and in memory."""
    rng = np.random.default_rng(3)
    times_s = np.cumsum(rng.uniform(0.1, 0.5, 80))
    rows = random_rows(80)
    store = make_store(tmp_path_factory.mktemp("twins") / "store", {"v": (times_s, rows)})
    return store, FeatureTable({"v": VideoFeatures(times_s, rows, "memory")})


@given(ends_s=st.lists(st.floats(0.6, 20.0), min_size=1, max_size=15), pool_s=st.sampled_from([0.0, 0.3, 2.0]))
def test_a_store_reads_what_memory_holds(twins, ends_s, pool_s):
    store, table = twins
    ends_s = np.minimum(np.array(ends_s), table["v"].last_s)
    read, pts_s, _ = FeatureSource(store, pool_s=pool_s).read("v", ends_s, None)
    expected, expected_s, _ = FeatureSource(table, pool_s=pool_s).read("v", ends_s, None)
    assert torch.equal(read, expected)
    assert pts_s.tolist() == expected_s.tolist()
    assert (pts_s <= ends_s + 1e-6).all()


def test_the_files_are_plain_safetensors(store):
    tensors = load_file(store.root / "videos" / "P01_02.safetensors")
    assert np.array_equal(tensors["features"], random_rows(40))
    assert np.array_equal(tensors["times_s"], TIMES_S)


def test_rows_begin_at_a_page_of_memory(store):
    assert store["P01_01"].features.ctypes.data % 4096 == 0


def test_the_index_says_what_is_in_every_file(store):
    index = pl.read_parquet(store.root / "index.parquet")
    assert index.schema == pl.Schema(INDEX_SCHEMA)
    row = index.filter(pl.col("video_id") == "P01_02").row(0, named=True)
    assert row == {
        "video_id": "P01_02",
        "file": "videos/P01_02.safetensors",
        "rows": 40,
        "width": 6,
        "dtype": "float32",
        "first_s": 0.0,
        "last_s": 9.75,
        "fingerprint": fingerprint_of(TIMES_S, random_rows(40)),
    }


def test_half_precision_takes_half_the_disk_and_is_read_as_float32(tmp_path):
    rows = random_rows(400, width=64)
    half = make_store(tmp_path / "half", {"v": (np.arange(400) / 4, rows)}, dtype="float16")
    full = make_store(tmp_path / "full", {"v": (np.arange(400) / 4, rows)})
    read, _ = half["v"].read(np.array([3.0, 4.0]))
    assert read.dtype == np.float32
    assert np.array_equal(read, rows[[12, 16]].astype(np.float16).astype(np.float32))
    sizes = [(each.root / "videos" / "v.safetensors").stat().st_size for each in (half, full)]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_store_may_be_sent_to_a_worker(store):
    store["P01_01"].read(np.array([1.0]))
    sent = pickle.dumps(store)
    assert len(sent) < 8000
    read, _ = pickle.loads(sent)["P01_01"].read(np.array([1.0]))
    assert np.array_equal(read, random_rows(40, seed=1)[[4]])


def test_a_lost_index_is_made_from_the_files(store):
    (store.root / "index.parquet").unlink()
    again = FeatureStore(store.root)
    assert again.video_ids == ["P01_01", "P01_02"]
    assert again.index.sort("video_id").equals(store.index.sort("video_id"))


def test_a_video_that_is_newer_than_the_index_is_found(store):
    FeatureStoreWriter(store.root, MADE_BY, width=6).write("P02_01", TIMES_S, random_rows(40))
    assert FeatureStore(store.root).video_ids == ["P01_01", "P01_02", "P02_01"]


def test_sampled_deviation_is_near_the_true_one(tmp_path):
    scale = np.array([0.5, 1.0, 3.0], dtype=np.float32)
    videos = {f"v{n}": (np.arange(500) / 10, random_rows(500, 3, seed=n) * scale + 7) for n in range(20)}
    store = make_store(tmp_path / "store", videos)
    assert store.standard_deviation(list(videos)) == pytest.approx(scale, rel=0.1)


def test_an_absent_video_is_named(store):
    with pytest.raises(FeatureError, match=r"store: no features of video 'P09_01'; 2 videos are there"):
        store["P09_01"]


def test_reading_past_the_end_names_the_file(store):
    with pytest.raises(FeatureError, match=r"P01_01\.safetensors: asked for .* cover 0\.000 to 9\.750 s"):
        store["P01_01"].read(np.array([12.0]))


@pytest.mark.parametrize("num_bytes", [0, 5, 100, 4096, 4500])
def test_a_truncated_file_is_refused(store, num_bytes):
    path = store.root / "videos" / "P01_01.safetensors"
    os.truncate(path, num_bytes)
    with pytest.raises(FeatureError, match=r"P01_01\.safetensors: .*truncated.*this video again"):
        store["P01_01"]


def test_a_file_of_another_kind_is_refused(store):
    path = store.root / "videos" / "P01_01.safetensors"
    path.write_bytes(b"\x80\x04\x95" + os.urandom(5000))
    with pytest.raises(FeatureError, match="not a file of a feature store"):
        store["P01_01"]


def test_a_file_of_another_store_is_refused(store, tmp_path):
    other = tmp_path / "other"
    FeatureStoreWriter(other, MADE_BY, width=7).write("P01_03", TIMES_S, random_rows(40, 7))
    (other / "videos" / "P01_03.safetensors").rename(store.root / "videos" / "P01_03.safetensors")
    with pytest.raises(FeatureError, match=r"P01_03.*\(7, 'float32'\), but its store says \(6, 'float32'\)"):
        FeatureStore(store.root)


def test_a_renamed_file_is_refused(store):
    (store.root / "videos" / "P01_01.safetensors").rename(store.root / "videos" / "P05_05.safetensors")
    with pytest.raises(FeatureError, match="was written as video 'P01_01', so the file was renamed"):
        FeatureStore(store.root)


def test_a_file_of_features_made_otherwise_is_refused(store, tmp_path):
    other = FeatureStoreWriter(tmp_path / "other", replace(MADE_BY, weights="4567"), width=6)
    other.write("P01_03", TIMES_S, random_rows(40))
    (tmp_path / "other" / "videos" / "P01_03.safetensors").rename(store.root / "videos" / "P01_03.safetensors")
    told = f"written for another store .{other.description.digest}, this one is {store.description.digest}."
    with pytest.raises(FeatureError, match=told):
        FeatureStore(store.root)


def test_a_changed_value_is_found_by_verify(store):
    path = store.root / "videos" / "P01_01.safetensors"
    content = bytearray(path.read_bytes())
    content[4100] ^= 1
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=r"has the fingerprint .*, not"):
        store.verify("P01_01")
    store.verify("P01_02")


def test_a_value_that_became_nan_on_disk_is_found_by_verify(store):
    path = store.root / "videos" / "P01_01.safetensors"
    content = bytearray(path.read_bytes())
    content[4096 + 8 * 24 : 4096 + 8 * 24 + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=r"P01_01.*: 1 rows are not finite, first row 8"):
        store.verify("P01_01")


@pytest.mark.parametrize("pool_s", [0.0, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_value_that_became_nan_on_disk_is_found_when_it_is_read(tmp_path, dtype, pool_s):
    store = make_store(tmp_path / "store", {"v": (TIMES_S, random_rows(40))}, dtype=dtype)
    path = store.root / "videos" / "v.safetensors"
    content, row_bytes = bytearray(path.read_bytes()), 6 * np.dtype(dtype).itemsize
    at = 4096 + 8 * row_bytes
    content[at : at + np.dtype(dtype).itemsize] = np.array(np.nan, dtype).tobytes()
    path.write_bytes(content)
    video = FeatureStore(store.root)["v"]
    video.read(np.array([0.5, 1.75, 5.0]), pool_s)
    with pytest.raises(FeatureError, match=r"v\.safetensors: row 8 \(2\.000 s\) is not finite, the file is damaged"):
        video.read(np.array([0.5, 2.1, 5.0]), pool_s)


def test_large_finite_values_are_read(tmp_path):
    rows = np.full((4, 6), 3e38, dtype=np.float32)
    store = make_store(tmp_path / "store", {"v": (np.arange(4.0), rows)})
    assert np.array_equal(store["v"].read(np.array([1.0, 2.0]))[0], rows[:2])


HOLED_S = np.concatenate([np.arange(20) / 4, 25 + np.arange(20) / 4])


def test_a_row_stands_for_three_periods_and_no_longer(tmp_path):
    video = make_store(tmp_path / "store", {"v": (HOLED_S, random_rows(40))})["v"]
    assert video.read(np.array([4.7, 5.5, 25.0]))[1].tolist() == [4.5, 4.75, 25.0]
    for t_s in (5.6, 24.9):
        assert not video.covers(np.array([1.0, t_s, 26.0])).all()
        with pytest.raises(FeatureError) as caught:
            video.read(np.array([1.0, t_s, 26.0]))
        text = str(caught.value)
        assert (
            f"v.safetensors: no row for t = {t_s:.3f} s: row 19 is {t_s - 4.75:.3f} s older, more than 0.75 s" in text
        )
        assert "the next one comes at 25.000 s" in text
        with pytest.raises(FeatureError, match="no row for t"):
            video.read(np.array([1.0, t_s, 26.0]), 2.0)
    assert video.covers(np.array([30.4, 30.6])).tolist() == [True, False]


def test_the_largest_gap_is_kept_in_the_description_and_may_be_changed_there(tmp_path):
    writer = FeatureStoreWriter(tmp_path, MADE_BY, width=6, max_gap_s=2.0)
    writer.write("v", HOLED_S, random_rows(40))
    assert writer.finish()["v"].covers(np.array([6.7, 6.8])).tolist() == [True, False]
    path = tmp_path / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_gap_s": 21.0}))
    assert FeatureStore(tmp_path)["v"].covers(np.array([6.7, 24.9])).all()
    # Another writer may go on with it: the setting is not how the features were made.
    again = FeatureStoreWriter(tmp_path, MADE_BY, width=6)
    again.write("w", HOLED_S, random_rows(40))
    assert again.finish()["w"].max_gap_s == 21.0


def test_a_store_from_before_there_was_a_largest_gap_is_read(store):
    text = json.loads((store.root / "store.json").read_text())
    assert "max_gap_s" not in text
    assert FeatureStore(store.root)["P01_01"].max_gap_s == 0.75


@pytest.mark.parametrize("found", ["3", -1.0, True, float("nan"), float("inf"), [1]])
def test_a_largest_gap_that_is_none_is_refused(store, found):
    path = store.root / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_gap_s": found}))
    with pytest.raises(FeatureError, match=r"damaged description.*max_gap_s in seconds"):
        FeatureStore(store.root)


def test_a_file_that_is_gone_is_missed_when_it_is_read(store):
    (store.root / "videos" / "P01_01.safetensors").unlink()
    again = FeatureStore(store.root)
    assert again.video_ids == ["P01_01", "P01_02"]
    again["P01_02"].read(np.array([1.0]))
    with pytest.raises(FeatureError, match=r"P01_01\.safetensors: the file is gone, but the index lists it"):
        again["P01_01"]
    write_index(store.root, store.description)
    assert FeatureStore(store.root).video_ids == ["P01_02"]


def test_a_damaged_file_does_not_close_a_store_to_which_a_video_was_added(store):
    path = store.root / "videos" / "P01_01.safetensors"
    os.truncate(path, path.stat().st_size - 8)
    FeatureStoreWriter(store.root, MADE_BY, width=6).write("P02_01", TIMES_S, random_rows(40))
    again = FeatureStore(store.root)
    again["P02_01"].read(np.array([1.0]))
    with pytest.raises(FeatureError, match="truncated or damaged"):
        again["P01_01"]


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"no feature store there \(store\.json is missing\)"):
        FeatureStore(tmp_path)


def test_a_damaged_description_is_refused(store):
    path = store.root / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "float8"}))
    with pytest.raises(FeatureError, match=r"store\.json: damaged description"):
        FeatureStore(store.root)


def test_a_damaged_index_is_refused(store):
    (store.root / "index.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(FeatureError, match=r"index\.parquet: damaged index"):
        FeatureStore(store.root)


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(FeatureError, match="holds no finished video yet"):
        FeatureStoreWriter(tmp_path / "store", MADE_BY, width=6).finish()


@pytest.mark.parametrize("change", ["written over", "cut off", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_in_use_is_not_read_on(store, change):
    path = store.root / "videos" / "P01_01.safetensors"
    store["P01_01"].read(np.array([2.0]))
    content = path.read_bytes()
    if change == "replaced":
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
    elif change == "removed":
        path.unlink()
    else:
        path.write_bytes(content[:-8] if change == "cut off" else content)
    with pytest.raises(FeatureError, match=r"P01_01\.safetensors: was changed or replaced while it was in use"):
        store["P01_01"]
    assert store["P01_02"].read(np.array([2.0]))[1] == 2.0
