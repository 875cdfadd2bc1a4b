"""Open a video file at its images, or say why that cannot be done, and check the times of its packets.

Demuxers hide two faults. They go on after damage with the next thing that they understand, and give the packets of two
recordings that were joined byte by byte as those of one, although both count their times from the same instant: a
random reading then lands in either. So the times of all packets are checked once, without decoding any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream
from jaxtyping import Float64
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.files import require_regular_file
from sgear.video.base import MAX_PIXELS, require_bearable

# ffmpeg probes a file by decoding from it, so the limit must be known before anything is opened. A file may name
# other files or addresses (playlists do); none but itself is read.
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
_FILE_OPTIONS = {"protocol_whitelist": "file"}
_OPEN_OPTIONS = {**_CODEC_OPTIONS, **_FILE_OPTIONS}
_NO_DECODER = {"codec_whitelist": "none"}
END_OF_PACKETS = (FFmpegError, IndexError)
"""Errors with which demuxing ends where no more can be read: ffmpeg's own, and PyAV's where damage looks like further
streams, over which it stumbles when all packets have come."""
_JOINED = "two recordings were joined"
_REMEDY = "separate them, or join them anew with one clock (ffmpeg's concat does)"
# An image of it that is never shown, only referred to, may have the time of the next one.
_HAS_UNSHOWN_IMAGES = "vp8"
_PLAYLISTS = ("hls", "dash", "concat", "imf", "sdp")


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file at the video track that players show, with one decoding thread.

    It is the one marked as the default; of several of these, or where there is none, the one with most pixels; of equal
    ones the first. Images that are attached, such as covers, are none.

    Raises:
        VideoError: If the file is missing, unreadable, empty or not a video.
    """
    require_regular_file(path, VideoError)
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    try:
        container = _open(path, _OPEN_OPTIONS)
    except PermissionError as err:
        raise VideoError(
            f"{path}: the file cannot be read ({err.strerror}); check its permissions and those of its folders"
        ) from err
    except (FFmpegError, ValueError) as err:
        # The error's own text begins with a number of ffmpeg's and ends with the path.
        reason = err.strerror if isinstance(err, FFmpegError) else err
        raise VideoError(
            f"{path}: not a readable video ({reason}); "
            "it is of another format, or truncated before its index: fetch it again"
        ) from err
    try:
        video = _video_stream(path, container)
        require_bearable(video.codec_context.height, video.codec_context.width, path)
    except BaseException:
        container.close()
        raise
    # With one thread an error belongs to the packet just sent; more threads also lose damage marks.
    video.codec_context.thread_count = 1
    # The decoder of hevc marks no damaged image, but it can refuse one.
    is_unmarked = video.codec_context.name == "hevc"
    video.codec_context.options = {**_CODEC_OPTIONS, **({"err_detect": "explode"} if is_unmarked else {})}
    return container, video


def unread_tracks(container: InputContainer, video: VideoStream) -> str | None:
    """Return which of several video tracks is read and which are not; None where there is one."""
    tracks = _real_tracks(container)
    if len(tracks) == 1:
        return None
    sizes = [f"track {track.index} ({track.codec_context.width}x{track.codec_context.height})" for track in tracks]
    read = sizes.pop(tracks.index(video))
    return f"it has several video tracks: {read} is read, as ffmpeg and players choose, and not {', '.join(sizes)}"


def stated_size(path: Path) -> tuple[int, int]:
    """Return height and width as the header states them, decoding nothing; zeros where it does not.

    Where images are larger than the limit, an opened stream does not tell how large.

    Raises:
        VideoError: If the file cannot be opened.
    """
    try:
        with _open(path, {**_FILE_OPTIONS, **_NO_DECODER}) as container:
            video = _video_stream(path, container)
            return video.codec_context.height, video.codec_context.width
    except (FFmpegError, ValueError) as err:
        raise VideoError(f"{path}: not a readable video ({err}); fetch it again") from err


def stated_length_s(path: Path) -> float:
    """Return how long a video says it is, without decoding; 0 where it does not say, or cannot be opened."""
    try:
        container, stream = open_stream(path)
    except VideoError:
        # Reading it says what is wrong with it.
        return 0.0
    with container:
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / av.time_base


def demuxed_end_s(path: Path) -> float:
    """Return when the last packet of all streams has been shown, in seconds by their own clock."""
    end_s, (container, _) = 0.0, open_stream(path)
    with container:
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except END_OF_PACKETS:
            # What cannot be read any more is the end of the file.
            return end_s
    return end_s


def _open(path: Path, options: dict[str, str]) -> InputContainer:
    # With the prefix, a colon in a file name is not taken for the end of a protocol.
    return av.open(f"file:{path}", metadata_errors="ignore", options=options)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    name = container.format.name
    if name.endswith("_pipe") or name == "image2":
        raise VideoError(
            f"{path}: a single image ({name.removesuffix('_pipe')}), not a video; a video made of images is "
            "given by their folder or their tar file"
        )
    if name in _PLAYLISTS:
        raise VideoError(f"{path}: a list of other files ({name}), not a video; give the video itself")
    videos = _real_tracks(container)
    if not videos or name == "tty":
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(f"{path}: no video stream (streams: {kinds}); give the file that holds the images")
    if any(video.codec_context is None for video in videos):
        raise VideoError(f"{path}: how its images are coded is not known; it is damaged, or encode it otherwise")
    # Players choose by the same rule: a small preview may come first.
    pixels = {video.index: video.codec_context.height * video.codec_context.width for video in videos}
    return max(videos, key=lambda video: (bool(video.disposition & Disposition.default), pixels[video.index]))


def _real_tracks(container: InputContainer) -> list[VideoStream]:
    # Covers of audio files are video streams to ffmpeg, and so is any text to its terminal player.
    return [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]


# Small facts by place and state of a file, so that one that did not change is gone through once.
_faults: dict[tuple[object, ...], str | None] = {}


def require_sound(path: Path, container: InputContainer, stream: VideoStream) -> None:
    """Check the times of the packets of a file.

    It is read to its end for that, except where its header has an index of all frames (mp4 and mov, not in fragments).

    Args:
        path: Video file.
        container: The same file, opened.
        stream: Its images.

    Raises:
        VideoError: If packets are lost, times run back or occur twice, or frames have no times.
    """
    try:
        state = path.stat()
    except OSError as err:
        raise VideoError(f"{path}: the file cannot be read ({err.strerror}); check its disk") from err
    key = (path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in _faults:
        _faults[key] = _fault(path, container, stream)
    if (fault := _faults[key]) is not None:
        raise VideoError(f"{path}: {fault}")


def _fault(path: Path, container: InputContainer, stream: VideoStream) -> str | None:
    name, repeats = container.format.name, stream.codec_context.name == _HAS_UNSHOWN_IMAGES
    if container.format.flags & Flags.no_timestamps.value:
        return f"a bare stream ({name}) does not say when its frames are shown; put it into an mp4 with its rate"
    if name.startswith("mov") and stream.frames > 0:
        rows = _indexed(stream)
    else:
        with _complaints(name) as complaints:
            whole, images = open_stream(path)
            with whole:
                rows = _demuxed(whole, images)
        if complaints:
            return f"its structure is damaged, and what stood there is lost ({complaints[0]}); fetch it again"
    pts, dts, is_key = rows.T
    if name == "avi":
        return _fault_of_count(dts, stream.frames)
    if name == "mpeg" and np.isnan(pts).any():
        return "it does not say when each of its frames is shown; encode it into an mp4"
    unit_s = float(stream.time_base or 1)
    return _turn(pts, dts, is_key > 0, unit_s) or (None if repeats else _repetition(pts, unit_s))


_Row = tuple[int | None, int | None, bool]


def _indexed(stream: VideoStream) -> Float64[np.ndarray, "N 3"]:
    entries = (entry for entry in stream.index_entries if not entry.is_discard)
    return _table([(entry.timestamp, entry.timestamp, entry.is_keyframe) for entry in entries])


def _demuxed(container: InputContainer, stream: VideoStream) -> Float64[np.ndarray, "N 3"]:
    rows: list[_Row] = []
    # What cannot be read any more is the end of the video.
    with contextlib.suppress(*END_OF_PACKETS):
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        rows.extend((packet.pts, packet.dts, packet.is_keyframe) for packet in packets)
    return _table(rows)


@contextlib.contextmanager
def _complaints(name: str) -> Iterator[list[str]]:
    """Collect where the demuxer of Matroska loses its thread: it says so in its log alone, and goes on behind.

    Of images whose codec has no checksums, such as VP9, this is the only sign that bytes were overwritten.
    """
    found: list[str] = []
    if not name.startswith("matroska"):
        yield found
        return
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as messages:
            yield found
    finally:
        av.logging.set_level(level)
    # Not those of a truncated file, which is read as far as it goes.
    found += [text.strip() for _, _, text in messages if "exceeds containing" in text or "EBML number" in text]


def _table(rows: list[_Row]) -> Float64[np.ndarray, "N 3"]:
    """Return presentation and decode times, in units of the stream and NaN where not stated, and which are keys."""
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _fault_of_count(dts: NDArray[np.float64], num_stated: int) -> str | None:
    """Return what is wrong with an avi, whose frames are timed by their number: a lost one moves all later ones."""
    num_found = int(np.fmax.reduce(dts, initial=-1)) + 1
    if num_found == num_stated:
        return None
    counts = f"its header states {num_stated:,} frames, it holds {num_found:,}"
    if num_found > num_stated > 0:
        return f"{counts}: {_JOINED}, or the file is damaged; {_REMEDY}"
    return f"{counts}; as frames of an avi have no times, none after the first gap is sure: fetch it again"


def _turn(pts: NDArray[np.float64], dts: NDArray[np.float64], is_key: NDArray[np.bool_], unit_s: float) -> str | None:
    """Return where times run back.

    Decode times ascend. Presentation times do not where frames are predicted from later ones, but every frame is shown
    after all that were decoded before its key frame: so decoding from any key frame finds the same frame.
    """
    if not len(pts):
        return None
    latest = np.fmax.accumulate(pts)
    key = np.maximum.accumulate(np.where(is_key, np.arange(len(pts)), 0))
    before_key = np.where(key > 0, latest[key - 1], -np.inf)
    stated = np.flatnonzero(~np.isnan(dts))
    turns = [*np.flatnonzero(pts < before_key), *stated[1:][np.diff(dts[stated]) < 0]]
    if not turns:
        return None
    first = min(turns)
    end, back = latest[first - 1], pts[first] if pts[first] < latest[first - 1] else dts[first]
    from_s, to_s = (np.array([end, back]) - np.fmin.reduce(pts[:first])) * unit_s
    return (
        f"its clock runs back from {from_s:.3f} s to {to_s:.3f} s, so one instant has two frames: {_JOINED} there, or "
        f"the file is damaged; {_REMEDY}"
    )


def _repetition(pts: NDArray[np.float64], unit_s: float) -> str | None:
    ascending = np.sort(pts[~np.isnan(pts)])
    twice = ascending[1:][np.diff(ascending) == 0]
    if not len(twice):
        return None
    instant_s = (twice[0] - ascending[0]) * unit_s
    return f"it has two frames at {instant_s:.3f} s: {_JOINED}, or its times are damaged; {_REMEDY}"
