"""Small videos whose brightness tells the number of the frame."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH, FPS = 48, 64, 10


def write_video(path: Path, num_frames: int, first_pts: int = 0, fps: int = FPS) -> Path:
    """Frame i is grey of brightness 2 i + 20 in its left half and dark in its right half."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = HEIGHT, WIDTH, "yuv420p", 4_000_000
        stream.gop_size = 5
        for index in range(num_frames):
            image = np.full((HEIGHT, WIDTH, 3), 10, dtype=np.uint8)
            image[:, : WIDTH // 2] = 2 * index + 20
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = first_pts + index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
