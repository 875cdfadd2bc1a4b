"""Find the videos that are truncated, empty or damaged: by decoding all of them, or only their beginnings and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sgear.errors import VideoError
from sgear.video.base import VideoSpan
from sgear.video.decoding import DecodedFrame, StreamDecoder
from sgear.video.find import needs_rate
from sgear.video.pool import open_video
from sgear.video.streams import stated_length_s
from sgear.workers import LostWorker, VideoProgress, run_on_videos

_HEAD_S = _TAIL_S = 1.0
_TELL_EVERY = 64


@dataclass(frozen=True)
class VideoToCheck:
    """A video, and at which rate it was numbered if it is made of images."""

    path: Path
    frame_fps: float | None = None


@dataclass(frozen=True)
class VideoCheck:
    """What was found out about one video.

    Args:
        path: The video.
        problems: What is wrong with it; empty where nothing was found.
        span: From when to when it can be read; None where it cannot be opened.
        num_frames: Number of frames that were decoded.
        size: Height and width in pixels, as displayed.
        num_bytes: Size of the file; 0 of a folder of images.
        notes: What is worth knowing about it, but not wrong.
    """

    path: Path
    problems: tuple[str, ...]
    span: VideoSpan | None = None
    num_frames: int = 0
    size: tuple[int, int] | None = None
    num_bytes: int = 0
    notes: tuple[str, ...] = ()


def verify_video(video: VideoToCheck, *, quick: bool, tell: Callable[[float], None] | None = None) -> VideoCheck:
    """Check one video of any kind.

    Args:
        video: The video.
        quick: Decode only the first and the last second; damage between them is not found.
        tell: Called now and then with the seconds of video that are done.
    """
    num_bytes = 0
    try:
        num_bytes = video.path.stat().st_size if video.path.is_file() else 0
        if needs_rate(video.path):
            return _verify_images(video, num_bytes, quick=quick, tell=tell)
        with closing(StreamDecoder(video.path)) as decoder:
            return _verify_stream(decoder, num_bytes, quick=quick, tell=tell)
    except VideoError as err:
        return VideoCheck(video.path, (_without_path(str(err), video.path),), num_bytes=num_bytes)
    except ConnectionError:
        # Not of the video: nobody listens to `tell` any more.
        raise
    except OSError as err:
        problem = f"the video cannot be read ({err.strerror or err}); check its permissions and its disk"
        return VideoCheck(video.path, (problem,), num_bytes=num_bytes)


def verify_videos(
    videos: Sequence[VideoToCheck], *, quick: bool, num_workers: int, progress: VideoProgress | None = None
) -> list[VideoCheck]:
    """Check videos in several processes.

    Args:
        videos: The videos.
        quick: See `verify_video`.
        num_workers: Number of processes; 1 works in this one.
        progress: Called with finished videos, all videos, seconds of video done and to be done.

    Returns:
        One check for each video, in the order of the videos.

    Raises:
        ValueError: If `num_workers` is below 1.
    """
    lengths_s = [0.0 if needs_rate(video.path) else stated_length_s(video.path) for video in videos]
    work = partial(_verify, quick)
    checks: dict[int, VideoCheck] = {}
    with closing(run_on_videos(work, videos, lengths_s, num_workers=num_workers, progress=progress)) as results:
        for idx, result in results:
            lost = isinstance(result, LostWorker)
            checks[idx] = VideoCheck(videos[idx].path, (str(result),)) if lost else result
    return [checks[idx] for idx in range(len(videos))]


def _verify(quick: bool, video: VideoToCheck, tell: Callable[[float], None]) -> VideoCheck:
    return verify_video(video, quick=quick, tell=tell)


def _without_path(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}: ")


@dataclass
class _Pass:
    """Counts the frames that go by; keeps no images, as those of one key-frame distance may fill the memory."""

    tell: Callable[[float], None] | None
    num_frames: int = 0
    last_s: float = 0.0
    last_end_s: float = 0.0
    end_s: float = 0.0
    damaged_s: list[float] = field(default_factory=list)

    def see(self, frame: DecodedFrame) -> None:
        self.num_frames += 1
        if frame.image is None:
            self.damaged_s.append(frame.pts_s)
        elif frame.pts_s >= self.last_s:
            self.last_s, self.last_end_s = frame.pts_s, frame.end_s
        self.end_s = max(self.end_s, frame.end_s)
        if self.tell is not None and self.num_frames % _TELL_EVERY == 0:
            self.tell(self.end_s)


def _verify_stream(
    decoder: StreamDecoder, num_bytes: int, *, quick: bool, tell: Callable[[float], None] | None
) -> VideoCheck:
    seen = _Pass(tell)
    for frame in _ends_of(decoder, seen) if quick else decoder.frames_from(0.0):
        seen.see(frame)
    problems = []
    if decoder.first_pts_s > 2 * decoder.period_s and not seen.damaged_s:
        problems.append(f"its first image comes at {decoder.first_pts_s:.3f} s: the beginning is missing")
    if seen.damaged_s:
        first_s, last_s = min(seen.damaged_s), max(seen.damaged_s)
        where = f"at {first_s:.3f} s" if first_s == last_s else f"between {first_s:.3f} s and {last_s:.3f} s"
        problems.append(f"{len(seen.damaged_s)} of {seen.num_frames} decoded frames are damaged, {where}")
    num_frames = None if quick else seen.num_frames
    missing = decoder.missing_end(num_frames=num_frames, end_s=seen.end_s)
    if missing is not None:
        problems.append(missing)
    return VideoCheck(
        decoder.path,
        tuple(problems),
        VideoSpan(seen.last_s, seen.last_end_s),
        seen.num_frames,
        (decoder.height, decoder.width),
        num_bytes,
        tuple(filter(None, [decoder.unread_tracks])),
    )


def _ends_of(decoder: StreamDecoder, seen: _Pass) -> Iterator[DecodedFrame]:
    """Yield the frames of the first and the last second, each once."""
    head_s = -1.0
    for frame in decoder.frames_from(0.0):
        if frame.pts_s > _HEAD_S:
            break
        head_s = frame.pts_s
        yield frame
    stated_s = decoder.stated_duration_s or 0.0
    back_s = _TAIL_S
    while True:
        num_before = seen.num_frames
        for frame in decoder.frames_from(max(0.0, stated_s - back_s)):
            # A decoder begins at a key frame, so more than the last second may come.
            if frame.pts_s > head_s and frame.pts_s >= stated_s - back_s:
                yield frame
        # Where the end is missing the last second is empty: what comes before it says how much is missing.
        if seen.num_frames > num_before or stated_s - back_s <= head_s:
            return
        back_s *= 4


def _verify_images(
    video: VideoToCheck, num_bytes: int, *, quick: bool, tell: Callable[[float], None] | None
) -> VideoCheck:
    with open_video(video.path, frame_fps=video.frame_fps) as images:
        size = (images.height, images.width)
        span = VideoSpan.of(images)
        num_frames = 0
        problems: list[str] = []
        try:
            if quick:
                ends_s = [0.0, images.duration_s - 0.5 / images.fps]
                num_frames = len(images.frames_played_at(ends_s))
            else:
                for _, pts_s in images.iterate():
                    num_frames += 1
                    if tell is not None and num_frames % _TELL_EVERY == 0:
                        tell(pts_s)
        except VideoError as err:
            problems.append(_without_path(str(err), video.path))
        return VideoCheck(video.path, tuple(problems), span, num_frames, size, num_bytes)
