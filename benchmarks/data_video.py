"""Windows of 15 steps at 1 fps from videos and from their training copies: ratios for `benchmarks/data.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from data_ratios import Ratio, Sizes, compare, in_turns, one_thread
from data_videos import HEIGHT, WIDTH, make_copy, make_video
from numpy.typing import NDArray

from sgear.video.base import FrameConverter
from sgear.video.pool import VideoPool
from sgear.video.training_copy import CopySettings

STEPS = 15
Convert = Callable[[av.VideoFrame], NDArray[np.uint8]]


def draw_ends(sizes: Sizes) -> list[float]:
    """Return where windows end, anywhere in the video, in no order."""
    return np.random.default_rng(2).uniform(STEPS, sizes.seconds - 1, sizes.num_windows).tolist()


def every_frame(path: Path, end_s: float, fps: int, convert: Convert) -> NDArray[np.uint8]:
    """Decode and convert all frames of the window, then keep 15 of them.

    Source:
        ADiko1997/S-GEAR datasets/base_video_dataset.py, which reads the whole window by torchvision's `read_video`: a
        seek to the key frame before, every frame after it decoded, made an RGB array by `to_rgb`, and stacked.
    """
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        assert video.time_base is not None
        begin_s = end_s - STEPS
        container.seek(int(begin_s / video.time_base), stream=video)
        images = []
        for frame in container.decode(video):
            assert frame.time is not None
            if frame.time > end_s:
                break
            if frame.time > begin_s:
                images.append(convert(frame))
    return np.stack(images)[fps - 1 :: fps]


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Convert a frame as torchvision does: the conversion is set up anew for each."""
    return frame.to_rgb().to_ndarray()


def played_at(pool: VideoPool, name: str, end_s: float) -> object:
    """Read the 15 frames and no others."""
    return pool.frames_played_at(name, end_s - np.arange(STEPS - 1, -1, -1.0))


def video_ratios(folder: Path, *, rounds: int, sizes: Sizes) -> list[Ratio]:
    """Compare 15 frames of a window with all frames of it, at 30 and 60 fps, of a video and of its training copy."""
    with one_thread():
        return [ratio for fps in (30, 60) for ratio in _ratios_at(fps, folder, rounds=rounds, sizes=sizes)]


def _ratios_at(fps: int, folder: Path, *, rounds: int, sizes: Sizes) -> list[Ratio]:
    original = make_video(folder / f"original-{fps}.mp4", seconds=sizes.seconds, fps=fps)
    videos = {"original": original, "copy": make_copy(original)}
    pool, ends = VideoPool(videos), draw_ends(sizes)

    def each_end(read: Callable[[float], object]) -> tuple[Callable[[], object], int]:
        return lambda: [read(end_s) for end_s in ends], len(ends)

    def all_frames(name: str, convert: Convert) -> tuple[Callable[[], object], int]:
        return each_end(lambda end_s: every_frame(videos[name], end_s, fps, convert))

    ways = {
        "released": all_frames("original", to_rgb),
        "released on the copy": all_frames("copy", to_rgb),
        "strict": all_frames("original", FrameConverter(HEIGHT, WIDTH)),
        "original": each_end(lambda end_s: played_at(pool, "original", end_s)),
        "copy": each_end(lambda end_s: played_at(pool, "copy", end_s)),
    }
    taken = in_turns(ways, rounds=rounds)
    factor, gop = fps // 30, CopySettings().gop
    asked = f"15 frames of 15 s at {fps} fps"
    return [
        compare(
            f"{asked}, key frames 250 apart, against all of them as released",
            taken["original"],
            taken["released"],
            target=2.0 * factor,
        ),
        compare(
            f"{asked} of the training copy (key frames {gop} apart), against all frames of the original",
            taken["copy"],
            taken["released"],
            target=3.5 * factor,
        ),
        compare(f"{asked} of the copy, against all frames of the copy", taken["copy"], taken["released on the copy"]),
        compare(f"{asked}, against all with one conversion set up once", taken["original"], taken["strict"]),
        compare(f"{asked} of the copy, against the same of the original", taken["copy"], taken["strict"]),
    ]
