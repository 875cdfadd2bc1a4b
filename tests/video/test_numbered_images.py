"""Images in a folder or a tar file are a video: the same rule, and nothing in the place of what is missing."""

import os
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from coded_videos import decode_all, image_of, make_video, number_in, numbers_in
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_files import image_bytes, make_folder, make_tar
from PIL import Image

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.pool import open_video

FPS = 30.0
KINDS = {"folder": lambda root, numbers, **names: make_folder(root / "video", numbers, **names)}
KINDS["tar"] = lambda root, numbers, **names: make_tar(root / "video.tar", numbers, **names)


@pytest.fixture(params=KINDS)
def make(request, tmp_path):
    return lambda numbers, **names: KINDS[request.param](tmp_path, numbers, **names)


@pytest.mark.parametrize(
    "names", [{}, {"prefix": "P01_01_frame_"}, {"prefix": ""}, {"suffix": ".png"}, {"suffix": ".JPEG"}], ids=repr
)
def test_image_n_is_shown_from_n_minus_one_frame_periods(make, names):
    with open_video(make(range(1, 41), **names), frame_fps=FPS) as video:
        batch = video.frames_played_at([0.0, 0.02, 1.0, 0.999, 39.5 / 30])
        assert numbers_in(batch.frames) == [1, 1, 31, 30, 40]
        assert batch.pts_s.tolist() == [0.0, 0.0, 1.0, 29 / 30, 39 / 30]
        assert (video.num_frames, video.first_pts_s, video.last_pts_s) == (40, 0.0, 39 / 30)
        assert (video.fps, video.duration_s, video.height, video.width) == (30.0, 40 / 30, 48, 64)


def test_images_that_begin_with_zero_count_from_zero(make):
    with open_video(make(range(30)), frame_fps=FPS) as video:
        assert numbers_in(video.frames_played_at([0.0, 0.5]).frames) == [0, 15]


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_images_of_a_video_are_played_at_the_same_instants_as_the_video(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("twins", numbered=True)
    rate = data.draw(st.sampled_from([Fraction(30), Fraction(25), Fraction(30_000, 1001), Fraction(15)]))
    times = [idx / rate for idx in range(20)]
    # Matroska rounds times to milliseconds and mp4 keeps them, so mp4 it is.
    path = make_video(root / "video.mp4", times, rate=30)
    video_times_s = [pts_s for pts_s, _ in decode_all(path)]
    instant = st.floats(0, video_times_s[-1]) | st.sampled_from(video_times_s)
    asked_s = data.draw(st.lists(instant, min_size=1, max_size=6))
    with open_video(path) as video, open_video(make_folder(root / "f", range(20)), frame_fps=float(rate)) as images:
        expected, batch = video.frames_played_at(asked_s), images.frames_played_at(asked_s)
    close = np.isclose(np.array(asked_s)[:, None], np.array(video_times_s)[None], rtol=0, atol=2e-5).any(axis=1)
    # Ticks of 1/90000 s move the times of uneven rates by less than that.
    compared = ~close if rate == Fraction(30_000, 1001) else np.ones(len(asked_s), dtype=bool)
    assert (
        np.array(numbers_in(batch.frames))[compared].tolist()
        == np.array(numbers_in(expected.frames))[compared].tolist()
    )
    assert batch.pts_s[compared] == pytest.approx(expected.pts_s[compared], abs=2e-5)
    assert (batch.pts_s <= np.array(asked_s) + TIME_TOLERANCE_S).all(), "a frame from the future"


@pytest.mark.parametrize("fps", [30.0, 60.0, 50.0, 60_000 / 1001, 24_000 / 1001, 14.985])
def test_every_image_is_played_at_its_own_time_and_until_the_next(tmp_path, fps):
    with open_video(make_folder(tmp_path / "video", range(1, 101)), frame_fps=fps, size=(24, 32)) as video:
        times_s = video.frames_played_at([(idx + 0.5) / fps for idx in range(100)]).pts_s
        assert video.frames_played_at(times_s).pts_s.tolist() == times_s.tolist()
        before_s = times_s[1:] - 2 * TIME_TOLERANCE_S
        assert video.frames_played_at(before_s).pts_s.tolist() == times_s[:-1].tolist()


def test_png_images_come_back_to_the_bit(make):
    with open_video(make(range(1, 6), suffix=".png"), frame_fps=FPS) as video:
        frame = video.frames_played_at([0.1]).frames[0]
    assert torch.equal(frame, torch.from_numpy(image_of(4)).permute(2, 0, 1))


def test_iterating_gives_every_image_from_the_one_played_at_the_start(make):
    with open_video(make(range(1, 21)), frame_fps=FPS) as video:
        seen = [(number_in(frame.permute(1, 2, 0).numpy()), pts_s) for frame, pts_s in video.iterate(0.35)]
    assert seen == [(idx + 1, idx / 30) for idx in range(10, 20)]


def test_without_a_rate_the_error_says_how_to_give_one(make):
    with pytest.raises(VideoError, match=r"video.*frame_fps"):
        open_video(make(range(1, 4)))


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(make, fps):
    with pytest.raises(ValueError, match="frame_fps must be"):
        open_video(make(range(1, 4)), frame_fps=fps)


def test_a_missing_number_is_an_error_that_names_it_and_only_where_it_is_asked_for(make):
    with open_video(make([1, 2, 3, 5, 6]), frame_fps=FPS) as video:
        assert numbers_in(video.frames_played_at([2.5 / 30, 4.5 / 30]).frames) == [3, 5]
        with pytest.raises(VideoError, match=r"image number 4 \(played at t = 0.117 s\) is missing"):
            video.frames_played_at([0.0, 3.5 / 30])


def test_a_video_whose_first_images_are_missing_does_not_begin_with_another_one(make):
    with open_video(make(range(2, 10)), frame_fps=FPS) as video:
        assert video.first_pts_s == 1 / 30
        with pytest.raises(VideoError, match="image number 1"):
            video.frames_played_at([0.0])


@pytest.mark.parametrize("t_s", [-0.001, float("nan")])
def test_instants_that_no_video_has_are_refused(make, t_s):
    with open_video(make(range(1, 4)), frame_fps=FPS) as video, pytest.raises(ValueError, match=r"t = -|finite"):
        video.frames_played_at([t_s])


def test_other_files_are_passed_over(tmp_path):
    folder = make_folder(tmp_path / "video", range(1, 4))
    for name in ("Thumbs.db", "readme.txt", "._frame_0000000001.jpg", "cover.jpg", "frame_0000000001.txt"):
        (folder / name).write_bytes(b"something else")
    (folder / "7").mkdir()
    with open_video(folder, frame_fps=FPS) as video:
        assert video.num_frames == 3


def test_images_of_two_kinds_are_an_error_that_names_both(tmp_path):
    make_folder(tmp_path, range(1, 4), prefix="flow_u_")
    make_folder(tmp_path, range(1, 4), prefix="flow_v_")
    with pytest.raises(VideoError, match=r"flow_[uv]_\*.*flow_[uv]_\*"):
        open_video(tmp_path, frame_fps=FPS)


def test_two_images_of_one_number_are_an_error_that_names_both(tmp_path):
    make_folder(tmp_path, [1, 2])
    make_folder(tmp_path, [2], suffix=".png")
    with pytest.raises(VideoError, match=r"frame_0000000002\.(jpg|png).*frame_0000000002\.(jpg|png).*same number"):
        open_video(tmp_path, frame_fps=FPS)


def test_a_folder_without_numbered_images_says_what_was_expected(tmp_path):
    with pytest.raises(VideoError, match=r"frame_0000000001\.jpg"):
        open_video(tmp_path, frame_fps=FPS)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "spoil", "complaint"),
    [
        ("frame_0000000005.jpg", _cut, "damaged"),
        ("frame_0000000005.jpg", lambda content: b"", "empty"),
        ("frame_0000000005.jpg", lambda content: b"not an image at all", "neither a jpeg nor a png"),
        ("frame_0000000005.jpg", lambda content: bytes(len(content)), "neither a jpeg nor a png"),
        ("frame_0000000005.jpg", lambda content: image_bytes(5, size=(24, 32)), "32 x 24 pixels.*64 x 48"),
    ],
    ids=["cut", "empty", "text", "zeros", "size"],
)
def test_an_unusable_image_is_named_with_its_instant(tmp_path, name, spoil, complaint):
    folder = make_folder(tmp_path / "video", range(1, 10))
    (folder / name).write_bytes(spoil((folder / name).read_bytes()))
    with open_video(folder, frame_fps=FPS) as video:
        assert numbers_in(video.frames_played_at([3.5 / 30, 5.5 / 30]).frames) == [4, 6]
        with pytest.raises(VideoError, match=rf"video: the image {name} \(played at t = 0.150 s\).*{complaint}"):
            video.frames_played_at([4.5 / 30])


def test_a_png_with_overwritten_bytes_is_damaged(tmp_path):
    folder = make_folder(tmp_path / "video", range(1, 4), suffix=".png")
    content = bytearray((folder / "frame_0000000002.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / "frame_0000000002.png").write_bytes(content)
    with open_video(folder, frame_fps=FPS) as video, pytest.raises(VideoError, match="0000000002"):
        video.frames_played_at([1.5 / 30])


def test_a_video_without_any_intact_image_does_not_open(tmp_path):
    folder = make_folder(tmp_path / "video", range(1, 4))
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(VideoError, match="none of the 3 images can be decoded"):
        open_video(folder, frame_fps=FPS)


def test_a_damaged_last_image_is_not_the_end_of_the_video(tmp_path):
    folder = make_folder(tmp_path / "video", range(1, 11))
    (folder / "frame_0000000010.jpg").write_bytes(b"")
    with open_video(folder, frame_fps=FPS) as video:
        assert video.last_pts_s == 8 / 30


def test_grey_images_become_rgb(tmp_path):
    Image.fromarray(image_of(1)[..., 0]).save(tmp_path / "frame_1.png")
    with open_video(tmp_path, frame_fps=FPS) as video:
        assert torch.equal(video.frames_played_at([0.0]).frames[0], torch.from_numpy(image_of(1)).permute(2, 0, 1))


def test_images_of_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.full((48, 64), 40_000, dtype=np.uint16)).save(tmp_path / "depth_1.png")
    with pytest.raises(VideoError, match="eight bits"):
        open_video(tmp_path, frame_fps=FPS)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image_of(9)).save(tmp_path / "frame_1.png", exif=exif)
    with open_video(tmp_path, frame_fps=FPS) as video:
        frame = video.frames_played_at([0.0]).frames[0]
        assert (video.height, video.width) == (64, 48)
    assert torch.equal(frame, torch.rot90(torch.from_numpy(image_of(9)), -1, (0, 1)).permute(2, 0, 1))


def test_shrinking_takes_the_average_of_each_area(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "frame_1.png")
    with open_video(tmp_path, size=(12, 16), frame_fps=FPS) as video:
        frame = video.frames_played_at([0.0]).frames[0].permute(1, 2, 0).numpy()
    areas = image.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(frame - areas).max() < 2.5


@pytest.mark.parametrize("side", [9_000, 12_000, 100_000])
def test_a_image_of_gigabytes_is_refused_by_its_header(tmp_path, side):
    content = bytearray(image_bytes(1, suffix=".png"))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "frame_1.png").write_bytes(content)
    with pytest.raises(VideoError, match=r"pixels are refused.*smaller copy"):
        open_video(tmp_path, frame_fps=FPS)


def test_reading_after_closing_is_an_error(make):
    video = open_video(make(range(1, 4)), frame_fps=FPS)
    video.close()
    with pytest.raises(ValueError, match="closed"):
        video.frames_played_at([0.0])


def test_a_folder_that_may_not_be_listed_is_a_video_error(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "video", range(1, 4))

    def refuse(*args):
        raise PermissionError(13, "Permission denied", str(folder))

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(VideoError, match=r"video: the folder cannot be listed \(Permission denied\)"):
        open_video(folder, frame_fps=FPS)
