"""Packets that a demuxer passes over: the frames around them are right or an error, in every container."""

import os
import random
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from coded_films import make_film, numbers_in, steady

from sgear.errors import VideoError
from sgear.video import VideoReader
from sgear.video.ebml import block_end, first_break
from sgear.video.riff import indexed_frames
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.verify import FilmToCheck, verify_film

NUM_FRAMES = 90
FULL_RANGE = "yuvj420p"
FILMS = {
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


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lost") / request.param
    return make_film(path, steady(NUM_FRAMES), noise=20, **FILMS[request.param])


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


@pytest.mark.parametrize("lost", [[40], [40, 41, 42, 60], [52, 53], [88, 89]], ids=str)
def test_no_instant_shows_another_frame_where_packets_are_lost(film, lost):
    if film.suffix == ".ts" and NUM_FRAMES - 1 in lost:
        pytest.skip("a transport stream does not say where it ends")
    hurt = _without(film, lost)
    # Forward, and in jumps: damage is met by playing on and by seeking.
    order = [*range(NUM_FRAMES), *np.random.default_rng(0).permutation(NUM_FRAMES)[:30]]
    with VideoReader(hurt) as reader:
        shown = [(idx, _played(reader, idx)) for idx in order]
    assert [pair for pair in shown if pair[1] not in (None, pair[0])] == []
    refused = {idx for idx, number in shown if number is None}
    assert refused, "something was lost"
    assert len(refused) <= 12 * (len(lost) + 2), "damage ends at the next key frame but one"


@pytest.mark.parametrize("lost", [[40], [60, 61]], ids=str)
def test_checking_and_copying_find_that_packets_are_lost(film, lost, tmp_path):
    hurt = _without(film, lost)
    assert verify_film(FilmToCheck(hurt), quick=False).problems
    with pytest.raises(VideoError):
        make_copy(hurt, tmp_path / "copy.mp4", CopySettings(short_side=24))
    assert os.listdir(tmp_path) == []


def test_a_film_without_its_first_packet_gives_no_frame_too_early(film):
    hurt = _without(film, [0])
    try:
        with VideoReader(hurt) as reader:
            shown = [(idx, _played(reader, idx)) for idx in range(NUM_FRAMES)]
    except VideoError:
        return
    if film.suffix == ".ts":
        pytest.skip("a transport stream that lost its beginning starts at what is left")
    assert [pair for pair in shown if pair[1] not in (None, pair[0])] == []
    assert shown[0] == (0, None)


AVI_FILMS = [name for name in FILMS if name.endswith(".avi")]


@pytest.fixture(params=AVI_FILMS)
def avi(request, tmp_path) -> Path:
    return make_film(tmp_path / request.param, steady(NUM_FRAMES), noise=20, **FILMS[request.param])


def test_an_avi_without_index_is_read_up_to_the_hole(avi):
    content = bytearray(_without(avi, [40]).read_bytes())
    index = content.rindex(b"idx1")
    content[index : index + 4] = b"\x13\x37\x55\x99"
    avi.write_bytes(content)
    numbers = [_read(avi, idx) for idx in (0, 20, 30, 45, 70, 89)]
    assert numbers == [0, 20, 30, None, None, None]
    assert verify_film(FilmToCheck(avi), quick=False).problems


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
    with pytest.raises(VideoError, match="no frame can be decoded"):
        VideoReader(avi)


def test_dropped_frames_of_an_avi_are_no_damage(tmp_path):
    times_s = [idx / 30 for idx in (0, 1, 2, 3, 8, 9, 10, 20, 21, 22, 40, 41)]
    path = make_film(tmp_path / "film.avi", times_s, codec="mpeg4")
    assert verify_film(FilmToCheck(path), quick=False).problems == ()
    with VideoReader(path) as reader:
        numbers = numbers_in(reader.frames_played_at([5.5 / 30, 9.5 / 30, 39.5 / 30]).frames)
    assert numbers == [3, 5, 9]


def test_a_lost_element_between_pictures_is_found_by_its_place(tmp_path):
    path = make_film(tmp_path / "film.webm", steady(30), codec="libvpx-vp9")
    (begin, _), (following, _) = _packet_places(path)[10:12]
    content = bytearray(path.read_bytes())
    with path.open("rb") as file:
        assert block_end(file.fileno(), begin + 8, following - begin - 8) is not None
        assert first_break(file.fileno(), 0, len(content), num_bytes=len(content)) is None
    content[begin + 3 : begin + 8] = bytes(5)
    path.write_bytes(content)
    problems = verify_film(FilmToCheck(path), quick=True).problems
    assert any("structure is damaged at byte" in problem for problem in problems)


def test_a_key_frame_whose_time_was_lost_stands_for_no_instant_before_it(tmp_path):
    path = make_film(tmp_path / "film.ts", steady(NUM_FRAMES), codec="libx265", noise=20)
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


def _with_large_index(avi: Path) -> None:
    """Give an avi the kind of index that files of more than 1 GiB have, in the room that was left for it."""
    content = bytearray(avi.read_bytes())
    old = content.rindex(b"idx1")
    entries = [struct.unpack_from("<4sIII", content, old + 8 + 16 * idx) for idx in range(NUM_FRAMES)]
    base = content.index(b"movi")
    head = struct.pack("<HBBI4sQI", 2, 0, 1, NUM_FRAMES, b"00dc", base, 0)
    part = head + b"".join(struct.pack("<II", offset + 8, size) for _, _, offset, size in entries)
    part = b"ix00" + struct.pack("<I", len(part)) + part
    room = 16 * NUM_FRAMES + 8 - len(part)
    content[old:] = part + b"JUNK" + struct.pack("<I", room - 8) + bytes(room - 8)
    left = content.index(b"JUNK")
    content[left : left + 4] = b"indx"
    top = struct.pack("<HBBI4s12xQII", 4, 0, 0, 1, b"00dc", old, len(part), NUM_FRAMES)
    content[left + 8 : left + 8 + len(top)] = top
    avi.write_bytes(content)


def test_the_index_of_a_large_avi_tells_which_frames_are_lost(avi):
    _with_large_index(avi)
    with avi.open("rb") as file:
        places = indexed_frames(file.fileno(), 0)
    assert places == {begin + 8: number for number, (begin, _) in enumerate(_packet_places(avi))}
    with VideoReader(_without(avi, [40])) as reader:
        shown = [(idx, _played(reader, idx)) for idx in range(NUM_FRAMES)]
    assert [pair for pair in shown if pair[1] not in (None, pair[0])] == []
    assert shown[40] == (40, None)
    assert shown[70] == (70, 70)


@pytest.mark.parametrize("name", ["mjpeg.avi", "h264_b.mkv", "vp9.webm", "h264_b.ts"])
def test_a_few_wrong_bytes_anywhere_give_frames_or_one_error(tmp_path, name):
    content = make_film(tmp_path / name, steady(20), **FILMS[name]).read_bytes()
    hurt = tmp_path / f"hurt_{name}"
    for seed in range(60):
        rng = random.Random(seed)
        changed = bytearray(content)
        zone = rng.choice([range(len(content)), range(700), range(len(content) - 400, len(content))])
        for _ in range(rng.choice([1, 4, 16])):
            changed[rng.choice(zone)] = rng.choice([0, 255, rng.randrange(256)])
        hurt.write_bytes(changed)
        verify_film(FilmToCheck(hurt), quick=False)
        try:
            with VideoReader(hurt) as reader:
                _played(reader, 10)
        except VideoError:
            continue
