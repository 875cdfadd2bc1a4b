"""A video stream as a row of timed frames, some of which may be beyond repair.

A decoder hides damage: it fills holes with old pixels, and goes on from a broken picture until the next key
frame. Here every frame that refers to something damaged is marked. For that, frames are held back until all
packets that were decoded before them have come out: a B-frame is shown before the later picture it was
predicted from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.video.frames import quarter_turns
from sgear.video.pictures import MAX_PIXELS, require_bearable

# What ffmpeg, too, assumes of a film that does not say its rate, such as one of a single frame.
_UNSTATED_FPS = 25.0
# Recorders that state no rate leave the unit of their times in its place: 1000 or 90000 a second.
_IMPLAUSIBLE_FPS = 1000
_NUM_COUNTED_FRAMES = 100
_UNKNOWN_KEY_DISTANCE_S = 2.0
# ffmpeg probes a file by decoding from it, so the limit must be known before anything is opened. A file may name
# other files or addresses (playlists do); none but itself is read.
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
_OPEN_OPTIONS = {**_CODEC_OPTIONS, "protocol_whitelist": "file"}
_PLAYLISTS = ("hls", "dash", "concat", "imf", "sdp")


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame of the film at `pts_s` seconds; `image` is None where it cannot be decoded."""

    pts_s: float
    image: av.VideoFrame | None


@dataclass
class _HeldFrame:
    order: int
    pts: int
    image: av.VideoFrame | None


class StreamDecoder:
    """Plays the first real video stream of a file from any instant.

    Times are seconds after the stream's first frame, so a container that starts at 1.4 s still starts at 0.
    If the beginning of the stream cannot be decoded, 0 stays where the container says that the stream starts.
    Containers without presentation times (avi) get them from the order of the frames, and are only read in
    sequence.

    Args:
        path: File of any format that ffmpeg reads.

    Attributes:
        num_frames: Number of frames as the header states it, or None.
        stated_duration_s: Duration in seconds as the header states it, or None.
        pixel_aspect: Width of one pixel relative to its height, before rotation, as the header states it, or None.
        container_name: What ffmpeg calls the container, such as `avi`.
        stream_idx: Place of the stream among all streams of the file.

    Raises:
        VideoError: If the file is missing, empty, not a video, or no frame of it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_open = True
        self._container, self._stream = open_stream(path)
        try:
            self.fps = self._stated_fps() or self._counted_fps() or _UNSTATED_FPS
            self.period_s = 1 / self.fps
            self._time_base = self._stream.time_base or 1 / self.fps
            self._read_header()
            self.is_timed = self.container_name != "avi"
            self._zero: int = 0
            first = next((frame for frame in self._decode(from_key=False) if frame.image is not None), None)
            if first is None or first.image is None:
                raise VideoError(
                    f"{path}: no frame can be decoded, the file is truncated or damaged, or its pictures have more "
                    f"than {MAX_PIXELS} pixels; fetch it again, or make a smaller copy"
                )
            start = self._stream.start_time
            first_pts = round(first.pts_s / self._time_base)
            reorder = 2 * self.period_s / self._time_base
            is_whole = start is None or abs(first_pts - start) <= reorder or not self.is_timed
            self._zero = first_pts if is_whole or start is None else start
            self.first_pts_s = self._seconds(first_pts)
        except BaseException:
            self.close()
            raise
        is_upright = quarter_turns(first.image) % 2 == 0
        size = (first.image.height, first.image.width)
        self.height, self.width = size if is_upright else size[::-1]

    def _stated_fps(self) -> float | None:
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        return next((float(rate) for rate in rates if rate and rate < _IMPLAUSIBLE_FPS), None)

    def _counted_fps(self) -> float | None:
        packets = islice(self._packets(from_key=False), _NUM_COUNTED_FRAMES)
        pts = sorted(packet.pts for packet in packets if packet.pts is not None)
        self._container.close()
        self._container, self._stream = open_stream(self.path)
        if len(pts) < 2 or pts[-1] == pts[0] or self._stream.time_base is None:
            return None
        return (len(pts) - 1) / float((pts[-1] - pts[0]) * self._stream.time_base)

    def _read_header(self) -> None:
        # Now: after closing, PyAV would answer from memory that is free.
        stream, container = self._stream, self._container
        self.container_name = container.format.name
        self.stream_idx = stream.index
        self.num_frames: int | None = stream.frames or None
        self.pixel_aspect: Fraction | None = stream.sample_aspect_ratio or None
        self.stated_duration_s: float | None = None
        if stream.duration:
            self.stated_duration_s = float(stream.duration * self._time_base)
        elif container.duration:
            self.stated_duration_s = container.duration / av.time_base

    @property
    def time_base(self) -> Fraction:
        """Unit of the stream's times in seconds; every `pts_s` is a whole number of them."""
        return Fraction(self._time_base)

    @property
    def zero_s(self) -> float:
        """Presentation time, in the container's own count, from which times here are counted."""
        return float(self._zero * self._time_base)

    def stated_times_s(self) -> NDArray[np.float64]:
        """Return the times of all frames that the file says it holds, ascending, without decoding them.

        Raises:
            ValueError: If the file was closed.
        """
        self.require_open()
        self._container.close()
        self._container, self._stream = open_stream(self.path)
        packets = self._packets(from_key=False)
        pts = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)
        return np.array([self._seconds(value) for value in pts], dtype=np.float64)

    def close(self) -> None:
        """Close the file; reading is then an error."""
        self._is_open = False
        self._container.close()

    def require_open(self) -> None:
        """Raise a ValueError if the file was closed."""
        if not self._is_open:
            raise ValueError(f"{self.path}: this film was closed; open it again")

    def frames_from(self, t_s: float) -> Iterator[DecodedFrame]:
        """Play on from the last key frame at or before `t_s`; ends an earlier iterator.

        Args:
            t_s: Instant in seconds.

        Returns:
            Frames in order of time. The first is at or before `t_s`, or is the first of the film.

        Raises:
            ValueError: If the file was closed.
        """
        self.require_open()
        back_s = 0.0
        # Containers seek by decode times, and an index can point into damage, so a landing is checked.
        while self.is_timed and t_s - back_s > 0:
            if not self._seek(t_s - back_s):
                break
            frames = self._decode(from_key=True)
            first = next(frames, None)
            if first is not None and first.pts_s <= t_s:
                return chain([first], frames)
            back_s = max(1.0, 2 * back_s)
        self._container.close()
        self._container, self._stream = open_stream(self.path)
        return self._decode(from_key=False)

    def is_seek_shorter(self, here_s: float, t_s: float) -> bool:
        """Return whether a key frame lies between, so that a seek decodes less than playing on.

        Raises:
            ValueError: If the file was closed.
        """
        self.require_open()
        if not self.is_timed:
            return False
        entries = self._stream.index_entries
        target = self._pts(t_s)
        if len(entries) < 2 or entries[-1].timestamp < target:
            return t_s - here_s > _UNKNOWN_KEY_DISTANCE_S
        key_idx = entries.search_timestamp(target, backward=True, any_frame=False)
        # A seek throws away the pictures inside the decoder, about four periods of work.
        return key_idx >= 0 and self._seconds(entries[key_idx].timestamp) > here_s + 4 * self.period_s

    def _seconds(self, pts: int) -> float:
        return float((pts - self._zero) * self._time_base)

    def _pts(self, t_s: float) -> int:
        return self._zero + math.floor(t_s / self._time_base)

    def _seek(self, t_s: float) -> bool:
        try:
            self._container.seek(self._pts(t_s), stream=self._stream)
        except FFmpegError:
            return False
        return True

    def _packets(self, from_key: bool) -> Iterator[av.Packet]:
        is_running = not from_key
        try:
            for packet in self._container.demux(self._stream):
                is_running = is_running or packet.is_keyframe
                if is_running:
                    yield packet
        except FFmpegError:
            # What cannot be read any more is the end of the film; asking for later frames is then an error.
            return

    def _decode(self, *, from_key: bool) -> Iterator[DecodedFrame]:
        inside: dict[int, int] = {}
        damage: list[int] = []
        held: list[_HeldFrame] = []
        latest = -math.inf
        clock = _FrameClock(self.is_timed, max(1, round(self.period_s / self._time_base)))
        for order, packet in enumerate(self._packets(from_key)):
            if self.is_timed and packet.pts is not None and not packet.is_discard:
                inside[packet.pts] = order
            if packet.is_corrupt:
                damage.append(order)
            try:
                images = packet.decode()
            except FFmpegError:
                damage.append(order)
                images = []
            for image in images:
                assert isinstance(image, av.VideoFrame)
                pts = clock.pts_of(image)
                # After damage a decoder may let go of a frame late, when its turn has passed and it counts as lost.
                if pts <= latest:
                    continue
                latest = pts
                own = inside.pop(pts, order)
                held += _lost_frames(inside, damage, before=pts)
                if image.is_corrupt:
                    damage.append(own)
                    for frame in held:
                        frame.image = None if frame.order > own else frame.image
                elif image.key_frame:
                    damage = [failed for failed in damage if failed >= own]
                is_damaged = any(failed <= own for failed in damage)
                held.append(_HeldFrame(own, pts, None if is_damaged else image))
            while held and min(inside.values(), default=math.inf) > held[0].order:
                frame = held.pop(0)
                yield DecodedFrame(self._seconds(frame.pts), frame.image)
        held += _lost_frames(inside, damage, before=math.inf)
        yield from (DecodedFrame(self._seconds(frame.pts), frame.image) for frame in held)


class _FrameClock:
    """Gives each frame that leaves the decoder its time, in units of the stream's time base."""

    def __init__(self, is_timed: bool, period: int) -> None:
        self._is_timed = is_timed
        self._period = period
        self._latest: int | None = None

    def pts_of(self, image: av.VideoFrame) -> int:
        # In avi the pts are guesses that may run backwards; the decode times count the shown frames.
        stated = image.pts if self._is_timed else image.dts
        following = 0 if self._latest is None else self._latest + self._period
        is_usable = stated is not None and (self._is_timed or self._latest is None or stated > self._latest)
        self._latest = stated if stated is not None and is_usable else following
        return self._latest


def _lost_frames(inside: dict[int, int], damage: list[int], *, before: int | float) -> list[_HeldFrame]:
    """Take out the packets whose turn has passed. Without damage nearby they never held a frame to show."""
    lost = [(pts, inside.pop(pts)) for pts in sorted(pts for pts in inside if pts < before)]
    return [_HeldFrame(order, pts, None) for pts, order in lost] if damage else []


def with_kept(decoder: StreamDecoder, fps: float) -> Iterator[tuple[DecodedFrame, bool]]:
    """Yield each frame of a film, and whether one of the instants i/fps falls into the time while it is shown."""
    tick = 0
    current: DecodedFrame | None = None
    for following in decoder.frames_from(0.0):
        if current is not None:
            is_kept = tick / fps < following.pts_s
            yield current, is_kept
            while tick / fps < following.pts_s:
                tick += 1
        current = following
    assert current is not None, "a film that opened has a frame"
    yield current, tick / fps < current.pts_s + decoder.period_s


def open_stream(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file at its first real video stream, with one decoding thread.

    Raises:
        VideoError: If the file is missing, unreadable, empty or not a video.
    """
    try:
        num_bytes = path.stat().st_size if path.is_file() else None
    except OSError as err:
        raise _closed_to_us(path, err) from err
    if num_bytes is None:
        raise VideoError(f"{path}: no such video file; check the path and the data root")
    if num_bytes == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    try:
        # With the prefix, a colon in a file name is not taken for the end of a protocol.
        container = av.open(f"file:{path}", metadata_errors="ignore", options=_OPEN_OPTIONS)
    except PermissionError as err:
        raise _closed_to_us(path, err) from err
    except (FFmpegError, ValueError) as err:
        # The error's own text begins with a number of ffmpeg's and ends with the path.
        reason = err.strerror if isinstance(err, FFmpegError) else err
        raise VideoError(
            f"{path}: not a readable video ({reason}); "
            "it is of another format, or truncated before its index: fetch it again"
        ) from err
    try:
        film = _film_stream(path, container)
        require_bearable(film.codec_context.height, film.codec_context.width, path)
    except BaseException:
        container.close()
        raise
    # With one thread an error belongs to the packet just sent; more threads also lose damage marks.
    film.codec_context.thread_count = 1
    # The decoder of hevc marks no damaged picture, but it can refuse one.
    is_unmarked = film.codec_context.name == "hevc"
    film.codec_context.options = {**_CODEC_OPTIONS, **({"err_detect": "explode"} if is_unmarked else {})}
    return container, film


def _closed_to_us(path: Path, err: OSError) -> VideoError:
    return VideoError(
        f"{path}: the file cannot be read ({err.strerror}); check its permissions and those of its folders"
    )


def _film_stream(path: Path, container: InputContainer) -> VideoStream:
    name = container.format.name
    if name.endswith("_pipe") or name == "image2":
        raise VideoError(
            f"{path}: a single picture ({name.removesuffix('_pipe')}), not a video; a film made of pictures is "
            "given by their folder or their tar file"
        )
    if name in _PLAYLISTS:
        raise VideoError(f"{path}: a list of other files ({name}), not a video; give the video itself")
    # Covers of audio files are video streams to ffmpeg, and so is any text to its terminal player.
    films = [film for film in container.streams.video if not film.disposition & Disposition.attached_pic]
    if not films or name == "tty":
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(f"{path}: no video stream (streams: {kinds}); give the file that holds the pictures")
    return films[0]
