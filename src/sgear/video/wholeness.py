"""Whether a film that could be read to its end is as long as its file says.

A demuxer ends without an error where bytes are missing. So what was read is held against what the file states: its
size in bytes, the number of its frames, the length of its pictures, or the end of all its streams.
"""

from __future__ import annotations

import re
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from sgear.errors import VideoError
from sgear.video import ebml
from sgear.video.container_bytes import stated_bytes
from sgear.video.streams import END_OF_PACKETS, open_stream

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def missing_end(
    path: Path,
    *,
    num_frames: int | None,
    end_s: float,
    period_s: float,
) -> str | None:
    """Return what is missing of a film, or None.

    A file that states no length, such as a transport stream, counts as whole.

    Args:
        path: Video file.
        num_frames: Number of frames that were read; None where they were not counted.
        end_s: When the last of them has been shown, in seconds after the first one.
        period_s: Average time between two frames in seconds. Two of them may be missing.

    Raises:
        VideoError: If the file is missing, empty or not a video, or cannot be read.
    """
    container, stream = open_stream(path)
    with container:
        try:
            num_bytes, stated = path.stat().st_size, stated_bytes(path)
        except OSError as err:
            raise VideoError(f"{path}: the file cannot be read ({err.strerror}); check its disk") from err
        if stated > num_bytes:
            return f"the file is truncated: it has {num_bytes:,} bytes, by its own structure {stated:,}"
        if num_frames is not None and 0 < stream.frames <= num_frames:
            return None
        stated_s = _stated_end_s(container, stream, period_s)
        if stated_s is None or end_s + 2 * period_s >= stated_s:
            return None
        frames = f" and {stream.frames:,} frames" if stream.frames and num_frames is not None else ""
        read = f" and {num_frames:,} frames" if frames else ""
        return f"the file is truncated: its header states {stated_s:.3f} s{frames}, it holds {end_s:.3f} s{read}"


def broken_structure(path: Path) -> str | None:
    """Return where the structure of a Matroska or webm file breaks off; None of a whole one and of other containers.

    Of pictures whose codec has no checksums, such as VP9, this is the only sign that bytes were overwritten. What was
    overwritten within one picture leaves none.

    Raises:
        VideoError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != ebml.HEADER.to_bytes(4, "big"):
                return None
            num_bytes = path.stat().st_size
            place = ebml.first_break(file.fileno(), 0, stated_bytes(path) or num_bytes, num_bytes=num_bytes)
    except OSError as err:
        raise VideoError(f"{path}: the file cannot be read ({err.strerror}); check its disk") from err
    return None if place is None else f"its structure is damaged at byte {place:,}: what stood there is lost"


def stated_length_s(path: Path) -> float:
    """Return how long a film says it is, without decoding; 0 where it does not say.

    Raises:
        VideoError: If the file is missing, empty or not a video.
    """
    container, stream = open_stream(path)
    with container:
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / av.time_base


def _stated_end_s(container: InputContainer, stream: VideoStream, period_s: float) -> float | None:
    """Return when the pictures end according to the file, in seconds after their beginning."""
    if stream.time_base is None:
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska counts from the beginning of the file, at which the pictures need not begin.
    start_s = float((stream.start_time or 0) * stream.time_base)
    tags = (_CLOCK.fullmatch(text) for name, text in stream.metadata.items() if name.startswith("DURATION"))
    if tag := next(filter(None, tags), None):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - start_s
    if not container.duration:
        return None
    # One length for all streams: the sound may be longer than the pictures.
    end_s = container.duration / av.time_base
    return None if _demuxed_end_s(container) + 2 * period_s >= end_s else end_s - start_s


def _demuxed_end_s(container: InputContainer) -> float:
    end_s = 0.0
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except END_OF_PACKETS:
        # What cannot be read any more is the end of the file.
        return end_s
    return end_s
