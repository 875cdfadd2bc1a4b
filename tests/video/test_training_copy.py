"""What a training copy is: times, key frames, images, sound, what it says of itself."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
from coded_videos import decode_all, make_video, number_in, overwrite_packet, played_at, read_all, steady, with_sound
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.video import VideoReader
from sgear.video.training_copy import CopySettings, copy_fault, make_copy

SMALL = CopySettings(short_side=24, gop=6)
UNEVEN = [0.0, 0.1, 0.15, 0.6, 0.7, 1.5, 1.51, 1.9]


def _key_idx(path):
    with av.open(str(path)) as container:
        return [idx for idx, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]


def test_copies_of_all_kinds_of_videos_have_the_frames_at_the_same_times(tmp_path):
    late = [time_s + Fraction(14, 10) for time_s in steady(20)]
    cases = {
        "steady.mp4": (steady(40), {}),
        "uneven.mp4": (UNEVEN, {}),
        "reordered.mp4": (steady(20), {"num_b": 2}),
        "late.mp4": (late, {"num_b": 2}),
        "late.mkv": (late, {}),
        "uneven.mkv": (UNEVEN, {"num_b": 1}),
        "ntsc.mov": ([Fraction(idx * 1001, 30_000) for idx in range(20)], {}),
        "steady.avi": (steady(20), {"codec": "mpeg4"}),
        "single.mp4": ([0.0], {}),
    }
    for name, (times_s, options) in cases.items():
        source = make_video(tmp_path / name, times_s, **options)
        make_copy(source, tmp_path / "copy.mp4", SMALL)
        assert read_all(tmp_path / "copy.mp4") == read_all(source), name


@settings(max_examples=8)
@given(st.lists(st.integers(1, 90_000), min_size=2, max_size=12), st.data())
def test_frame_played_at_an_instant_of_the_copy_is_that_of_the_video(tmp_path_factory, gaps, data):
    folder = tmp_path_factory.mktemp("law")
    ticks = np.cumsum([0, *gaps])
    source = make_video(folder / "video.mp4", [Fraction(int(tick), 90_000) for tick in ticks])
    make_copy(source, folder / "copy.mp4", SMALL)
    video = decode_all(source)
    # Instants at which a frame begins, just before, and anywhere.
    tick = data.draw(st.sampled_from([*ticks, *(ticks[1:] - 1)]) | st.integers(0, int(ticks[-1])))
    t_s = float(Fraction(int(tick), 90_000))
    with VideoReader(folder / "copy.mp4") as copy:
        batch = copy.frames_played_at([t_s])
    seen = (float(batch.pts_s[0]), number_in(batch.frames[0].permute(1, 2, 0).numpy()))
    assert seen == played_at(video, t_s)


def test_lower_rate_keeps_the_frames_played_at_its_instants_with_their_own_times(tmp_path):
    source = make_video(tmp_path / "video.mp4", UNEVEN)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, fps=4.0))
    video = decode_all(source)
    # The last frame, of 1.9 s, is still on at 2.0 s.
    kept = sorted({played_at(video, tick / 4) for tick in range(9)})
    assert decode_all(tmp_path / "copy.mp4") == kept


def test_key_frames_are_never_further_apart_than_asked(tmp_path):
    source = make_video(tmp_path / "video.mp4", steady(50), gop=48)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, gop=7))
    assert _key_idx(tmp_path / "copy.mp4") == list(range(0, 50, 7))


def test_key_frames_of_the_video_are_not_taken_over(tmp_path):
    source = make_video(tmp_path / "video.mp4", steady(30), gop=2)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=24, gop=10))
    assert _key_idx(tmp_path / "copy.mp4") == [0, 10, 20]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 400), st.booleans())
def test_size_is_even_keeps_the_shape_and_enlarges_only_when_asked(height, width, half, enlarge):
    short_side = 2 * half
    new = CopySettings(short_side=short_side, enlarge=enlarge).size_of(height, width)
    assert all(side % 2 == 0 for side in new)
    if min(height, width) > short_side or enlarge:
        assert min(new) == short_side
        scale = short_side / min(height, width)
        assert max(abs(new[0] - height * scale), abs(new[1] - width * scale)) <= 1
    else:
        assert new == (max(2, height // 2 * 2), max(2, width // 2 * 2))


@pytest.mark.parametrize(("height", "width"), [(51, 75), (75, 51), (24, 90), (7, 9)])
def test_odd_and_small_videos_are_copied(tmp_path, height, width):
    source = make_video(tmp_path / "video.mp4", steady(3), size=(height, width), pix_fmt="yuv444p")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with VideoReader(tmp_path / "copy.mp4") as video:
        assert (video.height, video.width) == SMALL.size_of(height, width)


@pytest.mark.parametrize(
    ("color_range", "colorspace", "pix_fmt"),
    [(0, 2, "yuv420p"), (2, 2, "yuvj420p"), (1, 1, "yuv420p"), (0, 2, "yuv444p")],
)
def test_images_of_the_copy_look_like_those_of_the_video(tmp_path, color_range, colorspace, pix_fmt):
    source = _colourful_video(tmp_path / "video.mkv", color_range, colorspace, pix_fmt)
    make_copy(source, tmp_path / "copy.mp4", CopySettings(short_side=96))
    with VideoReader(source, size=(96, 144)) as video, VideoReader(tmp_path / "copy.mp4") as copy:
        seen, copied = (each.frames_played_at([0.0, 0.3]).frames.numpy().astype(float) for each in (video, copy))
    assert _psnr(seen, copied) > 34
    # A wrong matrix or range would shift whole colours, which a mean over pixels cannot hide.
    assert np.abs((copied - seen).mean(axis=(0, 2, 3))).max() < 2


def test_sound_is_dropped(tmp_path):
    source = with_sound(make_video(tmp_path / "silent.mp4", steady(10)), tmp_path / "video.mp4", 1.0)
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(source)) as before, av.open(str(tmp_path / "copy.mp4")) as after:
        assert [stream.type for stream in before.streams] == ["audio", "video"]
        assert [stream.type for stream in after.streams] == ["video"]


def test_shape_of_single_pixels_is_kept_as_a_note(tmp_path):
    source = make_video(tmp_path / "video.mp4", steady(3), x264="sar=4/3")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(
    "wrong", [{"short_side": 255}, {"short_side": 8}, {"gop": 0}, {"crf": 52}, {"fps": 0.0}, {"fps": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        CopySettings(**wrong)


def test_check_of_a_copy_finds_every_difference(tmp_path):
    copy = make_video(tmp_path / "copy.mp4", steady(20), gop=10)
    times_s = [float(time_s) for time_s in steady(20)]
    assert copy_fault(copy, times_s, (48, 64), 10) is None
    assert "pixels" in (copy_fault(copy, times_s, (64, 48), 10) or "")
    assert "key frame" in (copy_fault(copy, times_s, (48, 64), 9) or "")
    assert "instead of 21 frames" in (copy_fault(copy, [*times_s, 0.7], (48, 64), 10) or "")
    assert "not in the video" in (copy_fault(copy, times_s[:-1], (48, 64), 10) or "")
    assert "not in the video" in (copy_fault(copy, [time_s + 1e-6 for time_s in times_s], (48, 64), 10) or "")
    overwrite_packet(make_video(tmp_path / "noisy.mp4", steady(20), noise=30), tmp_path / "bad.mp4", 3)
    assert "cannot be decoded" in (copy_fault(tmp_path / "bad.mp4", times_s, (48, 64), 12) or "")


def test_copy_says_in_its_header_of_what_it_was_made(tmp_path):
    source = make_video(tmp_path / "P01_02.avi", steady(20), codec="mpeg4")
    make_copy(source, tmp_path / "copy.mp4", SMALL)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        told = json.loads(container.metadata["comment"])
    assert (told["short_side"], told["gop"], told["crf"], told["fps"]) == (24, 6, 20, None)
    assert told["source_bytes"] == source.stat().st_size


def _psnr(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float)) ** 2))


def _colourful_video(path, color_range, colorspace, pix_fmt):
    rows, columns = np.mgrid[:192, :288]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.height, stream.width, stream.pix_fmt = 192, 288, pix_fmt
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, colorspace
        for idx in range(4):
            channels = (np.sin(columns / 37 + idx) * 110 + 128, np.cos(rows / 29 + idx) * 110 + 128, 60 + columns / 3)
            rgb = np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)
            image = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=colorspace if colorspace != 2 else None,
                dst_color_range=color_range or None,
            )
            image.pts, image.time_base = idx, Fraction(1, 10)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path
