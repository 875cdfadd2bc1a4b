import av
import numpy as np
import pytest
import torch
from av import error as av_error
from coded_videos import decode_all, make_video, number_in, numbers_in, played_at, steady
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video import FrameBatch, VideoReader

NUM_FRAMES = 300


def _uneven_times() -> list[float]:
    gaps_s = np.random.default_rng(2).choice([1 / 90, 1 / 30, 1 / 30, 0.1, 0.4], NUM_FRAMES - 1)
    return [0.0, *np.cumsum(gaps_s)]


VIDEOS = {
    "short_gop.mp4": {"gop": 10},
    "long_gop.mp4": {"gop": 250},
    "b_frames.mp4": {"gop": 40, "num_b": 3},
    "b_frames.mkv": {"gop": 40, "num_b": 3},
    "open_gop.mp4": {"gop": 24, "num_b": 3, "x264": "open-gop=1"},
    "uneven.mp4": {"gop": 30, "num_b": 2},
    "late_start.ts": {"gop": 25, "num_b": 2},
    "late_start.mkv": {"gop": 25},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    made = {}
    for name, options in VIDEOS.items():
        times = _uneven_times() if name == "uneven.mp4" else steady(NUM_FRAMES)
        times = [time_s + 7 for time_s in times] if name == "late_start.mkv" else times
        path = make_video(root / name, times, **options)
        made[name] = (path, decode_all(path))
    return made


@pytest.mark.parametrize("name", VIDEOS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_frame_played_at_t_is_the_one_that_decoding_everything_gives(videos, name, data):
    path, video = videos[name]
    last_s = video[-1][0]
    instant = st.floats(0, last_s) | st.sampled_from([pts_s for pts_s, _ in video])
    asked_s = data.draw(st.lists(instant, min_size=1, max_size=8))

    with VideoReader(path) as reader:
        batch = reader.frames_played_at(asked_s)

    expected = [played_at(video, t_s) for t_s in asked_s]
    assert numbers_in(batch.frames) == [number for _, number in expected]
    assert batch.pts_s.tolist() == [pts_s for pts_s, _ in expected]
    assert (batch.pts_s <= np.array(asked_s) + TIME_TOLERANCE_S).all(), "a frame from the future"


@pytest.mark.parametrize("name", VIDEOS)
def test_one_reader_answers_jumps_to_and_fro_like_fresh_ones(videos, name):
    path, video = videos[name]
    asked_s = np.random.default_rng(0).uniform(0, video[-1][0], 12)
    with VideoReader(path) as reader:
        numbers = [numbers_in(reader.frames_played_at([t_s]).frames)[0] for t_s in asked_s]
        assert (reader.first_pts_s, reader.last_pts_s) == (0.0, video[-1][0])
    assert numbers == [played_at(video, t_s)[1] for t_s in asked_s]


def test_iterate_yields_every_frame_from_the_one_played_at_the_start(videos):
    path, video = videos["b_frames.mp4"]
    with VideoReader(path) as reader:
        seen = [(pts_s, number_in(frame.permute(1, 2, 0).numpy())) for frame, pts_s in reader.iterate(4.01)]
    assert seen == video[120:]


def test_reading_by_time_goes_on_beside_an_iterator(videos):
    path, _ = videos["long_gop.mp4"]
    with VideoReader(path) as reader:
        frames = reader.iterate()
        next(frames)
        reader.frames_played_at([5.0])
        assert next(frames)[1] == pytest.approx(1 / 30)


def test_header_values_are_told_and_instants_that_no_video_has_are_refused(videos):
    with VideoReader(videos["short_gop.mp4"][0]) as reader:
        for t_s in (-0.001, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=r"t = -|finite"):
                reader.frames_played_at([0.0, t_s])
        assert (reader.height, reader.width, reader.num_frames) == (48, 64, NUM_FRAMES)
        assert (reader.fps, reader.duration_s) == (pytest.approx(30), pytest.approx(10))


def test_size_asks_for_height_and_width(videos):
    path, _ = videos["short_gop.mp4"]
    with VideoReader(path, size=(24, 100)) as reader:
        batch = reader.frames_played_at([3.0, 1.0])
        assert reader.frames_played_at([]).frames.shape == (0, 3, 24, 100)
    assert batch.frames.shape == (2, 3, 24, 100)
    assert numbers_in(batch.frames) == [90, 30]


def test_repr_of_a_batch_tells_shapes_not_pixels():
    batch = FrameBatch(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), np.array([0.5, 1.0]))
    assert repr(batch) == "FrameBatch(frames=uint8 [2, 3, 4, 5], pts_s=float64 [2], 0.500 to 1.000 s)"


def test_batch_refuses_times_that_do_not_fit_the_frames():
    with pytest.raises((ValueError, TypeError), match="pts_s"):
        FrameBatch(torch.zeros(2, 3, 4, 5, dtype=torch.uint8), np.array([0.5]))


def test_video_of_a_single_frame_is_read(tmp_path):
    with VideoReader(make_video(tmp_path / "single.mp4", steady(1))) as reader:
        assert numbers_in(reader.frames_played_at([0.0]).frames) == [0]
        assert reader.last_pts_s == 0.0


@pytest.mark.parametrize("size", [(0, 10), (10, -1)])
def test_impossible_size_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="size must be"):
        VideoReader(make_video(tmp_path / "video.mp4", steady(2)), size=size)


@pytest.mark.data
def test_all_real_recordings_are_read_to_their_end(real_data):
    for path in sorted((real_data / "videos").glob("*.*")):
        with VideoReader(path, size=(64, 96)) as reader:
            asked_s = np.append(np.linspace(0, reader.last_pts_s, 4), reader.last_pts_s)
            batch = reader.frames_played_at(asked_s)
            assert (batch.pts_s <= asked_s + TIME_TOLERANCE_S).all(), path
            assert batch.pts_s[-1] == reader.last_pts_s == pytest.approx(reader.duration_s, abs=0.15), path
            assert batch.frames.float().std() > 5, path


def test_a_closed_video_is_not_read_any_more(tmp_path):
    path = make_video(tmp_path / "video.mp4", steady(30))
    video = VideoReader(path)
    video.frames_played_at([0.5])
    video.close()
    readings = (
        lambda: video.frames_played_at([0.5]),
        lambda: video.frames_played_at([0.1]),
        lambda: video.last_pts_s,
        lambda: next(video.iterate()),
    )
    for read in readings:
        with pytest.raises(ValueError, match=r"video\.mp4: this video was closed; open it again"):
            read()


def test_a_file_that_may_not_be_read_is_told_from_one_that_is_no_video(tmp_path, monkeypatch):
    path = make_video(tmp_path / "video.mp4", steady(3))

    def refuse(*args, **options):
        raise av_error.PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(VideoError, match=r"^\S*video\.mp4: the file cannot be read \(Permission denied\)"):
        VideoReader(path)
