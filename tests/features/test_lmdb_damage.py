"""Damaged and truncated LMDBs: one clear error, whatever lies on the page, and never the end of the process."""

import multiprocessing
import os
import random
from pathlib import Path

import lmdb
import numpy as np
import pytest
from feature_examples import BRANCH, LEAF, OVERFLOW, PAGE, make_lmdb, overwrite, pages_of, random_rows, rulstm_entries

from sgear.errors import FeatureError, SgearError
from sgear.features import LmdbFeatures

VIDEOS = ("P01_01", "P01_02", "P02_01")
FILLINGS = {
    "zeros": lambda page: bytes(PAGE),
    "noise": lambda page: random.Random(7).randbytes(PAGE),
    "text": lambda page: b"abcdefgh" * (PAGE // 8),
    "ones": lambda page: b"\xff" * PAGE,
    "half of it": lambda page: page[: PAGE // 2] + bytes(PAGE // 2),
}


def rows_of(width: int, num_rows: int) -> dict[str, bytes]:
    return {
        f"{video}_frame_{n:010d}.jpg": row.tobytes()
        for video in VIDEOS
        for n, row in enumerate(random_rows(num_rows, width), start=1)
    }


def read_everything(path: Path) -> None:
    table = LmdbFeatures(path)
    for video_id in table.video_ids:
        video = table[video_id]
        numbers = video.numbers()
        video.covers(np.linspace(-1.0, 20.0, 50))
        video.read(np.linspace(video.first_s, video.last_s, 20))
        video.read(np.linspace(video.first_s, video.last_s, 5), 0.5)
        video.rows(numbers)


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Path:
    """Two rows to a leaf, so the tree has three levels."""
    return make_lmdb(tmp_path_factory.mktemp("deep") / "obj", rows_of(352, 160))


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """Each row lies on pages of its own."""
    return make_lmdb(tmp_path_factory.mktemp("wide") / "rgb", rows_of(1024, 70))


def _damage_each(path: Path, pages: list[int], filling: str, told) -> None:
    good = (path / "data.mdb").read_bytes()
    for page in pages:
        kept = good[page * PAGE : (page + 1) * PAGE]
        overwrite(path / "data.mdb", page, FILLINGS[filling](kept))
        try:
            read_everything(path)
            told.put((page, "nothing was noticed"))
        except SgearError as err:
            told.put((page, str(err)))
        overwrite(path / "data.mdb", page, kept)


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_damaged_page_of_the_tree_is_named_and_never_ends_the_process(deep, filling):
    branches, leaves = pages_of(deep / "data.mdb", BRANCH), pages_of(deep / "data.mdb", LEAF)
    assert len(branches) > 2, "the tree has three levels"
    pages = [*branches, *leaves[::40], leaves[-1]]
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=_damage_each, args=(deep, pages, filling, told))
    child.start()
    messages = dict(told.get(timeout=60) for _ in pages)
    child.join()
    assert child.exitcode == 0
    for page, message in messages.items():
        assert f"data.mdb: page {page} is damaged" in message, (page, message)
        assert "copy it again" in message


def test_all_is_read_where_nothing_is_damaged(deep, wide):
    for path in (deep, wide):
        read_everything(path)


def test_a_row_of_which_nothing_but_zeros_is_left_is_told_from_one_that_was_written_so(wide, tmp_path):
    entries = rows_of(1024, 8)
    entries["P01_02_frame_0000000004.jpg"] = bytes(4096)
    path = make_lmdb(tmp_path / "rgb", entries)
    assert not LmdbFeatures(path)["P01_02"].read(np.array([4 / 30]))[0].any()
    page = pages_of(path / "data.mdb", OVERFLOW)[3]
    overwrite(path / "data.mdb", page, bytes(PAGE))
    with pytest.raises(
        FeatureError, match=rf"page {page} is damaged, it should be a row.*key 'P01_01_frame_0000000004"
    ):
        LmdbFeatures(path)["P01_01"].read(np.array([4 / 30]))
    LmdbFeatures(path)["P01_01"].read(np.array([3 / 30]))


def test_a_value_that_replaced_a_longer_one_is_whole(tmp_path):
    path = make_lmdb(tmp_path / "rgb", rows_of(1024, 8))
    with (
        lmdb.open(str(path), map_size=1 << 24, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for num_bytes in (5 * PAGE, PAGE):
            transaction.put(b"P01_01_frame_0000000004.jpg", bytes(num_bytes))
    LmdbFeatures(path)["P01_01"].verify()
    assert not LmdbFeatures(path)["P01_01"].read(np.array([4 / 30]))[0].any()


def test_what_the_library_itself_finds_is_an_error_of_the_features(tmp_path):
    path = make_lmdb(tmp_path / "rgb", rows_of(1024, 8))
    overwrite(path / "data.mdb", pages_of(path / "data.mdb", OVERFLOW)[3], b"\xff" * PAGE)
    with pytest.raises(FeatureError, match=r"data\.mdb: cannot be read \(.*it is damaged"):
        read_everything(path)


def test_few_pages_are_looked_at_and_once(wide, monkeypatch):
    looked_at, pread = [], os.pread

    def counting(descriptor: int, num_bytes: int, offset: int) -> bytes:
        looked_at.append(offset // PAGE)
        return pread(descriptor, num_bytes, offset)

    monkeypatch.setattr("os.pread", counting)
    table = LmdbFeatures(wide)
    for video_id in VIDEOS:
        table[video_id].read(np.array([1.0, 2.0]))
    num_pages = (wide / "data.mdb").stat().st_size // PAGE
    assert len(set(looked_at)) < 0.03 * num_pages
    looked_at.clear()
    for video_id in VIDEOS:
        table[video_id].read(np.array([0.5, 1.5]))
    assert looked_at == []


def with_free_pages_at_the_end(path: Path) -> Path:
    """Pages taken and given back in one transaction are never written, where older ones hold the list of them."""
    make_lmdb(path, rulstm_entries("v", range(1, 31)))
    with lmdb.open(str(path), map_size=1 << 24, lock=False) as environment:
        for keys in (b"abcd", b"wxyz"):
            with environment.begin(write=True) as transaction:
                for key in keys:
                    transaction.put(bytes([key]), bytes(5000))
        for _ in range(2):
            with environment.begin(write=True) as transaction:
                for key in b"abcd":
                    transaction.delete(bytes([key]))
        with environment.begin(write=True) as transaction:
            for key in b"wxyz":
                transaction.delete(bytes([key]))
            transaction.put(b"w_frame_0000000001.jpg", bytes(16))
            transaction.put(b"large", bytes(20 * PAGE))
            transaction.delete(b"large")
        needed = (environment.info()["last_pgno"] + 1) * PAGE
    assert (path / "data.mdb").stat().st_size < needed
    return path


def test_free_pages_at_the_end_need_not_be_there(tmp_path):
    table = LmdbFeatures(with_free_pages_at_the_end(tmp_path / "db"))
    assert table.video_ids == ["v", "w"]
    assert table["v"].read(np.array([1.0]))[0].tolist() == [[30.0] * 4]


def with_a_long_list_of_free_pages(path: Path) -> Path:
    """A reader that holds on to an old state keeps the pages of all later ones from being used again."""
    make_lmdb(path, rulstm_entries("v", range(1, 31)))
    with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin():
        for number in range(250):
            with environment.begin(write=True) as transaction:
                transaction.put(b"x", bytes(10 * (1 + number % 5)))
                transaction.put(b"y", bytes(2 * PAGE))
        with environment.begin(write=True) as transaction:
            transaction.delete(b"x")
            transaction.delete(b"y")
    return path


@pytest.mark.parametrize("make", [with_free_pages_at_the_end, with_a_long_list_of_free_pages])
def test_a_file_cut_anywhere_is_read_whole_or_refused(make, tmp_path):
    file = make(tmp_path / "db") / "data.mdb"
    is_whole = []
    for num_bytes in np.linspace(file.stat().st_size - PAGE, 4 * PAGE, 40, dtype=int).tolist():
        os.truncate(file, num_bytes)
        told, rows = "", np.zeros((0, 4))
        try:
            rows = LmdbFeatures(tmp_path / "db")["v"].read(np.arange(1, 31) / 30)[0]
        except FeatureError as err:
            told = str(err)
        is_whole.append(not told)
        assert f"data.mdb: truncated, {num_bytes} of " in told or rows[:, 0].tolist() == list(range(1, 31))
    assert is_whole == sorted(is_whole, reverse=True)
    assert is_whole[0] or make != with_free_pages_at_the_end, "the first pages that go are free"
    assert not is_whole[-1]


def test_a_key_of_another_form_among_those_of_a_video_is_named(tmp_path):
    entries = rulstm_entries("v", range(1, 9)) | {"v_frame_000000000x.jpg": bytes(16)}
    entries |= rulstm_entries("v", range(10**9, 10**9 + 2))
    with pytest.raises(FeatureError, match=r"key 'v_frame_000000000x\.jpg' lies among those of video 'v'"):
        LmdbFeatures(make_lmdb(tmp_path / "db", entries))["v"].numbers()
