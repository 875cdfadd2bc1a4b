"""What has to hold of a video file before its first frame is read: no packet is lost, and every instant has one frame.

Demuxers hide both faults. They go on after damage with the next thing that they understand, and give the packets of two
recordings that were joined byte by byte as those of one, although both count their times from the same instant: a
random reading then lands in either. So the times of all packets are checked once, without decoding any.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream
from jaxtyping import Float64
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.video.streams import END_OF_PACKETS, open_stream
from sgear.video.wholeness import broken_structure

_JOINED = "two recordings were joined"
_REMEDY = "separate them, or join them anew with one clock (ffmpeg's concat does)"
# A picture of it that is never shown, only referred to, may have the time of the next one.
_HAS_UNSHOWN_PICTURES = "vp8"


def require_sound(path: Path) -> None:
    """Check the structure of a file and the times of its packets; a file that did not change is checked once.

    It is read to its end for that, except where its header has an index of all frames (mp4 and mov, not in fragments).

    Args:
        path: Video file that can be opened.

    Raises:
        VideoError: If packets are lost, times run back or occur twice, or frames have no times.
    """
    try:
        state = path.stat()
    except OSError as err:
        raise VideoError(f"{path}: the file cannot be read ({err.strerror}); check its disk") from err
    fault = _fault(path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    if fault is not None:
        raise VideoError(f"{path}: {fault}")


@lru_cache(maxsize=4096)
def _fault(path: Path, *_state: int) -> str | None:
    if broken := broken_structure(path):
        return f"{broken}; fetch it again"
    container, stream = open_stream(path)
    with container:
        name = container.format.name
        if container.format.flags & Flags.no_timestamps.value:
            return f"a bare stream ({name}) does not say when its frames are shown; put it into an mp4 with its rate"
        has_index = name.startswith("mov") and stream.frames > 0
        pts, dts, is_key = (_indexed(stream) if has_index else _demuxed(container, stream)).T
        if name == "avi":
            return _fault_of_count(dts, stream.frames)
        if name == "mpeg" and np.isnan(pts).any():
            return "it does not say when each of its frames is shown; encode it into an mp4"
        unit_s = float(stream.time_base or 1)
        repeats = stream.codec_context.name == _HAS_UNSHOWN_PICTURES
        return _turn(pts, dts, is_key > 0, unit_s) or (None if repeats else _repetition(pts, unit_s))


_Row = tuple[int | None, int | None, bool]


def _indexed(stream: VideoStream) -> Float64[np.ndarray, "N 3"]:
    entries = (entry for entry in stream.index_entries if not entry.is_discard)
    return _table([(entry.timestamp, entry.timestamp, entry.is_keyframe) for entry in entries])


def _demuxed(container: InputContainer, stream: VideoStream) -> Float64[np.ndarray, "N 3"]:
    rows: list[_Row] = []
    # What cannot be read any more is the end of the film.
    with contextlib.suppress(*END_OF_PACKETS):
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        rows.extend((packet.pts, packet.dts, packet.is_keyframe) for packet in packets)
    return _table(rows)


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
