"""Whether a video that could be read to its end is as long as its file says.

A demuxer ends without an error where bytes are missing. So what was read is checked against what the header states: the
number of its frames, the length of its images, or the end of all its streams.
"""

from __future__ import annotations

from pathlib import Path

import av

from sgear.errors import VideoError
from sgear.video.decoding import StreamDecoder
from sgear.video.streams import END_OF_PACKETS, open_stream


def missing_end(decoder: StreamDecoder, *, num_frames: int | None, end_s: float) -> str | None:
    """Return what is missing of a video, or None.

    A file that states no length, such as a transport stream, counts as whole.

    Args:
        decoder: The video; it may be closed.
        num_frames: Number of frames that were read; None where they were not counted.
        end_s: When the last of them has been shown, in seconds after the first one.
    """
    stated = decoder.num_frames or 0
    # Two frames may be missing.
    slack_s = 2 * decoder.period_s
    if num_frames is not None and 0 < stated <= num_frames:
        return None
    stated_s = decoder.stated_end_s
    if stated_s is None and decoder.container_end_s is not None:
        # One length for all streams: the sound may be longer than the images.
        whole_s = decoder.container_end_s
        stated_s = None if _demuxed_end_s(decoder.path) + slack_s >= whole_s else whole_s - decoder.start_s
    if stated_s is None or end_s + slack_s >= stated_s:
        return None
    frames = f" and {stated:,} frames" if stated and num_frames is not None else ""
    read = f" and {num_frames:,} frames" if frames else ""
    return f"the file is truncated: its header states {stated_s:.3f} s{frames}, it holds {end_s:.3f} s{read}"


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


def _demuxed_end_s(path: Path) -> float:
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
