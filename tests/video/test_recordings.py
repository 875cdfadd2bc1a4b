"""Every real recording, whole and damaged: the right frames, or one clear error."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sgear.errors import VideoError
from sgear.video.pool import open_video

pytestmark = pytest.mark.data
_SIZE = (64, 96)


def _truncated(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def _overwritten(content: bytes, share: float) -> bytes:
    place = int(len(content) * share)
    noise = np.random.default_rng(0).bytes(2048)
    return content[:place] + noise + content[place + len(noise) :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: _truncated(content, 0.5),
    "nine_tenths": lambda content: _truncated(content, 0.9),
    "overwritten_early": lambda content: _overwritten(content, 0.3),
    "overwritten_late": lambda content: _overwritten(content, 0.7),
    "overwritten_start": lambda content: _overwritten(content, 0.0),
}


def _recordings(real_data: Path) -> list[Path]:
    found = sorted((real_data / "videos").glob("*.*"))
    if not found:
        pytest.skip(f"no recordings in {real_data / 'videos'}")
    return found


_Given = dict[float, tuple[float, torch.Tensor] | str]


def _given(path: Path, asked_s: list[float]) -> _Given:
    """What a reader gives for each instant: time and image of the frame, or the message of the error."""
    try:
        video = open_video(path, size=_SIZE)
    except VideoError as err:
        return dict.fromkeys(asked_s, str(err))
    given: _Given = {}
    with video:
        for t_s in asked_s:
            try:
                batch = video.frames_played_at([t_s])
                given[t_s] = float(batch.pts_s[0]), batch.frames[0]
            except VideoError as err:
                given[t_s] = str(err)
    return given


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_recording_gives_the_frames_of_the_whole_one_or_an_error(real_data, tmp_path, damage):
    for source in _recordings(real_data):
        copy = tmp_path / source.name
        copy.write_bytes(DAMAGE[damage](source.read_bytes()))
        with open_video(source, size=_SIZE) as whole:
            asked_s = np.linspace(0.01, whole.last_pts_s - 0.01, 12).tolist()
            for t_s, given in _given(copy, asked_s).items():
                place = f"{source.name}, {damage}, {t_s:.3f} s"
                if isinstance(given, str):
                    assert re.match(rf"{re.escape(str(copy))}: \S.*;", given), f"{place}: {given}"
                    continue
                pts_s, frame = given
                assert torch.equal(frame, whole.frames_played_at([pts_s]).frames[0]), f"{place}: spoilt image"
                # Matroska goes on at the next cluster it finds, so what is lost there looks like a pause of the video.
                if source.suffix != ".mkv":
                    assert pts_s == whole.frames_played_at([t_s]).pts_s[0], f"{place}: another frame"


@pytest.mark.parametrize("damage", ["zero_bytes", "text"])
def test_what_is_left_of_a_recording_is_one_error(real_data, tmp_path, damage):
    for source in _recordings(real_data):
        copy = tmp_path / source.name
        copy.write_bytes(b"" if damage == "zero_bytes" else b"moved to the archive\n" * 100)
        with pytest.raises(VideoError, match=re.escape(str(copy))):
            open_video(copy)


def test_official_rgb_frames_are_a_video(real_data):
    with open_video(real_data / "epic-frames" / "sample_rgb", frame_fps=60.0, size=_SIZE) as video:
        batch = video.frames_played_at(np.arange(100) / 60)
        assert batch.pts_s.tolist() == (np.arange(100) / 60).tolist()
        assert (video.num_frames, video.height, video.width) == (100, 256, 456)
        assert batch.frames.float().std() > 5


def test_official_flow_frames_are_two_kinds_of_images(real_data):
    with pytest.raises(VideoError, match=r"P01_01_flow_[uv]_\*.*P01_01_flow_[uv]_\*"):
        open_video(real_data / "epic-frames" / "sample_flow", frame_fps=30.0)


def test_one_direction_of_flow_is_grey_and_read(real_data, tmp_path):
    for path in (real_data / "epic-frames" / "sample_flow").glob("*_flow_u_*.jpg"):
        shutil.copy(path, tmp_path)
    with open_video(tmp_path, frame_fps=30.0) as video:
        frames = video.frames_played_at([0.0, 3.3]).frames
    assert torch.equal(frames[:, 0], frames[:, 2])


def test_truncated_official_frames_are_errors(real_data, tmp_path):
    for path in sorted((real_data / "epic-frames" / "sample_rgb").glob("*.jpg"))[:20]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    hurt = sorted(tmp_path.glob("*.jpg"))[10]
    hurt.write_bytes(hurt.read_bytes()[:-200])
    with (
        open_video(tmp_path, frame_fps=60.0) as video,
        pytest.raises(VideoError, match=rf"{hurt.name} \(played at t = 0\.175 s\) cannot be used"),
    ):
        video.frames_played_at([10.5 / 60])


def test_a_file_of_detections_is_no_video(real_data):
    with pytest.raises(VideoError, match=r"sample_obj\.npy"):
        open_video(real_data / "epic-frames" / "sample_obj.npy")
