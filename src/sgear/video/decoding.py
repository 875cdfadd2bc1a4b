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
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from sgear.errors import VideoError
from sgear.video.frames import quarter_turns

# What ffmpeg, too, assumes of a film that does not say its rate, such as one of a single frame.
_UNSTATED_FPS = 25.0
_UNKNOWN_KEY_DISTANCE_S = 2.0


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

    Raises:
        VideoError: If the file is missing, empty, not a video, or no frame of it can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container, self._stream = _open(path)
        try:
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.fps = float(rate) if rate else _UNSTATED_FPS
            self.period_s = 1 / self.fps
            self._time_base = self._stream.time_base or 1 / self.fps
            self._is_timed = self._container.format.name != "avi"
            self._zero: int = 0
            first = next((frame for frame in self._decode(from_key=False) if frame.image is not None), None)
            if first is None or first.image is None:
                raise VideoError(f"{path}: no frame can be decoded, the file is truncated or damaged; fetch it again")
            start = self._stream.start_time
            first_pts = round(first.pts_s / self._time_base)
            reorder = 2 * self.period_s / self._time_base
            is_whole = start is None or abs(first_pts - start) <= reorder or not self._is_timed
            self._zero = first_pts if is_whole or start is None else start
            self.first_pts_s = self._seconds(first_pts)
        except BaseException:
            self.close()
            raise
        is_upright = quarter_turns(first.image) % 2 == 0
        size = (first.image.height, first.image.width)
        self.height, self.width = size if is_upright else size[::-1]

    @property
    def num_frames(self) -> int | None:
        """Number of frames as the header states it, or None."""
        return self._stream.frames or None

    @property
    def stated_duration_s(self) -> float | None:
        """Duration as the header states it, or None."""
        if self._stream.duration:
            return float(self._stream.duration * self._time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames_from(self, t_s: float) -> Iterator[DecodedFrame]:
        """Play on from the last key frame at or before `t_s`; ends an earlier iterator.

        Args:
            t_s: Instant in seconds.

        Returns:
            Frames in order of time. The first is at or before `t_s`, or is the first of the film.
        """
        back_s = 0.0
        # Containers seek by decode times, and an index can point into damage, so a landing is checked.
        while self._is_timed and t_s - back_s > 0:
            if not self._seek(t_s - back_s):
                break
            frames = self._decode(from_key=True)
            first = next(frames, None)
            if first is not None and first.pts_s <= t_s:
                return chain([first], frames)
            back_s = max(1.0, 2 * back_s)
        self._container.close()
        self._container, self._stream = _open(self.path)
        return self._decode(from_key=False)

    def is_seek_shorter(self, here_s: float, t_s: float) -> bool:
        """Return whether a key frame lies between, so that a seek decodes less than playing on."""
        if not self._is_timed:
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
        clock = _FrameClock(self._is_timed, max(1, round(self.period_s / self._time_base)))
        for order, packet in enumerate(self._packets(from_key)):
            if self._is_timed and packet.pts is not None and not packet.is_discard:
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


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    if not path.is_file():
        raise VideoError(f"{path}: no such video file; check the path and the data root")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes), its copy or download failed; fetch it again")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (FFmpegError, ValueError) as err:
        raise VideoError(
            f"{path}: not a readable video ({err}); "
            "it is of another format, or truncated before its index: fetch it again"
        ) from err
    # Covers of audio files are video streams to ffmpeg, and so is any text to its terminal player.
    films = [film for film in container.streams.video if not film.disposition & Disposition.attached_pic]
    if not films or container.format.name == "tty":
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        container.close()
        raise VideoError(f"{path}: no video stream (streams: {kinds}); give the file that holds the pictures")
    film = films[0]
    # With one thread an error belongs to the packet just sent; more threads also lose damage marks.
    film.codec_context.thread_count = 1
    if film.codec_context.name == "hevc":
        # This decoder marks no damaged picture, but it can refuse one.
        film.codec_context.options = {"err_detect": "explode"}
    return container, film
