"""Damaged and truncated LMDBs: one clear error that names the file, and at the most the process of `--verify` ends."""

import os
from pathlib import Path

import numpy as np
import pytest
from feature_examples import LEAF, OVERFLOW, PAGE, make_lmdb, overwrite, pages_of, random_rows, rulstm_entries

from sgear.errors import FeatureError
from sgear.features import LmdbFeatures
from sgear.features.inspection import find_damage


def rows_of(width: int, num_rows: int) -> dict[str, bytes]:
    return {
        f"{video}_frame_{n:010d}.jpg": row.tobytes()
        for video in ("P01_01", "P01_02", "P02_01")
        for n, row in enumerate(random_rows(num_rows, width), start=1)
    }


@pytest.fixture
def deep(tmp_path) -> Path:
    """Two rows to a leaf, so the tree has three levels."""
    return make_lmdb(tmp_path / "obj", rows_of(352, 160))


def test_a_whole_database_is_verified_in_a_process_of_its_own(deep):
    told = []
    assert find_damage(LmdbFeatures(deep), progress=lambda *args: told.append(args)) == {}
    assert told[-1] == (100, 100)


@pytest.mark.parametrize("filling", [bytes(PAGE), b"abcdefgh" * (PAGE // 8)])
def test_a_damaged_page_of_the_tree_is_found_and_ends_that_process_at_the_most(deep, filling):
    table = LmdbFeatures(deep)
    overwrite(deep / "data.mdb", pages_of(deep / "data.mdb", LEAF)[40], filling)
    try:
        found = str(find_damage(table))
    except FeatureError as err:
        found = str(err)
    assert str(deep) in found
    assert "damaged: copy it again" in found


def test_a_row_of_which_nothing_but_zeros_is_left_is_told_from_one_that_was_written_so(tmp_path):
    entries = rows_of(1024, 8)
    entries["P01_02_frame_0000000004.jpg"] = bytes(4096)
    path = make_lmdb(tmp_path / "rgb", entries)
    assert not LmdbFeatures(path)["P01_02"].read(np.array([4 / 30]))[0].any()
    overwrite(path / "data.mdb", pages_of(path / "data.mdb", OVERFLOW)[3], bytes(PAGE))
    with pytest.raises(FeatureError, match=r"nothing but zeros is left of .* key 'P01_01_frame_0000000004"):
        LmdbFeatures(path)["P01_01"].read(np.array([4 / 30]))
    LmdbFeatures(path)["P01_01"].read(np.array([3 / 30]))
    assert list(find_damage(LmdbFeatures(path))) == ["P01_01"]


def test_what_the_library_itself_finds_is_an_error_of_the_features(tmp_path):
    path = make_lmdb(tmp_path / "rgb", rows_of(1024, 8))
    overwrite(path / "data.mdb", pages_of(path / "data.mdb", OVERFLOW)[3], b"\xff" * PAGE)
    video = LmdbFeatures(path)["P01_01"]
    with pytest.raises(FeatureError, match=r"data\.mdb: cannot be read \(.*it is damaged"):
        video.rows(video.numbers())


def test_a_file_cut_anywhere_is_refused(deep):
    file = deep / "data.mdb"
    for num_bytes in np.linspace(file.stat().st_size - PAGE, 4 * PAGE, 40, dtype=int).tolist():
        os.truncate(file, num_bytes)
        with pytest.raises(FeatureError, match=rf"data\.mdb: truncated, {num_bytes} of \d+ bytes"):
            LmdbFeatures(deep)


def test_a_key_of_another_form_among_those_of_a_video_is_named(tmp_path):
    entries = rulstm_entries("v", range(1, 9)) | {"v_frame_000000000x.jpg": bytes(16)}
    entries |= rulstm_entries("v", range(10**9, 10**9 + 2))
    with pytest.raises(FeatureError, match=r"key 'v_frame_000000000x\.jpg' lies among those of video 'v'"):
        LmdbFeatures(make_lmdb(tmp_path / "db", entries))["v"].numbers()
