"""One instant has one frame: a jump and a reading from the beginning agree in every container, or the video is refused.

Videos are drawn at random over containers, key-frame distances, rates, B-frames, edit lists and starts. Two recordings
that were joined count their time twice.
"""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from coded_videos import make_video, numbers_in, played_at, read_all, remuxed, steady
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sgear.errors import VideoError
from sgear.video import VideoReader, streams
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.verify import VideoToCheck, verify_video

NUM_FRAMES = 36
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
SEGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof+dash+global_sidx"}
MPEG2 = {"codec": "mpeg2video"}
KINDS = {
    "mp4": {},
    "mov": {},
    "fragments.mp4": {"options": FRAGMENTS},
    "segments.mp4": {"options": SEGMENTS},
    "mkv": {},
    "live.mkv": {"options": {"live": "1"}},
    "webm": {"codec": "libvpx"},
    "ts": {},
    "m2ts": {},
    "flv": {},
    "mpg": MPEG2,
    "vob": MPEG2,
    "wmv": {"codec": "wmv2"},
    "avi": {"codec": "mpeg4"},
    "mxf": MPEG2,
}
NO_B_FRAMES = ("webm", "wmv")
EVEN_RATES = ("mpg", "vob", "avi", "mxf")
# Of two joined recordings the second is no part of these: the header of the first says where its images end.
READ_TO_THE_JOINT = ("mp4", "mov", "flv", "wmv")


def _video(path: Path, kind: str, times_s, *, gop=12, num_b=0, first=0) -> Path:
    coding = {**KINDS[kind]}
    muxing = coding.pop("options", None)
    if muxing is None:
        return make_video(path, times_s, gop=gop, num_b=num_b, first=first, **coding)
    source = make_video(path.with_name(f"{path.name}.mp4"), times_s, gop=gop, num_b=num_b, first=first)
    return remuxed(source, path, **muxing)


def _assert_jumps_agree(path: Path, video: list[tuple[float, int]], rng: np.random.Generator) -> None:
    reader = VideoReader(path)
    for t_s in rng.uniform(0, video[-1][0], 8):
        if rng.random() < 0.3:
            reader.close()
            reader = VideoReader(path)
        batch = reader.frames_played_at([t_s])
        assert (batch.pts_s[0], numbers_in(batch.frames)[0]) == played_at(video, t_s)
    reader.close()


@st.composite
def _times(draw, kind: str):
    if kind in EVEN_RATES or draw(st.booleans()):
        return steady(NUM_FRAMES, 30 if kind in EVEN_RATES else draw(st.sampled_from([12, 25, 50])))
    gaps = draw(st.lists(st.sampled_from([20, 33, 40, 100, 700]), min_size=NUM_FRAMES - 1, max_size=NUM_FRAMES - 1))
    return [Fraction(int(ms), 1000) for ms in np.cumsum([0, *gaps])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_jump_gives_the_frame_that_is_played_then(kind, tmp_path):
    examples = iter(range(1000))

    @given(st.data())
    @settings(max_examples=3, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    def law(data):
        times_s = data.draw(_times(kind))
        num_b = 0 if kind in NO_B_FRAMES else data.draw(st.sampled_from([0, 2]))
        start_s = 0 if kind in EVEN_RATES else data.draw(st.sampled_from([0, Fraction(37, 10)]))
        path = tmp_path / f"{next(examples)}.{kind}"
        gop = data.draw(st.sampled_from([1, 5, 24]))
        _video(path, kind, [start_s + time_s for time_s in times_s], gop=gop, num_b=num_b)
        video = read_all(path)
        assert [number for _, number in video] == list(range(NUM_FRAMES))
        # Some containers round times to milliseconds.
        stated_s = [float(time_s) for time_s in times_s]
        assert [pts_s for pts_s, _ in video] == pytest.approx(stated_s, abs=1.1e-3)
        _assert_jumps_agree(path, video, np.random.default_rng(data.draw(st.integers(0, 99))))

    law()


EDITS = {
    "two_parts": [(0.2, 0.5), (0.8, 0.3)],
    "backwards": [(0.7, 0.4), (0.2, 0.5)],
    "twice": [(0.5, 0.5), (0.5, 0.5)],
}


@pytest.mark.parametrize("name", EDITS)
def test_a_jump_respects_every_edit_list(tmp_path, name):
    edits = EDITS[name]
    source = _video(tmp_path / "source.mp4", "mp4", steady(NUM_FRAMES), num_b=2)
    # A late start takes two entries, which are replaced.
    path = remuxed(source, tmp_path / "video.mp4", shift_s=2.0)
    content = bytearray(path.read_bytes())
    units = [struct.unpack(">I", content[(at := content.index(box) + 16) : at + 4])[0] for box in (b"mvhd", b"mdhd")]
    place = content.index(b"elst") + 8
    assert content[place : place + 4] == struct.pack(">I", len(edits))
    for row, (begin_s, length_s) in enumerate(edits):
        entry = struct.pack(">III", round(length_s * units[0]), round(begin_s * units[1]), 1 << 16)
        content[place + 4 + 12 * row : place + 16 + 12 * row] = entry
    path.write_bytes(content)
    video = read_all(path)
    assert [pts_s for pts_s, _ in video] == sorted({pts_s for pts_s, _ in video})
    assert len(video) == pytest.approx(30 * sum(length_s for _, length_s in edits), abs=len(edits))
    _assert_jumps_agree(path, video, np.random.default_rng(0))


def test_a_stream_whose_clock_overflows_is_one_recording(tmp_path):
    source = _video(tmp_path / "source.ts", "ts", steady(NUM_FRAMES), num_b=2)
    path = remuxed(source, tmp_path / "video.ts", shift_s=2**33 / 90_000 - 2.2)
    video = read_all(path)
    assert [pts_s for pts_s, _ in video] == pytest.approx([float(time_s) for time_s in steady(NUM_FRAMES)], abs=1e-4)
    _assert_jumps_agree(path, video, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_two_joined_recordings_are_refused_or_only_the_first_is_read(tmp_path, kind):
    num_b = 0 if kind in NO_B_FRAMES else 2
    one, other = (
        _video(tmp_path / f"{first}.{kind}", kind, steady(NUM_FRAMES), num_b=num_b, first=first).read_bytes()
        for first in (0, 100)
    )
    path = tmp_path / f"joined.{kind}"
    path.write_bytes(one + other)
    if kind not in READ_TO_THE_JOINT:
        with pytest.raises(VideoError, match=r"joined\.\S+: it.*two recordings were joined"):
            VideoReader(path)
        return
    video = read_all(path)
    _assert_jumps_agree(path, video, np.random.default_rng(0))
    assert [number for _, number in video] == list(range(NUM_FRAMES))


@pytest.mark.parametrize("kind", ["wmv", "asf"])
def test_times_that_occur_twice_are_refused(tmp_path, kind):
    path = make_video(tmp_path / f"video.{kind}", steady(NUM_FRAMES))
    with pytest.raises(VideoError, match=r"it has two frames at 1\.1.. s"):
        VideoReader(path)


def test_frames_that_come_out_of_turn_are_refused_when_they_come(tmp_path):
    path = make_video(tmp_path / "video.wmv", steady(60), codec="mpeg2video", num_b=2)
    with pytest.raises(VideoError, match="comes out of turn at"):
        VideoReader(path).frames_played_at([1.0])


@pytest.mark.parametrize(("suffix", "complaint"), [(".h264", "a bare stream"), (".mpg", "does not say when each")])
def test_frames_without_times_are_refused(tmp_path, suffix, complaint):
    path = make_video(tmp_path / f"video{suffix}", steady(NUM_FRAMES), num_b=2)
    with pytest.raises(VideoError, match=complaint):
        VideoReader(path)


def test_a_file_is_gone_through_once_for_all_openings_and_again_when_it_changed(tmp_path, monkeypatch):
    path = _video(tmp_path / "video.ts", "ts", steady(NUM_FRAMES))
    readings = []
    demuxed = streams._demuxed
    monkeypatch.setattr(streams, "_demuxed", lambda *args: readings.append(1) or demuxed(*args))
    for _ in range(3):
        VideoReader(path).close()
    assert len(readings) == 1
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(VideoError, match="two recordings were joined"):
        VideoReader(path)


@pytest.mark.data
def test_the_joined_recordings_of_a_user_are_told_from_a_damaged_video(real_data, tmp_path):
    path = real_data / "cases" / "01_joined_ts" / "C2_equal.ts"
    message = r"C2_equal\.ts: its clock runs back from 19\.960 s to 0\.000 s.*two recordings were joined"
    with pytest.raises(VideoError, match=message):
        VideoReader(path)
    (problem,) = verify_video(VideoToCheck(path), quick=False).problems
    assert "two recordings were joined" in problem
    assert "frames are damaged" not in problem
    with pytest.raises(VideoError, match=message):
        make_copy(path, tmp_path / "copy.mp4", CopySettings(short_side=32))
