import os
import pickle
import sys

import numpy as np
import psutil
import pytest
import torch
from feature_examples import make_lmdb, random_rows, rulstm_entries
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from sgear.data import FeatureSource
from sgear.errors import FeatureError
from sgear.features import LmdbFeatures, LmdbLayout
from sgear.features.lmdb_handle import _environments

EVERY_THIRD = sorted({*range(1, 300, 3)} - {151, 154, 157, 160})


@pytest.fixture
def path(tmp_path):
    """Every third frame of P01_01 as AVT stores them, with a hole from 5 s on; every frame of P01_02."""
    return make_lmdb(tmp_path / "rgb", rulstm_entries("P01_01", EVERY_THIRD) | rulstm_entries("P01_02", range(1, 61)))


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    numbers = sorted(np.random.default_rng(0).choice(np.arange(1, 400), 120, replace=False).tolist())
    path = make_lmdb(tmp_path_factory.mktemp("sparse") / "rgb", rulstm_entries("v", numbers))
    return numbers, path


@given(times_s=st.lists(st.floats(0.0, 16.0), min_size=1, max_size=6), max_gap_s=st.sampled_from([0.0, 0.3, 2.0]))
def test_reading_equals_a_loop_that_steps_back_frame_by_frame(sparse, times_s, max_gap_s):
    numbers, path = sparse
    video = LmdbFeatures(path, LmdbLayout(max_gap_s=max_gap_s))["v"]
    expected = []
    for t_s in times_s:
        asked = int((t_s + 1e-6) * 30)
        tried = [asked - back for back in range(int(max_gap_s * 30 + 1e-4) + 1)]
        expected.append(next((number for number in tried if number in numbers), None))
    assert video.covers(np.array(times_s)).tolist() == [number is not None for number in expected]
    if None in expected:
        with pytest.raises(FeatureError, match="is missing"):
            video.read(np.array(times_s))
    else:
        features, pts_s = video.read(np.array(times_s))
        assert features[:, 0].tolist() == expected
        assert pts_s == pytest.approx(np.array(expected) / 30)
        assert (pts_s <= np.array(times_s) + 1e-6).all()


@given(times_s=st.lists(st.floats(0.5, 13.0), min_size=1, max_size=4), pool_s=st.floats(0.05, 1.5))
def test_pooling_equals_a_loop_over_the_frames_of_the_last_seconds(sparse, times_s, pool_s):
    numbers, path = sparse
    read, pts_s = LmdbFeatures(path, LmdbLayout(max_gap_s=99.0))["v"].read(np.array(times_s), pool_s)
    for t_s, row, newest_s in zip(times_s, read, pts_s, strict=True):
        latest, earliest = int((t_s + 1e-6) * 30), int(np.floor((t_s - pool_s + 1e-6) * 30))
        before = [number for number in numbers if number <= latest]
        chosen = [number for number in before if number > earliest] or before[-1:]
        assert row == pytest.approx([np.mean(chosen)] * 4, rel=1e-5)
        assert newest_s == pytest.approx(chosen[-1] / 30)


def test_videos_rows_and_width_are_found(path):
    table = LmdbFeatures(path)
    assert table.video_ids == ["P01_01", "P01_02"]
    assert (table.width, table.num_entries) == (4, len(EVERY_THIRD) + 60)
    assert "P01_02" in table
    assert "P01_03" not in table
    assert (table["P01_01"].first_s, table["P01_01"].last_s) == (1 / 30, 298 / 30)
    assert table["P01_01"].numbers() == EVERY_THIRD


def test_videos_whose_ids_begin_alike_stay_apart(tmp_path):
    layout = LmdbLayout(key="{video}_{number:010d}")
    entries = {f"{video}_{n:010d}": np.full(2, n, np.float32).tobytes() for video in ("P01", "P01_1") for n in (5, 9)}
    table = LmdbFeatures(make_lmdb(tmp_path / "db", entries), layout)
    assert table.video_ids == ["P01", "P01_1"]
    assert [table[name].numbers() for name in table.video_ids] == [[5, 9], [5, 9]]
    assert table["P01"].read(np.array([9 / 30]))[0].tolist() == [[9.0, 9.0]]


def test_other_keys_and_rates_are_settings(tmp_path):
    layout = LmdbLayout(key="feat/{video}/{number:06d}.bin", fps=24.0)
    entries = {f"feat/OP01%R01/{n:06d}.bin": np.full(3, n, np.float32).tobytes() for n in range(240)}
    table = LmdbFeatures(make_lmdb(tmp_path / "db", entries), layout)
    assert table["OP01%R01"].read(np.array([2.0]))[0].tolist() == [[48.0] * 3]


@pytest.mark.parametrize("key", ["{number:010d}_{video}", "{video}_{number}", "{video}", "{video}{number:010d}"])
def test_keys_that_are_not_in_order_of_time_are_refused(key):
    with pytest.raises(ValueError, match="the number last and padded with zeros"):
        LmdbLayout(key=key)


def test_a_missing_key_is_named_with_the_nearest_one_and_the_database(path):
    video = LmdbFeatures(path)["P01_01"]
    with pytest.raises(FeatureError) as caught:
        video.read(np.array([1.0, 5.3, 5.4]))
    text = str(caught.value)
    assert text.startswith(f"{path}/data.mdb: key 'P01_01_frame_0000000159.jpg' (t = 5.300 s) is missing")
    assert "the nearest earlier key is 'P01_01_frame_0000000148.jpg', 0.367 s away" in text


def test_a_later_key_is_never_read_in_place_of_an_earlier_one(path):
    with pytest.raises(FeatureError, match=r"the nearest later key is 'P01_01_frame_0000000001\.jpg'"):
        LmdbFeatures(path)["P01_01"].read(np.array([0.0]))


def test_reading_past_the_end_is_refused(path):
    with pytest.raises(FeatureError, match=r"frame_0000000600\.jpg.*nearest earlier key is 'P01_02_frame_0000000060"):
        LmdbFeatures(path)["P01_02"].read(np.array([20.0]))


def test_an_absent_video_is_named(path):
    with pytest.raises(FeatureError, match=r"data\.mdb: no features of video 'P09_01'; 2 videos are there"):
        LmdbFeatures(path)["P09_01"]


def test_a_value_of_another_width_is_named(tmp_path):
    entries = rulstm_entries("v", range(1, 10)) | rulstm_entries("v", [5], width=3)
    with pytest.raises(FeatureError, match=r"'v_frame_0000000005\.jpg' has 12 bytes, expected 16 as at the first"):
        LmdbFeatures(make_lmdb(tmp_path / "db", entries))["v"].read(np.arange(1, 9) / 30)


def test_a_value_that_is_not_finite_is_named(tmp_path):
    entries = rulstm_entries("v", range(1, 10))
    entries["v_frame_0000000006.jpg"] = np.array([1, np.inf, 0, 0], np.float32).tobytes()
    with pytest.raises(FeatureError, match=r"video v: the row at 0\.200 s is not finite"):
        LmdbFeatures(make_lmdb(tmp_path / "db", entries))["v"].read(np.arange(1, 9) / 30)


def test_values_that_are_no_float32_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="has 9 bytes, which is no row of float32"):
        LmdbFeatures(make_lmdb(tmp_path / "db", {"v_frame_0000000001.jpg": b"pickled!!"}))


def test_keys_of_another_form_are_shown(tmp_path):
    path = make_lmdb(tmp_path / "db", {"P01_01/0000000001": b"0000"})
    with pytest.raises(FeatureError, match=r"key 'P01_01/0000000001' does not have the form '\{video\}_frame"):
        LmdbFeatures(path)


def test_an_empty_lmdb_is_refused(tmp_path):
    with pytest.raises(FeatureError, match="the LMDB holds no entry"):
        LmdbFeatures(make_lmdb(tmp_path / "db", {}))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\0" * 9000])
def test_a_file_that_is_no_lmdb_is_refused(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(FeatureError, match="cannot be opened as LMDB"):
        LmdbFeatures(tmp_path)


def test_a_folder_without_a_database_says_what_it_holds(tmp_path):
    (tmp_path / "rgb.lmdb").touch()
    with pytest.raises(FeatureError, match=r"no such LMDB \(the folder holds \['rgb\.lmdb'\]\)"):
        LmdbFeatures(tmp_path)


def test_the_file_itself_may_be_given(path):
    assert LmdbFeatures(path / "data.mdb").video_ids == ["P01_01", "P01_02"]


def test_a_database_may_be_opened_twice_and_is_closed_with_its_last_reader(path):
    first, second = LmdbFeatures(path), LmdbFeatures(path / "data.mdb")
    assert first["P01_02"].read(np.array([1.0]))[0].tolist() == second["P01_02"].read(np.array([1.0]))[0].tolist()
    name = os.path.realpath(path / "data.mdb")
    assert name in _environments
    del first, second
    assert name not in _environments


def test_nothing_is_written_beside_a_database(path):
    before = sorted(os.listdir(path))
    LmdbFeatures(path)["P01_01"].read(np.array([1.0]))
    assert sorted(os.listdir(path)) == before


def test_a_table_may_be_sent_to_a_worker(path):
    table = LmdbFeatures(path)
    table["P01_01"].read(np.array([1.0]))
    assert pickle.loads(pickle.dumps(table))["P01_01"].read(np.array([1.0]))[0][0, 0] == 28


class _Windows(Dataset):
    def __init__(self, path) -> None:
        self.source = FeatureSource(LmdbFeatures(path))
        self.source.read("P01_02", np.array([1.0]), None)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index):
        return self.source.read("P01_02", np.array([index / 30 + 0.5]), None)[0]


def test_forked_loader_workers_read_what_the_parent_reads(path):
    windows = _Windows(path)
    loader = DataLoader(windows, batch_size=5, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        assert torch.cat(list(loader))[:, 0, 0].tolist() == list(range(15, 35))
        assert windows[0][0, 0].item() == 15


def test_reading_does_not_leak(tmp_path):
    entries = {f"v_frame_{n:010d}.jpg": row.tobytes() for n, row in enumerate(random_rows(600, 1024))}
    source = FeatureSource(LmdbFeatures(make_lmdb(tmp_path / "db", entries)))
    process, window_s = psutil.Process(), np.arange(15.0)
    for warm_up in range(2000):
        source.read("v", window_s + warm_up % 5, None)
    before = process.memory_info().rss
    for idx in range(4000):
        source.read("v", window_s + idx % 5, None)
    # 4,000 windows hold 245 MB.
    assert process.memory_info().rss - before < 4e6


def test_without_the_package_the_message_says_how_to_install_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(FeatureError, match=r"pip install 'sgear\[lmdb\]'"):
        LmdbFeatures(path)
