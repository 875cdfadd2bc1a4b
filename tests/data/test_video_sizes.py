"""A second start opens no video whose frames are cached."""

import os

import av
import numpy as np
import pytest

from sgear.data import frames
from sgear.data.frames import cache_frames
from sgear.errors import VideoError
from sgear.models.pretrained import Preprocessing
from sgear.video.pool import open_video


def make_video(path, height: int = 48, width: int = 64):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=4)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for level in range(8):
            image = np.full((height, width, 3), 20 * level, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the videos that were opened for their size."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    names: list[str] = []

    def listed(path, **settings):
        names.append(path.name)
        return open_video(path, **settings)

    monkeypatch.setattr(frames, "open_video", listed)
    return names


def cached_shape(videos, root, **settings) -> list[int]:
    """Height and width of the cached frames of `a`."""
    sizes = {"height": 24, "width": 24, "reading_margin": 0.0, **settings}
    cache, unreadable = cache_frames(videos, root, Preprocessing(kind="video", **sizes), fps=4.0)
    assert unreadable == {}
    return list(cache.frames_played_at("a", [0.0]).frames.shape[-2:])


def test_a_second_start_opens_no_video(tmp_path, opened):
    videos = {name: make_video(tmp_path / f"{name}.mp4") for name in "ab"}
    first = cached_shape(videos, tmp_path / "cache")
    assert sorted(opened) == ["a.mp4", "b.mp4"]
    opened.clear()
    assert cached_shape(videos, tmp_path / "cache") == first == [24, 32]
    assert opened == []


def test_only_a_new_or_changed_video_is_opened(tmp_path, opened):
    videos = {name: make_video(tmp_path / f"{name}.mp4") for name in "ab"}
    cached_shape(videos, tmp_path / "cache")
    opened.clear()
    make_video(videos["a"], height=64, width=48)
    os.utime(videos["a"], ns=(1, 1))
    videos["c"] = make_video(tmp_path / "c.mp4")
    assert cached_shape(videos, tmp_path / "cache") == [32, 24]
    assert opened == ["a.mp4", "c.mp4"]


def test_a_model_of_another_size_or_margin_reads_at_its_own_size_without_asking_again(tmp_path, opened):
    videos = {"a": make_video(tmp_path / "a.mp4")}
    cached_shape(videos, tmp_path / "cache")
    opened.clear()
    assert cached_shape(videos, tmp_path / "cache", reading_margin=0.5) == [36, 48]
    assert cached_shape(videos, tmp_path / "cache", height=12, width=12) == [12, 16]
    assert opened == []


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": [1, 2, 3]}', '{"a": [1, 2, "x", "y"]}'])
def test_damaged_answers_are_asked_again(text, tmp_path, opened):
    videos = {"a": make_video(tmp_path / "a.mp4")}
    first = cached_shape(videos, tmp_path / "cache")
    (tmp_path / "cache" / "video-sizes.json").write_text(text)
    assert cached_shape(videos, tmp_path / "cache") == first
    assert opened == ["a.mp4", "a.mp4"]


def test_a_complete_cache_is_read_where_nothing_can_be_written(tmp_path, opened, monkeypatch):
    videos = {"a": make_video(tmp_path / "a.mp4")}
    first = cached_shape(videos, tmp_path / "cache")
    (tmp_path / "cache" / "video-sizes.json").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cached_shape(videos, tmp_path / "cache") == first
    assert not (tmp_path / "cache" / "video-sizes.json").exists()


def test_a_video_that_went_away_is_still_an_error(tmp_path, opened):
    video = make_video(tmp_path / "a.mp4")
    cached_shape({"a": video}, tmp_path / "cache")
    video.unlink()
    file = tmp_path / "cache" / "video-sizes.json"
    with frames.VideoSizes(file) as sizes, pytest.raises(VideoError, match=r"a\.mp4"):
        sizes.of("a", video)
