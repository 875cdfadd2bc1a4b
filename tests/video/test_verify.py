from pathlib import Path

import av
import numpy as np
import pytest
from coded_videos import make_video, overwrite_packet, remuxed, steady, with_sound
from PIL import Image

from sgear.video.streams import stated_length_s
from sgear.video.verify import VideoToCheck, verify_video, verify_videos

UNEVEN = [0.0, 0.04, 0.08, 0.5, 0.54, 1.2, 1.25, 1.3, 2.9]


def _check(path, *, quick=False, frame_fps=None):
    return verify_video(VideoToCheck(path, frame_fps), quick=quick)


def _whole_videos(folder):
    late = [time_s + 1.4 for time_s in steady(60)]
    yield make_video(folder / "steady.mp4", steady(60), noise=20)
    yield remuxed(folder / "steady.mp4", folder / "index_first.mp4", movflags="faststart")
    yield remuxed(folder / "steady.mp4", folder / "pieces.mp4", movflags="frag_keyframe+empty_moov")
    yield make_video(folder / "uneven.mov", UNEVEN, num_b=2)
    yield make_video(folder / "late.mp4", late, num_b=2)
    yield make_video(folder / "late.mkv", late, num_b=1)
    yield make_video(folder / "uneven.mkv", UNEVEN, num_b=2)
    yield make_video(folder / "web.webm", steady(40), codec="libvpx")
    yield make_video(folder / "old.avi", steady(60), codec="mpeg4")
    yield make_video(folder / "single.mp4", [0.0])


@pytest.mark.parametrize("quick", [False, True])
def test_whole_videos_of_all_kinds_have_no_problem(tmp_path, quick):
    for path in _whole_videos(tmp_path):
        assert _check(path, quick=quick).problems == (), path.name


@pytest.mark.parametrize("quick", [False, True])
def test_half_of_a_video_is_found_in_every_container(tmp_path, quick):
    for path in _whole_videos(tmp_path):
        content = path.read_bytes()
        cut = path.with_name(f"cut_{path.name}")
        cut.write_bytes(content[: len(content) // 2])
        assert _check(cut, quick=quick).problems, path.name


def test_truncation_says_what_is_there_and_what_should_be(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", steady(60), noise=20)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[:15_000])
    (problem,) = _check(cut).problems
    assert problem.startswith("the file is truncated: its header states 2.000 s, it holds 1.")


def test_video_filled_up_with_zeros_is_found_by_its_structure(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", steady(60), noise=20)
    content = whole.read_bytes()
    padded = tmp_path / "padded.mkv"
    padded.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    (problem,) = _check(padded).problems
    assert problem.startswith("its structure is damaged")


def test_longer_sound_is_no_missing_image(tmp_path):
    path = with_sound(make_video(tmp_path / "silent.mp4", steady(30)), tmp_path / "video.mkv", 4.0)
    content = path.read_bytes()
    # Without the length of each stream only that of the whole file is left.
    path.write_bytes(content.replace(b"DURATION", b"DURATIOX"))
    assert stated_length_s(path) > 3
    assert _check(path).problems == ()


def test_damage_in_the_middle_is_counted_and_placed_by_a_full_check_only(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", steady(150), noise=30)
    pts_s = overwrite_packet(whole, tmp_path / "bad.mp4", 63)
    (problem,) = _check(tmp_path / "bad.mp4").problems
    # Key frames are 12 frames apart: from frame 63 to frame 71 nothing can be trusted.
    assert problem == f"9 of 150 decoded frames are damaged, between {pts_s:.3f} s and {71 / 30:.3f} s"
    assert _check(tmp_path / "bad.mp4", quick=True).problems == ()


@pytest.mark.parametrize("packet_idx", [3, 147])
def test_quick_check_finds_damage_at_both_ends(tmp_path, packet_idx):
    whole = make_video(tmp_path / "whole.mp4", steady(150), noise=30)
    overwrite_packet(whole, tmp_path / "bad.mp4", packet_idx)
    check = _check(tmp_path / "bad.mp4", quick=True)
    assert "damaged" in check.problems[0]
    assert check.num_frames < 75


def test_files_that_are_no_videos_are_named_with_their_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video")
    assert "empty (0 bytes)" in _check(tmp_path / "empty.mp4").problems[0]
    assert "not a readable video" in _check(tmp_path / "text.mp4").problems[0]
    assert _check(tmp_path / "empty.mp4").span is None


def test_span_of_a_video_is_what_can_be_read(tmp_path):
    check = _check(make_video(tmp_path / "video.mp4", steady(60)))
    assert check.span.end_s == pytest.approx(2.0)
    assert not check.span.is_past(2.04)
    assert check.span.is_past(2.06)
    assert (check.num_frames, check.size) == (60, (48, 64))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "P01_01"
    folder.mkdir()
    for number in range(1, 31):
        Image.fromarray(np.full((24, 32, 3), 8 * number, np.uint8)).save(folder / f"frame_{number:010d}.jpg")
    return folder


def test_folder_of_images_is_checked_image_by_image(images):
    check = _check(images, frame_fps=10.0)
    assert (check.problems, check.num_frames) == ((), 30)
    assert check.span.end_s == pytest.approx(3.0)
    (images / "frame_0000000012.jpg").write_bytes(b"no image")
    assert "frame_0000000012.jpg" in _check(images, frame_fps=10.0).problems[0]
    assert _check(images, frame_fps=10.0, quick=True).problems == ()
    (images / "frame_0000000012.jpg").unlink()
    assert "number 12" in _check(images, frame_fps=10.0).problems[0]


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_checks_come_in_the_order_of_the_videos(tmp_path, num_workers):
    videos = [make_video(tmp_path / f"{num}.mp4", steady(num)) for num in (5, 30, 10)]
    seen = []
    checks = verify_videos(
        [VideoToCheck(path) for path in videos],
        quick=False,
        num_workers=num_workers,
        progress=lambda *args: seen.append(args),
    )
    assert [check.path for check in checks] == videos
    assert [check.num_frames for check in checks] == [5, 30, 10]
    assert seen[-1] == (3, 3, pytest.approx(1.5), pytest.approx(1.5))


@pytest.mark.data
def test_real_videos_are_whole(real_data):
    for path in sorted((real_data / "videos").iterdir()):
        check = _check(path, quick=path.stat().st_size > 2_000_000)
        assert check.problems == (), path.name


def test_video_that_cannot_be_read_does_not_end_the_check_of_others(tmp_path, monkeypatch):
    videos = [make_video(tmp_path / f"video{number}.mp4", steady(10)) for number in range(2)]
    is_file = Path.is_file

    def refuse_one(path):
        if path == videos[0]:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse_one)
    closed, whole = verify_videos([VideoToCheck(path) for path in videos], quick=False, num_workers=1)
    assert "cannot be read (Permission denied)" in closed.problems[0]
    assert whole.problems == ()


def test_broken_pipe_to_the_asking_process_is_no_fault_of_the_video(tmp_path):
    def nobody_listens(seconds):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        verify_video(VideoToCheck(make_video(tmp_path / "video.mp4", steady(70))), quick=False, tell=nobody_listens)


def test_a_frame_whose_time_was_overwritten_is_a_problem(tmp_path):
    path = make_video(tmp_path / "video.mkv", steady(60), codec="mjpeg", gop=1, pix_fmt="yuvj420p")
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    # The time of a block stands behind the number of its track, relative to its cluster.
    content[places[40] + 1 : places[40] + 3] = content[places[20] + 1 : places[20] + 3]
    path.write_bytes(content)
    (problem,) = _check(path).problems
    assert problem.startswith("it has two frames at 1.367 s")
