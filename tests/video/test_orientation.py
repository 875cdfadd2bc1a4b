"""Videos are turned and mirrored as players do it, by the display matrix of their container."""

import struct
from pathlib import Path

import numpy as np
import pytest
from coded_videos import image_of, make_video, steady

from sgear.errors import VideoError
from sgear.video.pool import open_video
from sgear.video.training_copy import CopySettings, make_copy

ONE = 1 << 16
# What x' = a x + c y, y' = b x + d y makes of an image.
MATRICES = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "left and right": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "top and bottom": ((1, 0, 0, -1), lambda image: image[::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    "quarter clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "quarter counter-clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image)),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: image[::-1, ::-1].swapaxes(0, 1)),
}


def _with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    content = bytearray(make_video(path, steady(6)).read_bytes())
    header = content.index(b"tkhd") + 4
    begin = header + (40 if content[header] == 0 else 52)
    values = [round(a * ONE), round(b * ONE), 0, round(c * ONE), round(d * ONE), 0, 0, 0, 1 << 30]
    content[begin : begin + 36] = struct.pack(">9i", *values)
    path.write_bytes(content)
    return path


def _shown(path: Path) -> np.ndarray:
    with open_video(path) as video:
        frame = video.frames_played_at([0.0]).frames[0].permute(1, 2, 0).numpy()
        assert frame.shape[:2] == (video.height, video.width)
    return frame.astype(int)


@pytest.mark.parametrize("kind", MATRICES)
def test_a_video_is_shown_as_its_matrix_says_and_so_is_its_copy(tmp_path, kind):
    matrix, upright = MATRICES[kind]
    path = _with_matrix(tmp_path / "video.mp4", *matrix)
    expected = upright(image_of(0)).astype(int)
    assert np.abs(_shown(path) - expected).mean() < 6
    make_copy(path, tmp_path / "copy.mp4", CopySettings(short_side=48))
    assert np.abs(_shown(tmp_path / "copy.mp4") - expected).mean() < 6


def test_an_empty_matrix_says_nothing(tmp_path):
    assert np.abs(_shown(_with_matrix(tmp_path / "video.mp4", 0, 0, 0, 0)) - image_of(0)).mean() < 6


@pytest.mark.parametrize("matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0.5, 0, 1)], ids=["turned", "slanted"])
def test_other_turns_than_quarters_are_refused_with_the_video(tmp_path, matrix):
    with pytest.raises(VideoError, match=r"video\.mp4: its images are turned by \d+ degrees or slanted"):
        open_video(_with_matrix(tmp_path / "video.mp4", *matrix))
