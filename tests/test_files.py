"""Files appear whole or not at all, and a place that cannot hold one is named before any work."""

import os
from pathlib import Path

import pytest

from sgear.errors import PredictionError, WriteError
from sgear.files import (
    create_exclusively,
    leftover_partials,
    partial_path,
    replacing,
    require_regular_file,
    require_writable,
    visible,
    write_whole,
)


def test_a_file_is_written_with_the_folders_above_it_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    require_writable(path)
    assert not (tmp_path / "a").exists()
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("check", [require_writable, lambda path: write_whole(path, b"x")])
def test_a_folder_of_that_name_and_a_file_in_place_of_a_folder_are_refused(tmp_path, check):
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=r"folder: is a folder, expected the name of a file; add one"):
        check(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match=r"cannot be written, since .*file is no folder; choose another place"):
        check(tmp_path / "file" / "below" / "c.bin")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    (tmp_path / "folder").mkdir(mode=0o500)
    with pytest.raises(WriteError, match="is read-only for you"):
        require_writable(tmp_path / "folder" / "a.bin")


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / ("n" * 300)
    with pytest.raises(WriteError, match="cannot be written"):
        write_whole(path, b"x")
    assert list(tmp_path.iterdir()) == leftover_partials(path) == []


def test_only_regular_files_are_opened(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    link = tmp_path / "link"
    link.symlink_to(plain)
    require_regular_file(link)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in [
        (pipe, "is no regular file"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path, "is a folder"),
        (tmp_path / "absent", "no such file"),
        (tmp_path / "\x1b[2J", r"x1b\[2J: no such file"),
    ]:
        with pytest.raises(PredictionError, match=words):
            require_regular_file(path, PredictionError)


def test_control_characters_are_written_out():
    assert visible("wash\x1b[2J \u202epan\r\n\té") == r"wash\x1b[2J \u202epan\r" + "\n\té"


def test_what_a_killed_process_left_goes_with_the_next_whole_file(tmp_path):
    path = tmp_path / "visual.safetensors"
    partial_path(path).write_bytes(b"half")
    write_whole(path, b"whole")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    partial_path(path).write_bytes(b"half")
    try:
        create_exclusively(path, "another")
    except FileExistsError:
        assert path.read_bytes() == b"whole"
    assert leftover_partials(path) == []


def test_what_another_process_is_writing_stays(tmp_path):
    path = tmp_path / "index.parquet"
    with replacing(path) as partial:
        partial.write_bytes(b"mine")
        write_whole(path, b"theirs")
        assert leftover_partials(path) == [partial]
    assert path.read_bytes() == b"mine"
    assert leftover_partials(path) == []
