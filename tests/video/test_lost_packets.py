"""Packets that a demuxer skips: the video is refused, or the frames around them are right or an error."""

import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from coded_videos import make_video, numbers_in, steady

from sgear.errors import VideoError
from sgear.video import VideoReader
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.verify import VideoToCheck, verify_video

NUM_FRAMES = 90
FULL_RANGE = "yuvj420p"
VIDEOS = {
    "mjpeg.avi": {"codec": "mjpeg", "gop": 1, "pix_fmt": FULL_RANGE},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b.avi": {"codec": "mpeg4", "num_b": 2},
    "h264.avi": {},
    "h264_b.avi": {"num_b": 3},
    "h264.mkv": {},
    "h264_b.mkv": {"num_b": 3},
    "open_gop.mkv": {"num_b": 3, "x264": "open-gop=1"},
    "mjpeg.mkv": {"codec": "mjpeg", "gop": 1, "pix_fmt": FULL_RANGE},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "h264_b.ts": {"num_b": 3},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Callable[[str], Path]:
    """Makes each video once."""
    folder = tmp_path_factory.mktemp("lost")

    @cache
    def video(name: str) -> Path:
        return make_video(folder / name, steady(NUM_FRAMES), noise=20, **VIDEOS[name])

    return video


def _packet_places(path: Path) -> list[tuple[int, int]]:
    """First and last byte of each packet in the order of the file, with the head by which a demuxer finds it."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    if path.suffix == ".ts":
        return [(pos, pos + 2 * 188) for pos, _ in packets]
    return [(pos - 8, pos + size) for pos, size in packets]


def _without(path: Path, lost: list[int]) -> Path:
    content = bytearray(path.read_bytes())
    places = _packet_places(path)
    for idx in lost:
        begin, end = places[idx]
        content[begin:end] = random.Random(idx).randbytes(end - begin)
    hurt = path.with_name(f"hurt_{path.name}")
    hurt.write_bytes(content)
    return hurt


def _read(path: Path, idx: int) -> int | None:
    with VideoReader(path) as reader:
        return _played(reader, idx)


def _played(reader: VideoReader, idx: int) -> int | None:
    try:
        return numbers_in(reader.frames_played_at([(idx + 0.5) / 30]).frames)[0]
    except VideoError:
        return None


LOST = [[40], [40, 41, 42, 60], [52, 53], [88, 89], [0]]


@pytest.mark.parametrize("lost", LOST, ids=str)
@pytest.mark.parametrize("name", [name for name in VIDEOS if not name.endswith(".ts")])
def test_a_video_of_which_packets_are_lost_is_refused(videos, name, lost):
    hurt = _without(videos(name), lost)
    with pytest.raises(VideoError, match=r"(it holds|its structure is damaged|not a readable video)"):
        VideoReader(hurt)


@pytest.mark.parametrize("lost", LOST[:3], ids=str)
def test_no_instant_shows_another_frame_where_packets_of_a_stream_are_lost(videos, lost):
    hurt = _without(videos("h264_b.ts"), lost)
    # Forward, and in jumps: damage is met by playing on and by seeking.
    order = [*range(NUM_FRAMES), *np.random.default_rng(0).permutation(NUM_FRAMES)[:30]]
    with VideoReader(hurt) as reader:
        shown = [(idx, _played(reader, idx)) for idx in order]
    assert [pair for pair in shown if pair[1] not in (None, pair[0])] == []
    refused = {idx for idx, number in shown if number is None}
    assert refused, "something was lost"
    assert len(refused) <= 12 * (len(lost) + 2), "damage ends at the next key frame but one"


@pytest.mark.parametrize("name", ["mpeg4_b.avi", "vp9.webm", "h264_b.ts"])
def test_checking_and_copying_find_that_packets_are_lost(videos, name, tmp_path):
    hurt = _without(videos(name), [60, 61])
    assert verify_video(VideoToCheck(hurt), quick=False).problems
    with pytest.raises(VideoError):
        make_copy(hurt, tmp_path / "copy.mp4", CopySettings(short_side=24))
    assert os.listdir(tmp_path) == []


AVI_VIDEOS = [name for name in VIDEOS if name.endswith(".avi")]


@pytest.fixture(params=AVI_VIDEOS)
def avi(request, tmp_path) -> Path:
    return make_video(tmp_path / request.param, steady(NUM_FRAMES), noise=20, **VIDEOS[request.param])


def test_an_avi_without_index_and_with_a_hole_is_refused(avi):
    content = bytearray(_without(avi, [40]).read_bytes())
    avi.write_bytes(content[: content.rindex(b"idx1")])
    with pytest.raises(VideoError, match=r"its header states 90 frames, it holds 89"):
        VideoReader(avi)


def test_an_avi_without_index_but_with_all_of_its_frames_is_read_whole(avi):
    content = avi.read_bytes()
    avi.write_bytes(content[: content.rindex(b"idx1")])
    assert [_read(avi, idx) for idx in range(0, NUM_FRAMES - 4, 7)] == list(range(0, NUM_FRAMES - 4, 7))


def _lose_index_entry(avi: Path, entry: int) -> None:
    content = bytearray(avi.read_bytes())
    begin = content.rindex(b"idx1") + 8 + 16 * entry
    content[begin : begin + 16] = b"\x13" * 16
    avi.write_bytes(content)


@pytest.mark.parametrize("entry", [1, 30, 88])
def test_an_index_that_lost_an_entry_moves_no_frame(avi, entry):
    _lose_index_entry(avi, entry)
    with VideoReader(avi) as reader:
        assert [_played(reader, idx) for idx in range(NUM_FRAMES)] == list(range(NUM_FRAMES))


def test_an_index_that_lost_its_first_entry_is_damage(avi):
    _lose_index_entry(avi, 0)
    with pytest.raises(VideoError, match="none after the first gap is sure"):
        VideoReader(avi)


def test_dropped_frames_of_an_avi_are_no_damage(tmp_path):
    times_s = [idx / 30 for idx in (0, 1, 2, 3, 8, 9, 10, 20, 21, 22, 40, 41)]
    path = make_video(tmp_path / "video.avi", times_s, codec="mpeg4")
    assert verify_video(VideoToCheck(path), quick=False).problems == ()
    with VideoReader(path) as reader:
        numbers = numbers_in(reader.frames_played_at([5.5 / 30, 9.5 / 30, 39.5 / 30]).frames)
    assert numbers == [3, 5, 9]


def test_a_lost_element_between_images_is_found_by_its_place(tmp_path):
    path = make_video(tmp_path / "video.webm", steady(30), codec="libvpx-vp9")
    begin, _ = _packet_places(path)[10]
    content = bytearray(path.read_bytes())
    assert verify_video(VideoToCheck(path), quick=True).problems == ()
    content[begin + 3 : begin + 8] = bytes(5)
    path.write_bytes(content)
    (problem,) = verify_video(VideoToCheck(path), quick=True).problems
    assert "structure is damaged" in problem


def test_a_key_frame_whose_time_was_lost_stands_for_no_instant_before_it(tmp_path):
    path = make_video(tmp_path / "video.ts", steady(NUM_FRAMES), codec="libx265", noise=20)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        key = [packet.pos for packet in container.demux(video=0) if packet.is_keyframe][4]
    for begin in range(key - 500, key + 200, 100):
        hurt = bytearray(content)
        hurt[begin : begin + 500] = random.Random(begin).randbytes(500)
        path.write_bytes(hurt)
        with VideoReader(path) as reader:
            for idx in (60, 37, 20, 3):
                assert _played(reader, idx) in (None, idx), begin - key


@pytest.mark.parametrize("name", ["mjpeg.avi", "h264_b.mkv", "vp9.webm", "h264_b.ts"])
def test_a_few_wrong_bytes_anywhere_give_frames_or_one_error(tmp_path, name):
    content = make_video(tmp_path / name, steady(20), **VIDEOS[name]).read_bytes()
    hurt = tmp_path / f"hurt_{name}"
    for seed in range(60):
        rng = random.Random(seed)
        changed = bytearray(content)
        zone = rng.choice([range(len(content)), range(700), range(len(content) - 400, len(content))])
        for _ in range(rng.choice([1, 4, 16])):
            changed[rng.choice(zone)] = rng.choice([0, 255, rng.randrange(256)])
        hurt.write_bytes(changed)
        verify_video(VideoToCheck(hurt), quick=False)
        try:
            with VideoReader(hurt) as reader:
                _played(reader, 10)
        except VideoError:
            continue
