import json
import os
import pickle

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
from sgear.features.store_file import fingerprint_of
from sgear.features.store_index import INDEX_SCHEMA

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
    with pytest.raises(FeatureError, match="was written as video 'P01_01'"):
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
