"""Videos whose images say their own number, and the slow way to read them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video import FrameCache, VideoReader, fill_frame_cache

HEIGHT, WIDTH = 48, 64
NUM_BITS = 12
_TIME_BASE = Fraction(1, 90_000)


def image_of(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A grid of 3 x 4 bright and dark blocks: the bits of `number`."""
    bits = np.array([number >> bit & 1 for bit in range(NUM_BITS)]).reshape(3, 4)
    rows, columns = np.arange(height) * 3 // height, np.arange(width) * 4 // width
    grey = np.where(bits[rows][:, columns], 215, 40).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def number_in(image: NDArray[np.uint8]) -> int:
    """Read the number of an image [H W 3] of any size."""
    height, width = image.shape[:2]
    centres = image[np.ix_((np.arange(3) * 2 + 1) * height // 6, (np.arange(4) * 2 + 1) * width // 8)]
    return sum(int(bit) << idx for idx, bit in enumerate((centres.mean(-1) > 127).ravel()))


def numbers_in(frames) -> list[int]:
    """Read the numbers of frames [T 3 H W]."""
    return [number_in(frame.permute(1, 2, 0).numpy()) for frame in frames]


def make_video(
    path: Path,
    pts_s: Sequence[Fraction | float],
    *,
    gop: int = 12,
    num_b: int = 0,
    codec: str = "libx264",
    rate: int = 30,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    pix_fmt: str = "yuv420p",
    x264: str = "",
    rotation: int = 0,
    noise: int = 0,
    held_s: float = 0.0,
    first: int = 0,
    image: Callable[[int, int, int], NDArray[np.uint8]] = image_of,
) -> Path:
    """Write a video with one numbered image for each time; the container follows the suffix.

    `noise` up to 40 makes its packets large, so that a decoder patches a damaged image instead of refusing it.
    `held_s` says how long the last frame is shown; then there may be no B-frames. Numbers begin with `first`.
    """
    is_avi = path.suffix == ".avi"
    with av.open(str(path), "w") as container:
        params = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={num_b}:b-adapt=0:{x264}".rstrip(":")
        options = {"x264-params": params} if codec == "libx264" else {"bf": str(num_b), "g": str(gop)}
        if codec.startswith("libvpx"):
            options |= {"deadline": "realtime", "cpu-used": "8"}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        # MPEG-2 counts frames as avi does.
        time_base = Fraction(1, rate) if is_avi or codec == "mpeg2video" else _TIME_BASE
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        packets: list[av.Packet] = []
        for number, time_s in enumerate(pts_s, start=first):
            grain = np.random.default_rng(number).integers(-noise, noise + 1, (*size, 3))
            pixels = (image(number, *size) + grain).astype(np.uint8)
            shown = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            shown.pts, shown.time_base = round(time_s / time_base), time_base
            packets += stream.encode(shown)
        packets += stream.encode()
        if held_s:
            packets[-1].duration = round(held_s / time_base)
        container.mux(packets)
    return path


def remuxed(source: Path, path: Path, *, shift_s: float = 0.0, **options: str) -> Path:
    """Copy the packets of a video to another container."""
    with av.open(str(source)) as video, av.open(str(path), "w", options=options) as copy:
        stream = copy.add_stream_from_template(video.streams.video[0])
        shift = round(shift_s / video.streams.video[0].time_base)
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                copy.mux(packet)
    return path


def add_sound(container: OutputContainer, length_s: float) -> Callable[[], None]:
    """Add a track of silence; what is returned writes it, once all tracks are there."""
    track = container.add_stream("aac", rate=16_000, layout="mono")

    def write() -> None:
        for start in range(0, round(length_s * 16_000), 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 16_000, start
            container.mux(track.encode(sound))
        container.mux(track.encode(None))

    return write


def with_sound(source: Path, path: Path, *lengths_s: float) -> Path:
    """Copy a video behind tracks of silence."""
    with av.open(str(source)) as video, av.open(str(path), "w") as copy:
        tracks = [add_sound(copy, length_s) for length_s in lengths_s]
        stream = copy.add_stream_from_template(video.streams.video[0])
        for write in tracks:
            write()
        for packet in video.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return path


def steady(num_frames: int, fps: int = 30) -> list[Fraction]:
    return [Fraction(idx, fps) for idx in range(num_frames)]


def decode_all(path: Path) -> list[tuple[float, int]]:
    """Every frame of an intact video: its time after the first one, and its number."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    zero = frames[0].pts
    return [
        (float((frame.pts - zero) * frame.time_base), number_in(frame.to_ndarray(format="rgb24"))) for frame in frames
    ]


def read_all(path: Path) -> list[tuple[float, int]]:
    """Time and number of every frame, as a reader sees them."""
    with VideoReader(path) as video:
        return [(pts_s, numbers_in(frame[None])[0]) for frame, pts_s in video.iterate()]


def played_at(video: list[tuple[float, int]], t_s: float) -> tuple[float, int]:
    """Return the latest frame at or before `t_s`, by looking at all of them."""
    return max((frame for frame in video if frame[0] <= t_s + TIME_TOLERANCE_S), key=lambda frame: frame[0])


def overwrite_packet(source: Path, out: Path, packet_idx: int, *, intact_share: float = 0.0) -> float:
    """Copy a video with random bytes in the place of one packet; return the packet's time after the start."""
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        zero = min(packet.pts for packet in packets)
        packet = packets[packet_idx]
        place, size = packet.pos, packet.size
        pts_s = float((packet.pts - zero) * packet.time_base)
    content = bytearray(source.read_bytes())
    # The first bytes of a packet are its length and type; only the image is destroyed.
    kept = max(6, round(intact_share * size))
    rest = bytes(size - kept) if intact_share else random.Random(5).randbytes(size - kept)
    content[place + kept : place + size] = rest
    out.write_bytes(content)
    return pts_s


def build_frame_cache(paths: Mapping[str, Path], root: Path, **options: Any) -> FrameCache:
    """Fill a frame cache and open it."""
    if failures := fill_frame_cache(paths, root, **options):
        raise VideoError("\n".join(failures.values()))
    return FrameCache(root)
