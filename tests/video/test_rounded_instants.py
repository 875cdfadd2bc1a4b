"""Instants that are sums of rounded numbers meet the frame that was meant, and never one from the future."""

from fractions import Fraction

import numpy as np
import pytest
from coded_videos import build_frame_cache, make_video, numbers_in, steady
from numbered_files import make_folder

from sgear.timing import TIME_TOLERANCE_S, AnticipationProtocol
from sgear.video.pool import open_video

NUM_FRAMES = 240
RATES = [25, 30, 50, 60]


@pytest.fixture(scope="module", params=RATES)
def video(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("rounded") / f"{request.param}.mp4"
    return request.param, make_video(path, steady(NUM_FRAMES, request.param), rate=request.param, gop=24)


def _aligned(fps: int) -> tuple[list[int], list[float]]:
    """Frames, and the float that a protocol makes of their times from the start of an action one second later."""
    numbers = list(range(0, NUM_FRAMES - fps, 7))
    return numbers, [(number + fps) / fps - 1.0 for number in numbers]


def test_frames_of_a_video_are_met_from_an_action_that_starts_on_a_frame(video):
    fps, path = video
    numbers, asked_s = _aligned(fps)
    with open_video(path) as reader:
        batch = reader.frames_played_at(asked_s)
        assert numbers_in(batch.frames) == numbers
        assert (batch.pts_s <= np.array(asked_s) + TIME_TOLERANCE_S).all()
        # Also by seeking to each alone.
        for number, t_s in zip(numbers[::-5], asked_s[::-5], strict=True):
            assert numbers_in(reader.frames_played_at([t_s]).frames) == [number]
        frame, pts_s = next(reader.iterate(asked_s[3]))
        assert numbers_in(frame[None]) == [numbers[3]]
        assert pts_s == pytest.approx(float(Fraction(numbers[3], fps)), abs=1e-5)


def test_the_cache_and_images_meet_the_same_frames(video, tmp_path):
    fps, path = video
    numbers, asked_s = _aligned(fps)
    cache = build_frame_cache({"video": path}, tmp_path / "c", height=24, width=32, fps=float(fps), num_processes=1)
    assert numbers_in(cache.frames_played_at("video", asked_s).frames) == numbers
    folder = make_folder(tmp_path / "f", range(1, NUM_FRAMES + 1))
    with open_video(folder, size=(24, 32), frame_fps=float(fps)) as images:
        assert images.frames_played_at(asked_s).pts_s.tolist() == [number / fps for number in numbers]


def test_what_is_met_is_allowed_by_the_protocol(video):
    fps, path = video
    protocol = AnticipationProtocol(tau_a_s=1.0, tau_o_s=1.0, fps=float(fps))
    start_s = (2 * fps + 1) / fps
    with open_video(path) as reader:
        batch = reader.frames_played_at(protocol.timestamps(start_s))
    protocol.assert_no_future(batch.pts_s, start_s)
    assert numbers_in(batch.frames) == list(range(2, fps + 2))
