"""Copies of many videos: what is made, made again, left, refused; workers that die."""

import fcntl
import hashlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from coded_videos import decode_all, make_video, overwrite_packet, steady

from sgear.errors import VideoError
from sgear.files import partial_path
from sgear.locks import FileLock
from sgear.video.training_copy import CopySettings, is_copy, make_copy
from sgear.video.transcode import PlannedCopy, plan_copies, transcode
from sgear.workers import LostWorker

SMALL = CopySettings(short_side=24, gop=6)


def _run(videos, out, copy_settings=SMALL, **options):
    return transcode(plan_copies([videos], out), out, copy_settings, num_workers=1, **options)


def _files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    (folder / "P01").mkdir(parents=True)
    make_video(folder / "P01" / "P01_01.MP4", steady(20))
    make_video(folder / "P01_02.avi", steady(20), codec="mpeg4")
    return folder


def test_tree_and_names_of_the_videos_are_kept(videos, tmp_path):
    result = _run(videos, tmp_path / "out")
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]
    assert len(result.done) == 2
    assert result.video_s == pytest.approx(2 * 20 / 30)
    assert result.bytes_out == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.[mM]*"))


def test_finished_copies_are_not_made_again(videos, tmp_path):
    _run(videos, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    result = _run(videos, tmp_path / "out")
    assert (len(result.done), len(result.kept)) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("change", [{"short_side": 32}, {"gop": 5}, {"crf": 30}, {"fps": 5.0}, {"enlarge": True}])
def test_other_settings_make_the_copy_again(videos, tmp_path, change):
    make_copy(videos / "P01_02.avi", tmp_path / "copy.mp4", SMALL)
    other = CopySettings(**{"short_side": 24, "gop": 6, **change})
    assert is_copy(tmp_path / "copy.mp4", videos / "P01_02.avi", SMALL)
    assert not is_copy(tmp_path / "copy.mp4", videos / "P01_02.avi", other)


def test_copy_of_a_video_that_changed_is_made_again(videos, tmp_path):
    _run(videos, tmp_path / "out")
    make_video(videos / "P01" / "P01_01.MP4", steady(7))
    result = _run(videos, tmp_path / "out")
    assert result.done == [tmp_path / "out" / "P01" / "P01_01.MP4"]
    assert len(decode_all(result.done[0])) == 7


def test_truncated_copy_counts_as_none(videos, tmp_path):
    copy = tmp_path / "copy.mp4"
    make_copy(videos / "P01_02.avi", copy, SMALL)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert not is_copy(copy, videos / "P01_02.avi", SMALL)


def _lock_of(out, job) -> Path:
    return out / ".locks" / f"{hashlib.sha256(job.relative.as_posix().encode()).hexdigest()[:24]}.lock"


def test_what_a_killed_worker_left_is_removed_and_its_video_done(videos, tmp_path):
    out = tmp_path / "out"
    copy = out / "P01" / "P01_01.MP4"
    copy.parent.mkdir(parents=True)
    partial_path(copy).write_bytes(b"half of a video")
    neighbour = partial_path(out / "P01" / "P01_01.MP4.MP4")
    neighbour.write_bytes(b"of another video")
    script = "import sys, os; from pathlib import Path; from sgear.locks import FileLock\n"
    script += "[FileLock.take(Path(name)) for name in sys.argv[1:]]; os._exit(9)"
    locks = [_lock_of(out, job) for job in plan_copies([videos], out)]
    subprocess.run([sys.executable, "-c", script, *map(str, locks)], check=False)
    assert all(lock.exists() for lock in locks)
    result = _run(videos, out)
    assert len(result.done) == 2
    assert _files(out) == sorted(["P01/P01_01.MP4", "P01_02.mp4", f"P01/{neighbour.name}"])


def test_video_that_another_worker_holds_is_left_to_it(videos, tmp_path):
    out = tmp_path / "out"
    plan = plan_copies([videos], out)
    with FileLock.take(_lock_of(out, plan[0])):
        result = _run(videos, out)
    assert result.elsewhere == [out / plan[0].relative]
    assert result.done == [out / plan[1].relative]
    assert _run(videos, out).done == [out / plan[0].relative]


def test_damaged_and_truncated_videos_are_named_and_leave_nothing(videos, tmp_path):
    good = videos / "P01" / "P01_01.MP4"
    mkv = make_video(tmp_path / "whole.mkv", steady(40), noise=20)
    overwrite_packet(make_video(tmp_path / "whole.mp4", steady(40), noise=20), videos / "broken.mp4", 17)
    (videos / "cut.mkv").write_bytes(mkv.read_bytes()[: mkv.stat().st_size * 2 // 3])
    (videos / "no_index.mp4").write_bytes(good.read_bytes()[:-200])
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("this is no video")
    result = _run(videos, tmp_path / "out")
    assert sorted(path.name for path in result.failures) == [
        "broken.mp4",
        "cut.mkv",
        "empty.mp4",
        "no_index.mp4",
        "text.mp4",
    ]
    assert "cannot be decoded" in result.failures[videos / "broken.mp4"]
    assert "truncated" in result.failures[videos / "cut.mkv"]
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]


def test_disk_that_takes_no_more_stops_with_its_reason_and_leaves_nothing(videos, tmp_path):
    make_video(videos / "large.mp4", steady(90), size=(96, 128), noise=40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(VideoError, match=r"large.mp4: cannot be written \(File too large\).*goes on"):
            _run(videos, tmp_path / "out", CopySettings(short_side=96, crf=0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [name for name in _files(tmp_path / "out") if "large" in name]
    assert len(_run(videos, tmp_path / "out", CopySettings(short_side=96, crf=0)).done) >= 1


def test_interrupt_leaves_nothing_half_written(videos, tmp_path):
    def stop(num_done, num_videos, done_s, total_s):
        if num_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(videos, tmp_path / "out", progress=stop)
    assert len(_files(tmp_path / "out")) == 1
    assert len(_run(videos, tmp_path / "out").done) == 1


def test_copies_among_the_videos_are_refused(videos, tmp_path):
    for place, out in [(videos, videos), (videos, videos / "small"), (videos / "P01_02.avi", videos)]:
        with pytest.raises(VideoError, match="among the videos"):
            plan_copies([place], out)
    (tmp_path / "link").symlink_to(videos)
    with pytest.raises(VideoError, match="among the videos"):
        plan_copies([videos], tmp_path / "link" / "small")
    assert _files(videos) == ["P01/P01_01.MP4", "P01_02.avi"]


def test_two_videos_with_one_copy_are_refused(videos, tmp_path):
    make_video(videos / "P01_02.mkv", steady(2))
    with pytest.raises(VideoError, match=r"P01_02.avi and .*P01_02.mkv would both become .*P01_02.mp4"):
        plan_copies([videos], tmp_path / "out")


def test_single_videos_go_by_their_names(videos, tmp_path):
    planned = plan_copies([videos / "P01" / "P01_01.MP4"], tmp_path / "out")
    assert planned == [PlannedCopy(videos / "P01" / "P01_01.MP4", Path("P01_01.MP4"))]


def test_places_without_videos_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no such video or folder"):
        plan_copies([tmp_path / "absent"], tmp_path / "out")
    (tmp_path / "videos").mkdir()
    with pytest.raises(VideoError, match="no video files"):
        plan_copies([tmp_path / "videos"], tmp_path / "out")


def test_half_written_copy_of_another_live_run_survives_a_lost_worker(videos, tmp_path, monkeypatch):
    theirs, ours = (partial_path(tmp_path / "out" / name) for name in ("P01_02.mp4", "P01/P01_01.MP4"))
    ours.parent.mkdir(parents=True)
    for partial in (theirs, ours):
        partial.write_bytes(b"half")
    monkeypatch.setattr(
        "sgear.video.transcode.run_on_videos",
        lambda work, jobs, *args, **options: ((idx, LostWorker(-9)) for idx in range(len(jobs))),
    )
    with theirs.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert len(_run(videos, tmp_path / "out").failures) == 2
    assert (theirs.exists(), ours.exists()) == (True, False)
