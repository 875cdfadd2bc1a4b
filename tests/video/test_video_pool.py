"""A pool keeps a bounded number of videos open, gives what each video would give, and starts empty in each process."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from coded_videos import make_video, numbers_in, steady
from numbered_files import make_folder, make_tar

from sgear.errors import VideoError
from sgear.video.pool import ReadingSize, VideoPool, open_video
from sgear.video.training_copy import CopySettings, make_copy

IDS = [f"P01_0{idx}" for idx in range(5)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = tmp_path_factory.mktemp("pool")
    made = {video_id: make_video(root / f"{video_id}.mp4", steady(30 + 10 * idx)) for idx, video_id in enumerate(IDS)}
    wide = make_video(root / "wide.mp4", steady(30), size=(48, 96))
    images = {"folder": make_folder(root / "folder", range(1, 31)), "tar": make_tar(root / "f.tar", range(1, 31))}
    return made | {"wide": wide} | images


def test_the_pool_gives_what_the_video_gives(paths):
    asked_s = [0.9, 0.1, 0.1]
    with VideoPool(paths, size=(24, 32), frame_fps=30.0) as pool:
        for video_id in [*IDS, "folder", "tar"]:
            with open_video(paths[video_id], size=(24, 32), frame_fps=30.0) as video:
                expected = video.frames_played_at(asked_s)
                span_s = (video.first_pts_s, video.last_pts_s)
            batch = pool.frames_played_at(video_id, asked_s)
            assert torch.equal(batch.frames, expected.frames)
            assert batch.pts_s.tolist() == expected.pts_s.tolist()
            assert pool.span_s(video_id) == span_s


def test_no_more_videos_are_open_than_allowed_and_the_oldest_use_is_closed(paths):
    with VideoPool(paths, max_open=2) as pool:
        first, second = pool.video(IDS[0]), pool.video(IDS[1])
        pool.frames_played_at(IDS[0], [0.0])
        pool.video(IDS[2])
        assert pool.num_open == 2
        assert pool.video(IDS[0]) is first
        with pytest.raises((AssertionError, ValueError)):
            second.frames_played_at([0.5])


def test_descriptors_stay_bounded_over_many_videos(paths):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to count open files")
    with VideoPool(paths, max_open=2, frame_fps=30.0) as pool:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(4):
            for video_id in [*IDS, "tar"]:
                pool.frames_played_at(video_id, [0.3])
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("as_mapping", [True, False])
def test_each_video_may_have_its_own_size(paths, as_mapping):
    size = ReadingSize(24, 24, 0.0)
    sizes = {IDS[0]: (24, 32), "wide": (24, 48)}
    with VideoPool(paths, size=sizes if as_mapping else size, max_open=1) as pool:
        for _ in range(2):
            assert pool.frames_played_at(IDS[0], [0.0]).frames.shape == (1, 3, 24, 32)
            assert pool.frames_played_at("wide", [0.0]).frames.shape == (1, 3, 24, 48)


def test_a_size_missing_for_a_video_is_an_error(paths):
    with VideoPool(paths, size={IDS[0]: (24, 32)}) as pool, pytest.raises(ValueError, match="not for 'wide'"):
        pool.frames_played_at("wide", [0.0])


def test_each_video_may_have_its_own_rate(paths):
    with VideoPool(paths, frame_fps={"folder": 15.0, "tar": 30.0}) as pool:
        assert numbers_in(pool.frames_played_at("folder", [1.0]).frames) == [16]
        assert pool.span_s("tar") == (0.0, 29 / 30)


def test_a_video_that_is_not_there_is_named(paths):
    with VideoPool(paths) as pool, pytest.raises(VideoError, match=r"'P99_99' is not among the 8 videos"):
        pool.frames_played_at("P99_99", [0.0])


def test_a_video_that_does_not_open_leaves_the_pool_usable(paths, tmp_path):
    with VideoPool({**paths, "gone": tmp_path / "gone.mp4"}, max_open=1) as pool:
        with pytest.raises(VideoError, match=r"gone\.mp4: no such"):
            pool.span_s("gone")
        assert numbers_in(pool.frames_played_at(IDS[0], [0.0]).frames) == [0]


def test_a_closed_pool_opens_its_videos_again(paths):
    pool = VideoPool(paths)
    pool.frames_played_at(IDS[0], [0.0])
    pool.close()
    assert pool.num_open == 0
    assert numbers_in(pool.frames_played_at(IDS[0], [0.5]).frames) == [15]
    pool.close()


def test_a_pool_without_room_is_refused(paths):
    with pytest.raises(ValueError, match="max_open"):
        VideoPool(paths, max_open=0)


def test_a_pickled_pool_is_empty_and_reads(paths):
    with VideoPool(paths, size=ReadingSize(24, 24, 0.0)) as pool:
        pool.span_s(IDS[0])
        with pickle.loads(pickle.dumps(pool)) as copy:
            assert (copy.num_open, pool.num_open) == (0, 1)
            assert torch.equal(copy.frames_played_at(IDS[0], [0.5]).frames, pool.frames_played_at(IDS[0], [0.5]).frames)


def _read_in_child(pool: VideoPool, asked: list[tuple[str, float]], answers) -> None:
    num_open = pool.num_open
    numbers = [numbers_in(pool.frames_played_at(video_id, [t_s]).frames)[0] for video_id, t_s in asked]
    answers.put((num_open, numbers))


# Newer Pythons warn of forks beside threads; that both sides read right is what is tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_forked_pool_is_empty_and_both_processes_read_right(paths):
    context = multiprocessing.get_context("fork")
    with VideoPool(paths, frame_fps=30.0) as pool:
        asked = [(video_id, t_s) for video_id in (IDS[0], "tar") for t_s in np.arange(0.0, 0.9, 0.1).tolist()]
        expected = [numbers_in(pool.frames_played_at(video_id, [t_s]).frames)[0] for video_id, t_s in asked]
        answers = context.Queue()
        child = context.Process(target=_read_in_child, args=(pool, asked, answers))
        child.start()
        here = [numbers_in(pool.frames_played_at(video_id, [t_s]).frames)[0] for video_id, t_s in asked]
        assert answers.get(timeout=60) == (0, expected)
        child.join()
        assert here == expected


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mpeg4"), ("mpg", "mpeg2video"), ("ts", "libx264"), ("flv", "libx264")]
)
def test_training_on_what_is_not_surely_read_at_random_asks_for_a_copy(tmp_path, suffix, codec):
    path = make_video(tmp_path / f"video.{suffix}", steady(20), codec=codec)
    with VideoPool({"video": path}) as pool, pytest.raises(VideoError, match="sgear data transcode"):
        pool.frames_played_at("video", [0.0])
    with open_video(path) as video:
        assert len([*video.iterate()]) == 20
    make_copy(path, tmp_path / "video.mp4", CopySettings(short_side=48))
    with VideoPool({"video": tmp_path / "video.mp4"}) as pool:
        assert numbers_in(pool.frames_played_at("video", [0.5, 0.1]).frames) == [15, 3]
