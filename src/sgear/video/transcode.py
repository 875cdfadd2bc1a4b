"""A tree of videos -> the same tree of training copies, by any number of processes and machines, until it is complete.

A finished copy is never made twice, a half-written one never seen. A video that fails is named at the end, after all
others are done; a disk that cannot be written to stops the work.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sgear.errors import SgearError, VideoError, WriteError
from sgear.files import drop_leftovers, unwritable
from sgear.locks import FileLock
from sgear.video.find import VIDEO_ENDINGS, PassedOver, needs_rate, scan_videos
from sgear.video.streams import stated_length_s
from sgear.video.training_copy import CopyReport, CopySettings, is_copy, make_copy
from sgear.workers import LostWorker, VideoProgress, run_on_videos

_LOCK_FOLDER = ".locks"
_COPY_ENDING = ".mp4"
_TELL_S = 0.3


@dataclass(frozen=True)
class PlannedCopy:
    """One video and where its copy goes.

    Args:
        source: The video.
        relative: Place of the copy below the folder of copies.
    """

    source: Path
    relative: Path


def plan_copies(places: Sequence[Path], out: Path, *, passed_over: PassedOver | None = None) -> list[PlannedCopy]:
    """Return what is to be copied where: every video of the folders under its relative path, single videos by name.

    A name that ends in .mp4, in any case, is kept as it is; any other ending becomes .mp4.

    Args:
        places: Folders and videos.
        out: Folder of the copies.
        passed_over: Takes note of the files in the folders that are not copied.

    Raises:
        VideoError: If a place does not exist or holds no video, two videos would have one copy, or copies would lie
            among the videos.
    """
    planned: dict[Path, Path] = {}
    for place in places:
        if not place.exists():
            raise VideoError(f"{place}: no such video or folder")
        for source in _videos_of(place, PassedOver() if passed_over is None else passed_over):
            relative = source.relative_to(place) if place.is_dir() else Path(source.name)
            if relative.suffix.lower() != _COPY_ENDING:
                relative = relative.with_suffix(_COPY_ENDING)
            if planned.setdefault(relative, source) != source:
                raise VideoError(
                    f"{planned[relative]} and {source} would both become {out / relative}; copy them to two folders"
                )
    for place in places:
        _check_apart(place, out, planned)
    return [PlannedCopy(source, relative) for relative, source in sorted(planned.items())]


def _videos_of(place: Path, passed_over: PassedOver) -> list[Path]:
    if not place.is_dir():
        return [place]
    there = [path for paths in scan_videos(place, passed_over=passed_over).values() for path in paths]
    videos = [path for path in there if not needs_rate(path)]
    passed_over.num_image_videos += len(there) - len(videos)
    if not videos:
        others = f", only {passed_over}, which are read as they are" if passed_over.num_image_videos else ""
        raise VideoError(f"{place}: no video files ({', '.join(VIDEO_ENDINGS)}) there{others}")
    return videos


def _check_apart(place: Path, out: Path, planned: dict[Path, Path]) -> None:
    """Refuse copies among the videos: the next run, and any training, would take one for the other."""
    folder = (place if place.is_dir() else place.parent).resolve()
    for relative in planned:
        copy = (out / relative).resolve()
        is_among = copy.is_relative_to(folder) if place.is_dir() else copy.parent == folder
        if is_among:
            raise VideoError(f"{out}: copies would lie among the videos of {folder}; write them to a folder elsewhere")


@dataclass
class Transcoding:
    """What a run did.

    Args:
        done: Copies that were made now.
        kept: Copies that were there before.
        elsewhere: Videos that another live worker holds.
        failures: Message for each video that could not be copied.
        video_s: Length of the videos copied now in seconds.
        bytes_in: Size of these videos.
        bytes_out: Size of their copies.
        seconds: How long it took.
    """

    done: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    video_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Job:
    source: Path
    copy: Path
    lock: Path
    settings: CopySettings


@dataclass(frozen=True)
class _Outcome:
    kind: Literal["done", "kept", "elsewhere", "failed", "unwritable"]
    message: str = ""
    report: CopyReport | None = None


def transcode(
    planned: Sequence[PlannedCopy],
    out: Path,
    settings: CopySettings,
    *,
    num_workers: int,
    progress: VideoProgress | None = None,
) -> Transcoding:
    """Make the copies that are missing; several runs may share a folder at the same time.

    A copy that was made of another file, or with other settings, is made again.

    Args:
        planned: See `plan_copies`.
        out: Folder of the copies.
        settings: How they are made.
        num_workers: Number of processes with one thread each; 1 works in this one.
        progress: Called with finished videos, all videos to do, seconds of video done and to be done.

    Returns:
        What was done. Videos that could not be copied are in `failures`.

    Raises:
        VideoError: If a copy cannot be written at all: no room, no permission. The videos before it are done.
        ValueError: If `num_workers` is below 1.
    """
    begin_s = time.monotonic()
    result = Transcoding()
    jobs: list[_Job] = []
    for plan in planned:
        copy = out / plan.relative
        if _is_finished(copy, plan.source, settings):
            result.kept.append(copy)
        else:
            # Relative paths may be longer than a file name may be, and hold what is special in patterns.
            name = hashlib.sha256(plan.relative.as_posix().encode()).hexdigest()[:24]
            jobs.append(_Job(plan.source, copy, out / _LOCK_FOLDER / f"{name}.lock", settings))
    lengths_s = [stated_length_s(job.source) for job in jobs]
    with closing(run_on_videos(_work, jobs, lengths_s, num_workers=num_workers, progress=progress)) as outcomes:
        for idx, outcome in outcomes:
            _note(result, jobs[idx], outcome)
    for copy in result.elsewhere[:]:
        job = next(job for job in jobs if job.copy == copy)
        if _is_finished(copy, job.source, settings):
            result.elsewhere.remove(copy)
            result.kept.append(copy)
    FileLock.tidy(out / _LOCK_FOLDER)
    result.seconds = time.monotonic() - begin_s
    return result


def _note(result: Transcoding, job: _Job, outcome: _Outcome | LostWorker) -> None:
    if isinstance(outcome, LostWorker):
        result.failures[job.source] = f"{job.source}: {outcome}"
        drop_leftovers(job.copy)
        return
    match outcome.kind:
        case "done":
            assert outcome.report is not None
            result.done.append(job.copy)
            result.video_s += outcome.report.length_s
            result.bytes_in += outcome.report.num_bytes_read
            result.bytes_out += outcome.report.num_bytes
        case "kept":
            result.kept.append(job.copy)
        case "elsewhere":
            result.elsewhere.append(job.copy)
        case "failed":
            result.failures[job.source] = outcome.message
        case "unwritable":
            raise VideoError(
                f"{outcome.message}. {len(result.done)} copies were made; run the same command again: it goes on where "
                "it stopped"
            )


def _is_finished(copy: Path, source: Path, settings: CopySettings) -> bool:
    try:
        return is_copy(copy, source, settings)
    except VideoError:
        # Making the copy says what is wrong with its video.
        return False


def _work(job: _Job, tell: Callable[[float], None]) -> _Outcome:
    told_s = time.monotonic()

    def progress(video_s: float) -> None:
        nonlocal told_s
        if (now_s := time.monotonic()) - told_s >= _TELL_S:
            told_s = now_s
            tell(video_s)

    try:
        lock = FileLock.take(job.lock)
        if lock is None:
            return _Outcome("elsewhere")
        with lock:
            # Another worker may have finished it before.
            if is_copy(job.copy, job.source, job.settings):
                return _Outcome("kept")
            return _Outcome("done", report=make_copy(job.source, job.copy, job.settings, progress=progress))
    except WriteError as err:
        if isinstance(err.__cause__, BrokenPipeError):
            # Not of the disk: nobody listens to `tell` any more.
            raise err.__cause__ from None
        return _Outcome("unwritable", str(err))
    except SgearError as err:
        return _Outcome("failed", str(err))
    except BrokenPipeError:
        raise
    except OSError as err:
        return _Outcome("unwritable", str(unwritable(job.copy, err)))
