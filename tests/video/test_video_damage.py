"""What is missing or damaged is one clear error, never a black or a stale image."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from coded_videos import make_video, numbers_in, overwrite_packet, steady

from sgear.errors import VideoError
from sgear.video import VideoReader

NUM_FRAMES = 90
CODINGS = {
    "p_frames": {"gop": 15},
    "b_frames": {"gop": 30, "num_b": 3},
    "open_gop": {"gop": 20, "num_b": 3, "x264": "open-gop=1"},
}


def _silent_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        for start in range(0, 16_000, 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 16_000, start
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path


def _text(path: Path) -> Path:
    path.write_text("these are minutes of a meeting\n" * 200)
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _cut_before_its_index(path: Path) -> Path:
    video = make_video(path, steady(NUM_FRAMES)).read_bytes()
    path.write_bytes(video[: len(video) // 2])
    return path


def _cut_before_its_first_frame(path: Path) -> Path:
    source = _with_index_first(make_video(path.with_name("whole.mp4"), steady(NUM_FRAMES)), path)
    with av.open(str(source)) as container:
        first = next(container.demux(video=0))
        end = first.pos + 20
    path.write_bytes(path.read_bytes()[:end])
    return path


def _with_index_first(source: Path, out: Path) -> Path:
    with av.open(str(source)) as video, av.open(str(out), "w", options={"movflags": "faststart"}) as copy:
        stream = copy.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return out


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path, "no such file"),
        (_empty, "empty"),
        (_text, "not a readable video"),
        (_silent_video, "no video stream"),
        (_cut_before_its_index, "not a readable video"),
        (_cut_before_its_first_frame, "no frame can be decoded"),
    ],
)
def test_unreadable_file_is_named_with_its_trouble(tmp_path, make, complaint):
    with pytest.raises(VideoError, match=rf"video\.mp4: .*{complaint}"):
        VideoReader(make(tmp_path / "video.mp4"))


def test_text_under_its_own_name_is_not_a_video_of_a_terminal(tmp_path):
    with pytest.raises(VideoError, match=r"notes\.txt"):
        VideoReader(_text(tmp_path / "notes.txt"))


def test_folder_is_not_a_video(tmp_path):
    with pytest.raises(VideoError, match="is a folder"):
        VideoReader(tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_truncated_video_is_read_up_to_its_end_and_not_beyond(tmp_path, suffix):
    video = make_video(tmp_path / f"whole{suffix}", steady(NUM_FRAMES), gop=15)
    video = _with_index_first(video, tmp_path / "indexed.mp4") if suffix == ".mp4" else video
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])

    with VideoReader(cut) as reader:
        last_s = reader.last_pts_s
        assert 0.5 < last_s < 2.9
        assert numbers_in(reader.frames_played_at([last_s]).frames) == [round(last_s * 30)]
        with pytest.raises(VideoError, match=rf"cut\{suffix}: nothing is played at t = 2.950 s.*truncated"):
            reader.frames_played_at([0.1, 2.95])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("packet_idx", [30, 31, 36, 45])
@pytest.mark.parametrize("noise", [0, 30], ids=["refused", "patched"])
def test_frames_around_a_destroyed_packet_are_intact_or_an_error(tmp_path, coding, packet_idx, noise):
    source = make_video(tmp_path / "source.mp4", steady(NUM_FRAMES), noise=noise, **CODINGS[coding])
    damaged_s = overwrite_packet(source, tmp_path / "hurt.mp4", packet_idx, intact_share=noise / 60)
    asked_s = [(idx + 0.5) / 30 for idx in range(NUM_FRAMES)]
    with VideoReader(source) as reader:
        intact = reader.frames_played_at(asked_s).frames
    refused = []
    # Jumps to and fro, so that damage is met both by seeking and by playing on.
    order = [*range(NUM_FRAMES), *np.random.default_rng(0).permutation(NUM_FRAMES)[:40]]
    with VideoReader(tmp_path / "hurt.mp4") as reader:
        for idx in order:
            try:
                assert torch.equal(reader.frames_played_at([asked_s[idx]]).frames[0], intact[idx]), f"frame {idx}"
            except VideoError:
                refused.append(idx)
    assert round(damaged_s * 30) in refused
    assert len(set(refused)) <= 31, "damage ends at the next key frame"


def test_sequential_reading_stops_at_damage_with_the_time_in_the_message(tmp_path):
    source = make_video(tmp_path / "source.mp4", steady(NUM_FRAMES), gop=15)
    overwrite_packet(source, tmp_path / "hurt.mp4", 45)
    seen_s = []
    with (
        VideoReader(tmp_path / "hurt.mp4") as reader,
        pytest.raises(VideoError, match=r"hurt\.mp4: .*1\.500 s.*cannot be decoded"),
    ):
        seen_s.extend(pts_s for _, pts_s in reader.iterate())
    assert len(seen_s) == 45


def test_time_just_past_the_end_shows_the_last_frame_and_later_is_an_error(tmp_path):
    with VideoReader(make_video(tmp_path / "video.mp4", steady(NUM_FRAMES))) as reader:
        assert reader.frames_played_at([3.04]).pts_s == pytest.approx([89 / 30])
        with pytest.raises(VideoError, match=r"t = 3\.060 s, the last frame in the file is at 2\.967 s"):
            reader.frames_played_at([3.06])


@pytest.mark.parametrize("t_s", [-0.001, float("nan"), float("inf")])
def test_instants_that_no_video_has_are_refused(tmp_path, t_s):
    with (
        VideoReader(make_video(tmp_path / "video.mp4", steady(3))) as reader,
        pytest.raises(ValueError, match=r"t = -|finite"),
    ):
        reader.frames_played_at([0.0, t_s])
