"""What is missing or damaged is one clear error, never a black or a stale image."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from coded_videos import add_sound, make_video, numbers_in, overwrite_packet, remuxed, steady

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
        add_sound(container, 1.0)()
    return path


def _text(path: Path) -> Path:
    path.write_text("these are minutes of a meeting\n" * 200)
    return path


def _cut_before_its_index(path: Path) -> Path:
    video = make_video(path, steady(NUM_FRAMES)).read_bytes()
    path.write_bytes(video[: len(video) // 2])
    return path


def _cut_before_its_first_frame(path: Path) -> Path:
    source = remuxed(make_video(path.with_name("whole.mp4"), steady(NUM_FRAMES)), path, movflags="faststart")
    with av.open(str(source)) as container:
        first = next(container.demux(video=0))
        end = first.pos + 20
    path.write_bytes(path.read_bytes()[:end])
    return path


@pytest.mark.parametrize(
    ("name", "make", "complaint"),
    [
        ("video.mp4", lambda path: path, "no such file"),
        ("video.mp4", lambda path: path.mkdir() or path, "is a folder"),
        ("video.mp4", lambda path: path.touch() or path, "empty"),
        ("video.mp4", _text, "not a readable video"),
        # To ffmpeg it is a video of a terminal.
        ("notes.txt", _text, ""),
        ("video.mp4", _silent_video, "no video stream"),
        ("video.mp4", _cut_before_its_index, "not a readable video"),
        ("video.mp4", _cut_before_its_first_frame, "no frame can be decoded"),
    ],
)
def test_unreadable_file_is_named_once_with_its_trouble(tmp_path, name, make, complaint):
    with pytest.raises(VideoError, match=rf"{name}: .*{complaint}") as error:
        VideoReader(make(tmp_path / name))
    assert str(error.value).count(str(tmp_path)) == 1
    assert "Errno" not in str(error.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_truncated_video_is_read_up_to_its_end_and_not_beyond(tmp_path, suffix):
    video = make_video(tmp_path / f"whole{suffix}", steady(NUM_FRAMES), gop=15)
    video = remuxed(video, tmp_path / "indexed.mp4", movflags="faststart") if suffix == ".mp4" else video
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
