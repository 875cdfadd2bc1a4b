"""A video stream as a row of timed frames, some of which may be beyond repair.

`frame_row` says which frames are damaged; here the file is opened once, its times are checked, and it is played from
any instant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn

import av
from av.error import FFmpegError

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import MAX_PIXELS, Orientation, orientation_of, require_bearable
from sgear.video.frame_row import FrameRow, RowFrame
from sgear.video.streams import END_OF_PACKETS, demuxed_end_s, open_stream, require_sound, stated_size, unread_tracks

# What ffmpeg, too, assumes of a video that does not say its rate, such as one of a single frame.
_UNSTATED_FPS = 25.0
# Recorders that state no rate leave the unit of their times in its place: 1000 or 90000 a second.
_IMPLAUSIBLE_FPS = 1000
_NUM_COUNTED_FRAMES = 100
_UNKNOWN_KEY_DISTANCE_S = 2.0
_RANDOM_ACCESS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
# Elsewhere a seek is a guess, such as in MPEG program streams, where several frames may share one packet and one time.
_SEEKABLE = _RANDOM_ACCESS | {"mpegts", "flv", "asf"}
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame of the video.

    Args:
        pts_s: When it is shown, in seconds.
        end_s: When it has been shown, if no other frame follows, in seconds.
        image: The image; None where it cannot be decoded.
    """

    pts_s: float
    end_s: float
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
        stated_end_s: When its images end according to the header, in seconds after their beginning, or None.
        pixel_aspect: Width of one pixel relative to its height, before rotation, as the header states it, or None.
        orientation: How the images are turned for display.
        container_name: What ffmpeg calls the container, such as `avi`.
        unread_tracks: Which other video tracks there are that are not read, or None.

    Raises:
        VideoError: If the file is missing, empty, not a video, `require_sound` refuses it, or no frame of it can be
            decoded.
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
            self._recovers_late = False
            require_sound(path, self._container, self._stream)
            self._zero: int = 0
            self._begun: Iterator[RowFrame] | None = None
            first = self._read_beginning()
            self.orientation = self._orientation_of(first)
            self.height, self.width = self.orientation.size(first.height, first.width)
        except BaseException:
            self.close()
            raise

    def _read_beginning(self) -> av.VideoFrame:
        """Decode up to the first intact frame, and find the instant from which times are counted."""
        start, seen, rows = self._stream.start_time, [], self._decode(from_key=False)
        for frame in rows:
            seen.append(frame)
            if frame.image is not None:
                break
        else:
            self._refuse()
        # The first to read from the beginning goes on from here.
        self._begun = chain(seen, rows)
        assert frame.image is not None, "the loop ended at an image"
        first_pts = frame.pts
        if not self.is_timed:
            # The first frame comes out after as many packets as the decoder needs to put them in order.
            self._zero = first_pts if len(seen) == 1 else self._stream.codec_context.reorder_depth
        else:
            reorder = 2 * self.period_s / self._time_base
            is_whole = start is None or abs(first_pts - start) <= reorder
            self._zero = first_pts if is_whole or start is None else start
        self.first_pts_s = self._seconds(first_pts)
        return frame.image

    def _orientation_of(self, image: av.VideoFrame) -> Orientation:
        try:
            return orientation_of(image)
        except VideoError as err:
            raise VideoError(f"{self.path}: {err}") from err

    def _refuse(self) -> NoReturn:
        require_bearable(*stated_size(self.path), self.path)
        raise VideoError(
            f"{self.path}: no frame can be decoded, the file is truncated or damaged, or its images have more "
            f"than {MAX_PIXELS} pixels; fetch it again, or make a smaller copy"
        )

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
        self.num_frames: int | None = stream.frames or None
        self.pixel_aspect: Fraction | None = stream.sample_aspect_ratio or None
        length_s = float(stream.duration * self._time_base) if stream.duration else None
        container_s = container.duration / av.time_base if container.duration else None
        self.stated_duration_s: float | None = container_s if length_s is None else length_s
        # Matroska counts from the beginning of the file, at which the images need not begin.
        start_s = float((stream.start_time or 0) * self._time_base)
        tags = (_CLOCK.fullmatch(text) for name, text in stream.metadata.items() if name.startswith("DURATION"))
        if length_s is None and (tag := next(filter(None, tags), None)):
            length_s = int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - start_s
        self.stated_end_s: float | None = length_s
        self._container_end_s: float | None = container_s
        self._start_s = start_s
        self.unread_tracks = unread_tracks(container, stream)

    @property
    def is_random_access(self) -> bool:
        """Whether the frame of any instant is found without playing from the beginning, and surely the right one."""
        return self.container_name in _RANDOM_ACCESS

    @property
    def time_base(self) -> Fraction:
        """Unit of the stream's times in seconds; every `pts_s` is a whole number of them."""
        return Fraction(self._time_base)

    def close(self) -> None:
        """Close the file; reading is then an error."""
        self._is_open = False
        self._container.close()

    def require_open(self) -> None:
        """Raise a ValueError if the file was closed."""
        if not self._is_open:
            raise ValueError(f"{self.path}: this video was closed; open it again")

    def frames_from(self, t_s: float) -> Iterator[DecodedFrame]:
        """Play on from the last key frame at or before `t_s`; ends an earlier iterator.

        Args:
            t_s: Instant in seconds.

        Returns:
            Frames in order of time. The first is at or before `t_s`, or is the first of the video.

        Raises:
            ValueError: If the file was closed.
        """
        self.require_open()
        begun, self._begun = self._begun, None
        if begun is not None and not self.is_seek_shorter(self.first_pts_s, t_s):
            return map(self._decoded, begun)
        back_s = 0.0
        # Containers seek by decode times, and an index can point into damage, so a landing is checked.
        while self._seeks and t_s - back_s > 0:
            if not self._seek(t_s - back_s):
                break
            frames = map(self._decoded, self._decode(from_key=True))
            first = next(frames, None)
            if first is not None and first.pts_s <= t_s:
                return chain([first], frames)
            back_s = max(1.0, 2 * back_s)
        self._container.close()
        self._container, self._stream = open_stream(self.path)
        return map(self._decoded, self._decode(from_key=False))

    def is_seek_shorter(self, here_s: float, t_s: float) -> bool:
        """Return whether a key frame lies between, so that a seek decodes less than playing on.

        Raises:
            ValueError: If the file was closed.
        """
        self.require_open()
        if not self._seeks:
            return False
        entries = self._stream.index_entries
        target = self._pts(t_s)
        if len(entries) < 2 or entries[-1].timestamp < target:
            return t_s - here_s > _UNKNOWN_KEY_DISTANCE_S
        key_idx = entries.search_timestamp(target, backward=True, any_frame=False)
        # A seek throws away the images inside the decoder, about four periods of work.
        return key_idx >= 0 and self._seconds(entries[key_idx].timestamp) > here_s + 4 * self.period_s

    def missing_end(self, *, num_frames: int | None, end_s: float) -> str | None:
        """Return what is missing of the video, or None; the file may be closed.

        A demuxer ends without an error where bytes are missing. So what was read is checked against what the header
        states: the number of frames, the length of the images, or the end of all streams. A file that states no length,
        such as a transport stream, counts as whole.

        Args:
            num_frames: Number of frames that were read; None where they were not counted.
            end_s: When the last of them has been shown, in seconds after the first one.
        """
        stated = self.num_frames or 0
        # Two frames may be missing.
        slack_s = 2 * self.period_s
        if num_frames is not None and 0 < stated <= num_frames:
            return None
        stated_s = self.stated_end_s
        if stated_s is None and self._container_end_s is not None:
            # One length for all streams: the sound may be longer than the images.
            whole_s = self._container_end_s
            stated_s = None if demuxed_end_s(self.path) + slack_s >= whole_s else whole_s - self._start_s
        if stated_s is None or end_s + slack_s >= stated_s:
            return None
        frames = f" and {stated:,} frames" if stated and num_frames is not None else ""
        read = f" and {num_frames:,} frames" if frames else ""
        return f"the file is truncated: its header states {stated_s:.3f} s{frames}, it holds {end_s:.3f} s{read}"

    @property
    def _seeks(self) -> bool:
        return self.container_name in _SEEKABLE and not self._recovers_late

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
        except END_OF_PACKETS:
            # What cannot be read any more is the end of the video; asking for later frames is then an error.
            return

    def _decode(self, *, from_key: bool) -> Iterator[RowFrame]:
        period = max(1, round(self.period_s / self._time_base))
        row = FrameRow(is_timed=self.is_timed, begins_anywhere=from_key, period=period)
        key_pts: int | None = None
        for order, packet in enumerate(self._packets(from_key)):
            pts = packet.pts if self.is_timed else packet.dts
            if pts is not None and not packet.is_discard:
                row.expect(pts, order)
                key_pts = pts if order == 0 else key_pts
            if packet.is_corrupt:
                # Packets cut out of a stream may get the mark of the one behind them.
                row.fail(order)
                row.fail(order + 1)
            try:
                images = packet.decode()
            except FFmpegError:
                row.fail(order)
                images = []
            for image in images:
                assert isinstance(image, av.VideoFrame)
                if from_key and key_pts is not None and row.is_untouched and (image.pts or 0) > key_pts:
                    # No image stands for itself here: what is shown after a while is not all of what it should be.
                    self._recovers_late = True
                    return
                if not row.show(image, order):
                    self._refuse_turn(image)
            yield from row.settled()
        yield from row.rest()

    def _decoded(self, frame: RowFrame) -> DecodedFrame:
        shown_s = 0.0
        if frame.image is not None and frame.image.time_base is not None:
            shown_s = float((frame.image.duration or 0) * frame.image.time_base)
        pts_s = self._seconds(frame.pts)
        # Encoders rarely know how long the last frame is shown; a container may say that it is held.
        return DecodedFrame(pts_s, pts_s + max(self.period_s, shown_s), frame.image)

    def _refuse_turn(self, image: av.VideoFrame) -> NoReturn:
        raise VideoError(
            f"{self.path}: a frame comes out of turn at {self._seconds(image.pts or 0):.3f} s, so this file does not "
            "say when its frames are shown; encode it into an mp4"
        )


def with_kept(decoder: StreamDecoder, fps: float) -> Iterator[tuple[DecodedFrame, bool]]:
    """Yield each frame of a video, and whether one of the instants i/fps falls into the time while it is shown."""
    tick = 0
    current: DecodedFrame | None = None
    for following in decoder.frames_from(0.0):
        if current is not None:
            is_kept = tick / fps + TIME_TOLERANCE_S < following.pts_s
            yield current, is_kept
            while tick / fps + TIME_TOLERANCE_S < following.pts_s:
                tick += 1
        current = following
    assert current is not None, "a video that opened has a frame"
    yield current, tick / fps + TIME_TOLERANCE_S < current.end_s
