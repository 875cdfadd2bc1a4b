"""Videos that are unusual but whole are read right; what cannot be read safely is refused before it costs anything."""

import re
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from coded_videos import image_of, make_video, numbers_in, remuxed, steady, with_sound
from PIL import Image

from sgear.errors import VideoError
from sgear.video.base import MAX_PIXELS
from sgear.video.pool import open_video

_ASKED_S = [40.5 / 30, 3.5 / 30, 59.5 / 30]


MAKERS = {
    "odd_sides": lambda path: make_video(
        path.with_suffix(".mkv"), steady(60), codec="ffv1", size=(241, 427), pix_fmt="yuv420p"
    ),
    "two_sound_tracks_first": lambda path: with_sound(make_video(path.with_name("a.mp4"), steady(60)), path, 2.0, 2.0),
    "no_cues": lambda path: remuxed(
        make_video(path.with_name("a.mkv"), steady(60)), path.with_suffix(".mkv"), live="1"
    ),
    "late_start": lambda path: remuxed(make_video(path.with_name("a.mp4"), steady(60), num_b=2), path, shift_s=3.7),
    "fragments": lambda path: remuxed(
        make_video(path.with_name("a.mp4"), steady(60), num_b=2), path, movflags="frag_keyframe+empty_moov"
    ),
    "interlaced": lambda path: make_video(path, steady(60), x264="tff=1", size=(64, 64)),
    "ten_bits": lambda path: make_video(path, steady(60), pix_fmt="yuv420p10le"),
    "alpha": lambda path: make_video(path.with_suffix(".mkv"), steady(60), codec="ffv1", pix_fmt="yuva420p"),
    "grey": lambda path: make_video(path.with_suffix(".mkv"), steady(60), codec="ffv1", pix_fmt="gray"),
    "full_range": lambda path: make_video(path.with_suffix(".avi"), steady(60), codec="mjpeg", pix_fmt="yuvj420p"),
    "colon_in_its_name": lambda path: make_video(path.with_name("a.mp4"), steady(60)).rename(
        path.with_name("P01:a.mp4")
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_an_unusual_video_gives_the_frames_played_then(tmp_path, kind):
    with open_video(MAKERS[kind](tmp_path / "video.mp4")) as video:
        batch = video.frames_played_at(_ASKED_S)
        assert batch.frames.shape[-2:] == (video.height, video.width)
        assert video.last_pts_s == pytest.approx(59 / 30, abs=2e-3)
    assert numbers_in(batch.frames) == [40, 3, 59]
    assert batch.pts_s == pytest.approx([40 / 30, 3 / 30, 59 / 30], abs=2e-3)


def test_a_video_given_by_a_relative_path_with_a_colon_is_read(tmp_path, monkeypatch):
    make_video(tmp_path / "a.mp4", steady(5)).rename(tmp_path / "data:a.mp4")
    monkeypatch.chdir(tmp_path)
    with open_video("data:a.mp4") as video:
        assert numbers_in(video.frames_played_at([0.1]).frames) == [3]


def test_what_an_edit_list_cuts_off_is_not_shown(tmp_path):
    source = make_video(tmp_path / "source.mp4", steady(60), gop=60)
    with open_video(remuxed(source, tmp_path / "cut.mp4", shift_s=-0.5)) as video:
        batch = video.frames_played_at([0.0, 1.01])
        assert numbers_in(batch.frames) == [15, 45]
        assert batch.pts_s.tolist() == [0.0, 1.0]
        assert video.last_pts_s == pytest.approx(44 / 30)


def test_a_unit_of_time_stated_as_the_rate_is_not_believed(tmp_path):
    path = make_video(tmp_path / "video.mkv", steady(60), rate=1000)
    with open_video(path) as video:
        assert video.fps == pytest.approx(30, rel=0.01)
        assert numbers_in(video.frames_played_at([59.5 / 30]).frames) == [59]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_image_under_the_name_of_a_video_is_refused(tmp_path, suffix):
    Image.fromarray(image_of(1)).save(tmp_path / f"image{suffix}")
    path = (tmp_path / f"image{suffix}").rename(tmp_path / "video.mp4")
    with pytest.raises(VideoError, match=r"video\.mp4: .*(image|not a readable)"):
        open_video(path)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.ts\n",
    ],
    ids=["hls", "concat"],
)
def test_a_list_of_other_files_is_not_followed(tmp_path, text):
    make_video(tmp_path / "secret.ts", steady(30))
    (tmp_path / "video.mp4").write_text(text)
    with pytest.raises(VideoError, match=r"video\.mp4: (a list of other files|not a readable video)"):
        open_video(tmp_path / "video.mp4")


class _Bits:
    """Writes the header of an H.264 stream bit by bit."""

    def __init__(self) -> None:
        self.text = ""

    def fixed(self, num_bits: int, value: int) -> None:
        self.text += format(value, f"0{num_bits}b")

    def golomb(self, *values: int) -> None:
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code

    def packed(self) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        raw = int(text, 2).to_bytes(len(text) // 8, "big")
        # Three bytes 0 0 x, x < 4, would look like a start code.
        return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", raw)


def _h264_that_claims(side: int, path: Path) -> Path:
    """A small stream whose header claims images of `side` x `side`."""
    source = make_video(path.with_name("small.h264"), steady(3), x264="cabac=0:annexb=1").read_bytes()
    header = _Bits()
    for value in (66, 0xC0, 62):
        header.fixed(8, value)
    header.golomb(0, 0, 2, 1)
    header.fixed(1, 0)
    header.golomb(side // 16 - 1, side // 16 - 1)
    header.fixed(4, 0b1100)
    units = [unit for unit in re.split(rb"\x00\x00\x00?\x01", source) if unit]
    claimed = [b"\x67" + header.packed() if unit[0] & 31 == 7 else unit for unit in units]
    path.write_bytes(b"".join(b"\0\0\0\1" + unit for unit in claimed))
    return path


def _gif_that_claims(side: int, path: Path) -> Path:
    size = struct.pack("<HH", side, side)
    image = b",\0\0\0\0" + struct.pack("<HH", 1, 1) + b"\0\x02\x02D\x01\0;"
    path.write_bytes(b"GIF89a" + size + b"\xf0\0\0" + b"\0\0\0\xff\xff\xff" + image)
    return path


def test_images_of_gigabytes_are_refused_before_memory_is_taken(tmp_path):
    paths = [_h264_that_claims(side, tmp_path / f"{side}.h264") for side in (9_216, 15_360, 16_384)]
    paths += [_gif_that_claims(side, tmp_path / f"{side}.gif") for side in (9_216, 15_360, 16_384)]
    # In a process of its own, whose peak is low.
    script = (
        "import resource, sys\n"
        "from sgear.errors import VideoError\n"
        "from sgear.video.pool import open_video\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "for path in sys.argv[1:]:\n"
        "    before = peak()\n"
        "    try: open_video(path)\n"
        "    except VideoError as err: sys.stdout.write(f'{peak() - before} {err}\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, paths)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for path, line in zip(paths, lines, strict=True):
        grown_mib, _, message = line.partition(" ")
        assert message.startswith(f"{path}: "), line
        assert str(MAX_PIXELS) in message or "a bare stream" in message, line
        assert int(grown_mib) < 200, line


def _grey_image_as_video(path: Path, height: int, width: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuvj420p"
        image = av.VideoFrame(width, height, "yuvj420p")
        for plane in image.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        image.pts, image.time_base = 0, Fraction(1, 30)
        container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def test_a_video_of_too_large_images_is_refused_with_both_sizes(tmp_path):
    path = _grey_image_as_video(tmp_path / "video.mkv", 9_000, 9_008)
    with pytest.raises(VideoError, match=r"video\.mkv: images of 9008 x 9000 pixels are refused.*8192 x 8192"):
        open_video(path)


def test_a_video_of_the_largest_size_that_cameras_write_is_not_refused(tmp_path):
    with open_video(_grey_image_as_video(tmp_path / "video.mkv", 4320, 7680), size=(54, 96)) as video:
        assert (video.height, video.width) == (4320, 7680)
        assert video.frames_played_at([0.0]).frames.float().mean() == pytest.approx(128, abs=3)


def test_images_that_are_refreshed_piece_by_piece_are_the_same_after_a_jump(tmp_path):
    path = make_video(tmp_path / "video.mp4", steady(90), gop=25, num_b=2, x264="intra-refresh=1", noise=20)
    with open_video(path) as video:
        played = [frame for frame, _ in video.iterate()]
        jumps = np.random.default_rng(0).permutation(90)[:20]
        for idx in jumps:
            frame = video.frames_played_at([(idx + 0.5) / 30]).frames[0]
            assert torch.equal(frame, played[idx]), idx
    for idx in (40, 80):
        with open_video(path) as video:
            assert torch.equal(video.frames_played_at([(idx + 0.5) / 30]).frames[0], played[idx])
