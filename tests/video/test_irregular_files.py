"""What is no regular file is refused by every reader of videos and images: a pipe would hang, a device never end."""

import os
import signal

import pytest
from coded_videos import make_video, steady
from numbered_files import make_folder

from sgear.errors import VideoError
from sgear.video import open_video
from sgear.video.find import list_videos, scan_videos
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.transcode import plan_copies, transcode
from sgear.video.verify import VideoToCheck, verify_video


@pytest.fixture(autouse=True)
def no_hanging():
    def stop(*args):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _pipe(path):
    os.mkfifo(path)
    return path


def _device(path):
    path.symlink_to("/dev/zero")
    return path


READERS = {
    "open": lambda path: open_video(path, frame_fps=30.0),
    "copy": lambda path: make_copy(path, path.parent / "copies" / "video.mp4", CopySettings(short_side=24)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("make", [_pipe, _device])
@pytest.mark.parametrize("name", ["video.mp4", "video.tar"])
def test_a_pipe_or_device_is_no_video(tmp_path, make, name, reader):
    with pytest.raises(VideoError, match=rf"{name}: is no regular file"):
        READERS[reader](make(tmp_path / name))


@pytest.mark.parametrize("make", [_pipe, _device])
@pytest.mark.parametrize("name", ["video.mp4", "video.tar"])
def test_checking_a_pipe_or_device_finds_that_it_is_no_video(tmp_path, make, name):
    (problem,) = verify_video(VideoToCheck(make(tmp_path / name), 30.0), quick=False).problems
    assert problem.startswith("is no regular file")


def test_a_pipe_among_images_is_no_image(tmp_path):
    folder = make_folder(tmp_path / "video", range(1, 4))
    (folder / "frame_0000000002.jpg").unlink()
    _pipe(folder / "frame_0000000002.jpg")
    with open_video(folder, frame_fps=10.0) as video, pytest.raises(VideoError, match="is no regular file"):
        video.frames_played_at([0.1])


def test_looking_for_videos_does_not_hang_at_pipes_and_copying_names_them(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "whole.mp4", steady(5))
    pipe = _pipe(videos / "pipe.mp4")
    _pipe(videos / "pipe.tar")
    assert len(scan_videos(videos)["pipe"]) == 2
    assert list(list_videos([pipe])) == ["pipe"]
    done = transcode(plan_copies([videos], tmp_path / "c"), tmp_path / "c", CopySettings(short_side=24), num_workers=1)
    assert [path.name for path in done.done] == ["whole.mp4"]
    assert "is no regular file" in done.failures[pipe]
