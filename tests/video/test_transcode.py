"""Copies of many films: what is made, made again, left, refused; workers that die."""

import hashlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from coded_films import decode_all, make_film, overwrite_packet, steady

from sgear.errors import VideoError
from sgear.files import partial_path
from sgear.locks import FileLock
from sgear.video.training_copy import CopySettings, is_copy, make_copy
from sgear.video.transcode import PlannedCopy, plan_copies, transcode
from sgear.workers import LostWorker

SMALL = CopySettings(short_side=24, gop=6)


def _run(films, out, copy_settings=SMALL, **options):
    return transcode(plan_copies([films], out), out, copy_settings, num_workers=1, **options)


def _files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    (folder / "P01").mkdir(parents=True)
    make_film(folder / "P01" / "P01_01.MP4", steady(20))
    make_film(folder / "P01_02.avi", steady(20), codec="mpeg4")
    return folder


def test_tree_and_names_of_the_films_are_kept(films, tmp_path):
    result = _run(films, tmp_path / "out")
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]
    assert len(result.done) == 2
    assert result.film_s == pytest.approx(2 * 20 / 30)
    assert result.bytes_out == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.[mM]*"))


def test_finished_copies_are_not_made_again(films, tmp_path):
    _run(films, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    result = _run(films, tmp_path / "out")
    assert (len(result.done), len(result.kept)) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("change", [{"short_side": 32}, {"gop": 5}, {"crf": 30}, {"fps": 5.0}, {"enlarge": True}])
def test_other_settings_make_the_copy_again(films, tmp_path, change):
    make_copy(films / "P01_02.avi", tmp_path / "copy.mp4", SMALL)
    other = CopySettings(**{"short_side": 24, "gop": 6, **change})
    assert is_copy(tmp_path / "copy.mp4", films / "P01_02.avi", SMALL)
    assert not is_copy(tmp_path / "copy.mp4", films / "P01_02.avi", other)


def test_copy_of_a_film_that_changed_is_made_again(films, tmp_path):
    _run(films, tmp_path / "out")
    make_film(films / "P01" / "P01_01.MP4", steady(7))
    result = _run(films, tmp_path / "out")
    assert result.done == [tmp_path / "out" / "P01" / "P01_01.MP4"]
    assert len(decode_all(result.done[0])) == 7


def test_truncated_copy_counts_as_none(films, tmp_path):
    copy = tmp_path / "copy.mp4"
    make_copy(films / "P01_02.avi", copy, SMALL)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert not is_copy(copy, films / "P01_02.avi", SMALL)


def _lock_of(out, job) -> Path:
    return out / ".locks" / f"{hashlib.sha256(job.relative.as_posix().encode()).hexdigest()[:24]}.lock"


def test_what_a_killed_worker_left_is_removed_and_its_film_done(films, tmp_path):
    out = tmp_path / "out"
    copy = out / "P01" / "P01_01.MP4"
    copy.parent.mkdir(parents=True)
    partial_path(copy).write_bytes(b"half of a film")
    neighbour = partial_path(out / "P01" / "P01_01.MP4.MP4")
    neighbour.write_bytes(b"of another film")
    script = "import sys, os; from pathlib import Path; from sgear.locks import FileLock\n"
    script += "[FileLock.take(Path(name)) for name in sys.argv[1:]]; os._exit(9)"
    locks = [_lock_of(out, job) for job in plan_copies([films], out)]
    subprocess.run([sys.executable, "-c", script, *map(str, locks)], check=False)
    assert all(lock.exists() for lock in locks)
    result = _run(films, out)
    assert len(result.done) == 2
    assert _files(out) == sorted(["P01/P01_01.MP4", "P01_02.mp4", f"P01/{neighbour.name}"])


def test_film_that_another_worker_holds_is_left_to_it(films, tmp_path):
    out = tmp_path / "out"
    plan = plan_copies([films], out)
    with FileLock.take(_lock_of(out, plan[0])):
        result = _run(films, out)
    assert result.elsewhere == [out / plan[0].relative]
    assert result.done == [out / plan[1].relative]
    assert _run(films, out).done == [out / plan[0].relative]


def test_damaged_and_truncated_films_are_named_and_leave_nothing(films, tmp_path):
    good = films / "P01" / "P01_01.MP4"
    mkv = make_film(tmp_path / "whole.mkv", steady(40), noise=20)
    overwrite_packet(make_film(tmp_path / "whole.mp4", steady(40), noise=20), films / "broken.mp4", 17)
    (films / "cut.mkv").write_bytes(mkv.read_bytes()[: mkv.stat().st_size * 2 // 3])
    (films / "no_index.mp4").write_bytes(good.read_bytes()[:-200])
    (films / "empty.mp4").touch()
    (films / "text.mp4").write_text("this is no film")
    result = _run(films, tmp_path / "out")
    assert sorted(path.name for path in result.failures) == [
        "broken.mp4",
        "cut.mkv",
        "empty.mp4",
        "no_index.mp4",
        "text.mp4",
    ]
    assert "cannot be decoded" in result.failures[films / "broken.mp4"]
    assert "truncated" in result.failures[films / "cut.mkv"]
    assert _files(tmp_path / "out") == ["P01/P01_01.MP4", "P01_02.mp4"]


def test_disk_that_takes_no_more_stops_with_its_reason_and_leaves_nothing(films, tmp_path):
    make_film(films / "large.mp4", steady(90), size=(96, 128), noise=40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(VideoError, match=r"large.mp4: cannot be written \(File too large\).*goes on"):
            _run(films, tmp_path / "out", CopySettings(short_side=96, crf=0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [name for name in _files(tmp_path / "out") if "large" in name]
    assert len(_run(films, tmp_path / "out", CopySettings(short_side=96, crf=0)).done) >= 1


def test_interrupt_leaves_nothing_half_written(films, tmp_path):
    def stop(num_done, num_films, done_s, total_s):
        if num_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(films, tmp_path / "out", progress=stop)
    assert len(_files(tmp_path / "out")) == 1
    assert len(_run(films, tmp_path / "out").done) == 1


def test_copies_among_the_films_are_refused(films, tmp_path):
    for place, out in [(films, films), (films, films / "small"), (films / "P01_02.avi", films)]:
        with pytest.raises(VideoError, match="among the films"):
            plan_copies([place], out)
    (tmp_path / "link").symlink_to(films)
    with pytest.raises(VideoError, match="among the films"):
        plan_copies([films], tmp_path / "link" / "small")
    assert _files(films) == ["P01/P01_01.MP4", "P01_02.avi"]


def test_two_films_with_one_copy_are_refused(films, tmp_path):
    make_film(films / "P01_02.mkv", steady(2))
    with pytest.raises(VideoError, match=r"P01_02.avi and .*P01_02.mkv would both become .*P01_02.mp4"):
        plan_copies([films], tmp_path / "out")


def test_single_films_go_by_their_names(films, tmp_path):
    planned = plan_copies([films / "P01" / "P01_01.MP4"], tmp_path / "out")
    assert planned == [PlannedCopy(films / "P01" / "P01_01.MP4", Path("P01_01.MP4"))]


def test_places_without_films_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no such film or folder"):
        plan_copies([tmp_path / "absent"], tmp_path / "out")
    (tmp_path / "films").mkdir()
    with pytest.raises(VideoError, match="no video files"):
        plan_copies([tmp_path / "films"], tmp_path / "out")


def test_half_written_copy_of_another_live_run_survives_a_lost_worker(films, tmp_path, monkeypatch):
    out = tmp_path / "out"
    theirs = partial_path(out / "P01_02.mp4")
    theirs.parent.mkdir()
    theirs.write_bytes(b"half")
    locks = []

    def lose(work, jobs, **options):
        for idx, job in enumerate(jobs):
            if job.copy.name == "P01_02.mp4":
                locks.append(FileLock.take(job.lock))
            yield idx, LostWorker(-9)

    monkeypatch.setattr("sgear.video.transcode.run_jobs", lose)
    ours = partial_path(out / "P01" / "P01_01.MP4")
    ours.parent.mkdir()
    ours.write_bytes(b"half")
    assert len(_run(films, out).failures) == 2
    assert theirs.exists()
    locks[0].release()
    assert not ours.exists()
