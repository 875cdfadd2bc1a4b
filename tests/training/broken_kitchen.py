"""A small kitchen whose videos are then broken in known places, and what that leaves unreadable by counting alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.segments import SegmentTable

FPS = 10
TAU_A_S, TAU_O_S = 1.0, 3.0
KITCHEN = KitchenConfig(
    num_train_videos=4,
    num_validation_videos=3,
    num_unseen_participants=0,
    actions_per_video=6,
    height=48,
    width=48,
    fps=FPS,
)


def build(root: Path) -> Path:
    build_kitchen(root, KITCHEN, num_processes=1)
    return root


def video(root: Path, video_id: str) -> Path:
    return next((root / "videos").rglob(f"{video_id}.mp4"))


def remove(root: Path, video_id: str) -> None:
    video(root, video_id).unlink()


def packets_of(container: InputContainer) -> list[tuple[int, int, float]]:
    """Return where each packet begins and stops in its file, and its time in seconds."""
    found = []
    for packet in container.demux(video=0):
        if packet.size:
            assert packet.pos is not None
            assert packet.pts is not None
            assert packet.time_base is not None
            found.append((packet.pos, packet.pos + packet.size, float(packet.pts * packet.time_base)))
    return found


def cut(root: Path, video_id: str, share: float) -> float:
    """Keep the first part of a video whose index stands at its beginning; return the time of its last whole frame."""
    path, indexed = video(root, video_id), root / "indexed.mp4"
    with av.open(str(path)) as source, av.open(str(indexed), "w", options={"movflags": "faststart"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    content = indexed.read_bytes()[: round(indexed.stat().st_size * share)]
    with av.open(str(indexed)) as container:
        last_s = max(t_s for _, stop, t_s in packets_of(container) if stop <= len(content))
    indexed.unlink()
    path.write_bytes(content)
    return last_s


def damage(root: Path, video_id: str, first_s: float, stop_s: float) -> None:
    """Overwrite the images of all frames in [first_s, stop_s), which must begin and end at key frames."""
    path = video(root, video_id)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for begin, stop, t_s in packets_of(container):
            if first_s <= t_s < stop_s:
                # The first bytes of a packet are its length and type; only the image is destroyed.
                content[begin + 6 : stop] = random.Random(begin).randbytes(stop - begin - 6)
    path.write_bytes(bytes(content))


def windows(segments: SegmentTable, video_ids: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the instants that exist of each segment that shows something, counted anew."""
    found = {}
    for video_id in video_ids:
        for segment in segments.of_video(video_id):
            instants_s = [segment.start_s - TAU_A_S - back / 2 for back in range(round(TAU_O_S * 2))]
            real_s = np.array([t_s for t_s in instants_s if t_s > -1e-6])
            if len(real_s):
                found[segment.uid] = real_s
    return found
