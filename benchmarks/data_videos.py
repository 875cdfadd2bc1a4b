"""Videos for the benchmarks: a textured scene that a shaking head pans over, with hands in front of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgear.video.training_copy import CopySettings
from sgear.video.transcode import plan_copies, transcode

HEIGHT, WIDTH = 256, 456
_SCENE = (900, 1600)


def _scene(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image with detail at all scales, as rooms have it."""
    total = np.zeros((*_SCENE, 3), dtype=np.float32)
    for cells in (4, 10, 25, 60, 150, 400):
        coarse = rng.integers(0, 256, (cells, cells * 16 // 9, 3), dtype=np.uint8)
        wide = Image.fromarray(coarse).resize(_SCENE[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(wide, dtype=np.float32) / cells**0.5
    total -= total.min()
    return (255 * total / total.max()).astype(np.uint8)


def make_video(path: Path, *, seconds: int = 60, fps: int = 30, key_distance: int = 250) -> Path:
    """Write a video of 456x256 pixels, unless it is there.

    Args:
        path: File to write (mp4).
        seconds: Length.
        fps: Frames per second.
        key_distance: Frames between two key frames; 250 is what x264 does when it is not told.
    """
    if path.is_file():
        return path
    rng = np.random.default_rng(0)
    scene = _scene(rng)
    hand = _scene(rng)[:90, :120]
    noise = rng.normal(32, 6.7, (7, HEIGHT, WIDTH, 3)).clip(0, 63).astype(np.uint8)
    times = np.arange(seconds * fps) / fps
    room_y, room_x = _SCENE[0] - HEIGHT, _SCENE[1] - WIDTH
    y = room_y * (0.5 + 0.3 * np.sin(0.31 * times) + 0.01 * np.sin(9.1 * times))
    x = room_x * (0.5 + 0.4 * np.sin(0.17 * times) + 0.01 * np.sin(7.3 * times))
    hand_x = (WIDTH - 120) * (0.5 + 0.5 * np.sin(1.9 * times))
    partial = path.with_suffix(".partial.mp4")
    options = {"preset": "fast", "g": str(key_distance), "keyint_min": str(key_distance)}
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(len(times)):
            top, left, at = int(y[index]), int(x[index]), int(hand_x[index])
            view = scene[top : top + HEIGHT, left : left + WIDTH].copy()
            view[-90:, at : at + 120] = hand
            # Without the noise of a sensor a video is small and quick to decode.
            view = (view // 4 * 3 + noise[index % len(noise)]).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(view, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    partial.rename(path)
    return path


def make_copy(video: Path) -> Path:
    """Return the training copy of a video, made as `sgear data transcode` makes it, unless it is there."""
    out = video.parent / "copies"
    result = transcode(plan_copies([video], out), out, CopySettings(), num_workers=1)
    assert not result.failures, result.failures
    return out / video.name
