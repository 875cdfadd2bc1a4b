import os
import pickle

import numpy as np
import pytest
import torch
from coded_videos import (
    build_frame_cache,
    decode_all,
    make_video,
    number_in,
    numbers_in,
    overwrite_packet,
    played_at,
    steady,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sgear.errors import VideoError
from sgear.video import FrameCache, VideoReader

SIZE = {"height": 24, "width": 32}


@pytest.fixture(scope="module")
def video_path(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("video") / "P01_01.mp4", steady(90), gop=30, num_b=2)


@pytest.fixture(scope="module")
def full_rate(video_path, tmp_path_factory):
    root = tmp_path_factory.mktemp("full_rate")
    return build_frame_cache({"P01_01": video_path}, root, **SIZE, fps=90.0, num_processes=1)


def _build(video_path, root, **changes):
    return build_frame_cache({"video": video_path}, root, **{**SIZE, "fps": 4.0, "num_processes": 1, **changes})


@settings(max_examples=20, deadline=None)
@given(asked_s=st.lists(st.floats(0, 3.03), min_size=1, max_size=6))
def test_cache_that_keeps_every_frame_equals_the_reader(video_path, full_rate, asked_s):
    cached = full_rate.frames_played_at("P01_01", asked_s)
    with VideoReader(video_path, size=(24, 32)) as reader:
        read = reader.frames_played_at(asked_s)
    assert torch.equal(cached.frames, read.frames)
    assert cached.pts_s.tolist() == read.pts_s.tolist()


@pytest.mark.parametrize("fps", [4.0, 7.5, 29.97])
def test_kept_frames_are_those_played_at_multiples_of_the_period(video_path, tmp_path, fps):
    cache = _build(video_path, tmp_path / "cache", fps=fps)
    video = decode_all(video_path)
    expected = dict.fromkeys(played_at(video, tick / fps) for tick in range(int(2.99 * fps) + 1))
    pixels = np.load(cache.root / "video.npy")
    assert [number_in(image) for image in pixels] == [number for _, number in expected]


def test_window_holds_the_latest_kept_frames_and_never_later_ones(video_path, tmp_path):
    cache = _build(video_path, tmp_path / "cache")
    asked_s = np.array([2.9, 0.0, 0.26, 1.1, 1.1])
    batch = cache.frames_played_at("video", asked_s)
    assert numbers_in(batch.frames) == [82, 0, 7, 30, 30]
    assert (batch.pts_s <= asked_s).all()


def test_video_slower_than_the_cache_keeps_each_frame_once(tmp_path):
    cache = _build(make_video(tmp_path / "slow.mp4", steady(20, fps=5)), tmp_path / "cache", fps=30.0)
    assert len(np.load(cache.root / "video.npy")) == 20


@pytest.mark.parametrize("t_s", [3.1, 50.0])
def test_time_past_the_end_is_the_error_of_the_reader(video_path, tmp_path, t_s):
    cache = _build(video_path, tmp_path / "cache")
    with VideoReader(video_path) as reader, pytest.raises(VideoError) as of_reader:
        reader.frames_played_at([t_s])
    with pytest.raises(VideoError) as of_cache:
        cache.frames_played_at("video", [0.0, t_s])
    assert str(of_cache.value) == str(of_reader.value)


def test_damaged_place_is_an_error_and_the_rest_of_the_video_is_kept(video_path, tmp_path):
    overwrite_packet(video_path, tmp_path / "hurt.mp4", 31)
    cache = _build(tmp_path / "hurt.mp4", tmp_path / "cache", fps=90.0)
    with pytest.raises(VideoError, match=r"hurt\.mp4: .*cannot be decoded"):
        cache.frames_played_at("video", [0.5, 1.5])
    assert numbers_in(cache.frames_played_at("video", [0.5, 2.5]).frames) == [15, 75]


def test_second_build_decodes_nothing_again(video_path, tmp_path):
    pixels = _build(video_path, tmp_path / "cache").root / "video.npy"
    before = pixels.stat()
    _build(video_path, tmp_path / "cache")
    after = pixels.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("changes", [{"height": 12}, {"fps": 5.0}])
def test_other_settings_rebuild(video_path, tmp_path, changes):
    old = np.load(_build(video_path, tmp_path / "cache").root / "video.npy").shape
    new = np.load(_build(video_path, tmp_path / "cache", **changes).root / "video.npy").shape
    assert new != old


def test_changed_source_rebuilds(video_path, tmp_path):
    source = tmp_path / "video.mp4"
    source.write_bytes(video_path.read_bytes())
    _build(source, tmp_path / "cache")
    make_video(source, steady(30))
    assert len(np.load(_build(source, tmp_path / "cache").root / "video.npy")) == 4


def test_entry_without_its_times_is_incomplete_and_built_again(video_path, tmp_path):
    root = _build(video_path, tmp_path / "cache").root
    (root / "video.json").unlink()
    with pytest.raises(VideoError, match="not in the cache"):
        FrameCache(root).span_s("video")
    assert _build(video_path, root).span_s("video")[0] == 0.0


def test_no_partial_file_stays_behind(video_path, tmp_path):
    root = _build(video_path, tmp_path / "cache").root
    assert sorted(os.listdir(root)) == ["video.json", "video.npy"]


def test_processes_give_the_bytes_of_one_process(video_path, tmp_path):
    other = make_video(tmp_path / "other.mp4", steady(40))
    done = []
    videos = {"a": video_path, "b": other}
    build_frame_cache(videos, tmp_path / "one", **SIZE, fps=5.0, num_processes=1)
    build_frame_cache(
        videos, tmp_path / "two", **SIZE, fps=5.0, num_processes=2, progress=lambda num, of: done.append((num, of))
    )
    assert done == [(1, 2), (2, 2)]
    for name in ("a.npy", "b.npy", "a.json", "b.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_unreadable_videos_are_listed_after_the_others_are_done(video_path, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video " * 100)
    videos = {"bad": tmp_path / "notes.mp4", "gone": tmp_path / "gone.mp4", "good": video_path}
    with pytest.raises(VideoError, match=r"notes\.mp4(?s:.)*gone\.mp4"):
        build_frame_cache(videos, tmp_path / "cache", **SIZE, fps=4.0, num_processes=1)
    assert FrameCache(tmp_path / "cache").span_s("good")[0] == 0.0


def test_cache_travels_to_workers_without_its_maps(video_path, tmp_path):
    cache = _build(video_path, tmp_path / "cache")
    expected = cache.frames_played_at("video", [1.0])
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent).frames_played_at("video", [1.0]).frames, expected.frames)


def test_unknown_video_is_named(video_path, tmp_path):
    with pytest.raises(VideoError, match="'P99' is not"):
        _build(video_path, tmp_path / "cache").frames_played_at("P99", [0.0])


def _emptied(pixels):
    pixels.write_bytes(b"")


def _shortened(pixels):
    np.save(pixels, np.load(pixels)[:3])


@pytest.mark.parametrize("hurt", [_emptied, _shortened])
def test_damaged_entry_says_what_to_delete(video_path, tmp_path, hurt):
    root = _build(video_path, tmp_path / "cache").root
    hurt(root / "video.npy")
    with pytest.raises(VideoError, match="delete it"):
        FrameCache(root).frames_played_at("video", [0.0])


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="no such folder"):
        FrameCache(tmp_path / "none")


@pytest.mark.parametrize("changes", [{"fps": 0.0}, {"width": 0}, {"num_processes": 0}])
def test_settings_out_of_range_are_refused(video_path, tmp_path, changes):
    with pytest.raises(ValueError, match="must be positive"):
        _build(video_path, tmp_path / "cache", **changes)


def test_id_that_is_no_file_name_is_refused(video_path, tmp_path):
    with pytest.raises(ValueError, match="file names"):
        build_frame_cache({"../video": video_path}, tmp_path, **SIZE, fps=4.0, num_processes=1)
