"""A video ends when its last frame has been shown, by one rule for reading, checking and copying."""

from pathlib import Path

import numpy as np
import pytest
from coded_videos import build_frame_cache, make_video, numbers_in, steady
from numbered_files import make_folder

from sgear.errors import VideoError
from sgear.video.base import SLACK_S, VideoSpan, check_played
from sgear.video.pool import open_video
from sgear.video.training_copy import CopySettings, make_copy
from sgear.video.verify import VideoToCheck, verify_video

HELD_S = 5.0


@pytest.fixture(params=["held.mp4", "held.mkv", "held.mov"])
def held(request, tmp_path):
    return make_video(tmp_path / request.param, steady(90), held_s=HELD_S)


def test_a_last_frame_that_is_held_is_played_as_long_as_the_file_says(held):
    with open_video(held) as video:
        assert numbers_in(video.frames_played_at([2.97, 3.5, 7.9]).frames) == [89, 89, 89]
        assert video.end_s == pytest.approx(video.last_pts_s + HELD_S)
        assert video.end_s == pytest.approx(video.duration_s, abs=2e-3)
        with pytest.raises(VideoError, match=r"nothing is played at t = 8\.100 s"):
            video.frames_played_at([8.1])


def test_checking_copying_and_caching_agree_on_the_end_of_a_held_frame(held, tmp_path):
    with open_video(held) as video:
        span = VideoSpan.of(video)
    check = verify_video(VideoToCheck(held), quick=False)
    assert check.problems == ()
    assert check.span == span
    make_copy(held, tmp_path / "copy.mp4", CopySettings(short_side=24))
    with open_video(tmp_path / "copy.mp4") as copy:
        assert copy.end_s == pytest.approx(span.end_s, abs=1e-4)
    cache = build_frame_cache({"held": held}, tmp_path / "c", height=24, width=32, fps=30.0, num_processes=1)
    assert numbers_in(cache.frames_played_at("held", [7.9]).frames) == [89]
    with pytest.raises(VideoError, match="nothing is played"):
        cache.frames_played_at("held", [8.1])


def test_a_video_of_rare_frames_ends_as_soon_after_its_last_as_any_other(tmp_path):
    gaps_s = np.random.default_rng(1).choice([1 / 60, 1 / 30, 0.1, 0.5, 2.0], 80)
    path = make_video(tmp_path / "video.mp4", [0.0, *np.cumsum(gaps_s)])
    with open_video(path) as video:
        period_s, last_s = 1 / video.fps, video.last_pts_s
        assert period_s > 0.3
        assert video.frames_played_at([last_s + period_s]).pts_s.tolist() == [last_s]
        with pytest.raises(VideoError, match="nothing is played"):
            video.frames_played_at([last_s + period_s + SLACK_S + 0.01])


def test_nothing_is_played_before_the_first_frame():
    with pytest.raises(VideoError, match=r"nothing is played at t = 0\.020 s, the first intact frame is at 0\.033 s"):
        check_played(Path("video.ts"), 0.02, 0.033, None)


def test_images_end_one_period_after_the_last(tmp_path):
    with open_video(make_folder(tmp_path / "video", range(1, 11)), frame_fps=2.0) as video:
        assert video.end_s == 5.0
        assert video.frames_played_at([5.04]).pts_s.tolist() == [4.5]
        with pytest.raises(VideoError, match="nothing is played"):
            video.frames_played_at([5.06])


def test_a_steady_video_ends_with_its_last_period(tmp_path):
    with open_video(make_video(tmp_path / "video.avi", steady(30), codec="mpeg4")) as video:
        assert video.end_s == pytest.approx(1.0)
