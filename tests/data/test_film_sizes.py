"""A second start opens no film whose frames are cached."""

import os

import av
import numpy as np
import pytest

from sgear.data import frames
from sgear.data.frames import cache_frames
from sgear.errors import VideoError
from sgear.models.pretrained import Preprocessing
from sgear.video.pool import open_film


def make_film(path, height: int = 48, width: int = 64):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=4)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for level in range(8):
            picture = np.full((height, width, 3), 20 * level, dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the films that were opened for their size."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    names: list[str] = []

    def listed(path, **settings):
        names.append(path.name)
        return open_film(path, **settings)

    monkeypatch.setattr(frames, "open_film", listed)
    return names


def cached_shape(films, root, **settings) -> list[int]:
    """Height and width of the cached frames of `a`."""
    sizes = {"height": 24, "width": 24, "reading_margin": 0.0, **settings}
    cache, unreadable = cache_frames(films, root, Preprocessing(kind="video", **sizes), fps=4.0)
    assert unreadable == {}
    return list(cache.frames_played_at("a", [0.0]).frames.shape[-2:])


def test_a_second_start_opens_no_film(tmp_path, opened):
    films = {name: make_film(tmp_path / f"{name}.mp4") for name in "ab"}
    first = cached_shape(films, tmp_path / "cache")
    assert sorted(opened) == ["a.mp4", "b.mp4"]
    opened.clear()
    assert cached_shape(films, tmp_path / "cache") == first == [24, 32]
    assert opened == []


def test_only_a_new_or_changed_film_is_opened(tmp_path, opened):
    films = {name: make_film(tmp_path / f"{name}.mp4") for name in "ab"}
    cached_shape(films, tmp_path / "cache")
    opened.clear()
    make_film(films["a"], height=64, width=48)
    os.utime(films["a"], ns=(1, 1))
    films["c"] = make_film(tmp_path / "c.mp4")
    assert cached_shape(films, tmp_path / "cache") == [32, 24]
    assert opened == ["a.mp4", "c.mp4"]


def test_a_model_of_another_size_or_margin_reads_at_its_own_size_without_asking_again(tmp_path, opened):
    films = {"a": make_film(tmp_path / "a.mp4")}
    cached_shape(films, tmp_path / "cache")
    opened.clear()
    assert cached_shape(films, tmp_path / "cache", reading_margin=0.5) == [36, 48]
    assert cached_shape(films, tmp_path / "cache", height=12, width=12) == [12, 16]
    assert opened == []


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": [1, 2, 3]}', '{"a": [1, 2, "x", "y"]}'])
def test_damaged_answers_are_asked_again(text, tmp_path, opened):
    films = {"a": make_film(tmp_path / "a.mp4")}
    first = cached_shape(films, tmp_path / "cache")
    (tmp_path / "cache" / "film-sizes.json").write_text(text)
    assert cached_shape(films, tmp_path / "cache") == first
    assert opened == ["a.mp4", "a.mp4"]


def test_a_complete_cache_is_read_where_nothing_can_be_written(tmp_path, opened, monkeypatch):
    films = {"a": make_film(tmp_path / "a.mp4")}
    first = cached_shape(films, tmp_path / "cache")
    (tmp_path / "cache" / "film-sizes.json").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cached_shape(films, tmp_path / "cache") == first
    assert not (tmp_path / "cache" / "film-sizes.json").exists()


def test_a_film_that_went_away_is_still_an_error(tmp_path, opened):
    film = make_film(tmp_path / "a.mp4")
    cached_shape({"a": film}, tmp_path / "cache")
    film.unlink()
    file = tmp_path / "cache" / "film-sizes.json"
    with frames.FilmSizes(file) as sizes, pytest.raises(VideoError, match=r"a\.mp4"):
        sizes.of("a", film)
