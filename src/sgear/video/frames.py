"""Frames as the rest of sgear sees them, and the one way from a decoded picture to pixels.

swscale converts the colours and resizes in a single pass, so the full-size RGB picture is never built.
Rotation and mirroring that the file states are applied here; the shape of single pixels (sample aspect ratio) is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import VideoError
from sgear.video.orientation import orientation_of


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames of one video and when they were really shown.

    Args:
        frames: RGB pictures [T 3 H W], laid out in memory as channels-last.
        pts_s: Presentation time of each frame in seconds after the start of the video stream [T].

    Raises:
        ValueError: If the shapes or dtypes do not fit together.
    """

    frames: UInt8[Tensor, "T 3 H W"]
    pts_s: Float64[np.ndarray, " T"]

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[1] != 3 or self.frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 [T 3 H W], got {self.frames.dtype} {[*self.frames.shape]}")
        if self.pts_s.shape != (len(self.frames),) or self.pts_s.dtype != np.float64:
            raise ValueError(
                f"pts_s must be float64 [{len(self.frames)}], got {self.pts_s.dtype} {[*self.pts_s.shape]}"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        span = f", {self.pts_s.min():.3f} to {self.pts_s.max():.3f} s" if len(self) else ""
        return f"FrameBatch(frames=uint8 {[*self.frames.shape]}, pts_s=float64 {[*self.pts_s.shape]}{span})"

    @classmethod
    def from_pictures(cls, pictures: NDArray[np.uint8], pts_s: NDArray[np.float64]) -> FrameBatch:
        """Wrap pictures [T H W 3] without copying them."""
        return cls(torch.from_numpy(pictures).permute(0, 3, 1, 2), pts_s)


class FrameConverter:
    """Turns decoded pictures into RGB arrays of one display size.

    Args:
        height: Height of the result in pixels, after rotation.
        width: Width of the result in pixels, after rotation.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        # One reformatter for all frames: it keeps its swscale context, which costs more than a small picture.
        self._reformatter = VideoReformatter()

    def __call__(self, image: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the picture as RGB [H W 3]."""
        orientation = orientation_of(image)
        height, width = orientation.size(self.height, self.width)
        rgb = self._reformatter.reformat(
            image, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        picture: NDArray[np.uint8] = rgb.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(orientation.apply(picture))

    def resize(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an RGB picture [H W 3] in the size of the results; shrinking takes the average of each area."""
        return self(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))


def checked_timestamps(timestamps_s: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    """Return the timestamps as float64 [T].

    Raises:
        ValueError: If they are not one row of finite numbers, or one is negative.
    """
    timestamps = np.asarray(timestamps_s, dtype=np.float64)
    if timestamps.ndim != 1 or not np.isfinite(timestamps).all():
        raise ValueError(f"{path}: timestamps_s must be one row of finite seconds, got {timestamps_s!r}")
    if (timestamps < 0).any():
        raise ValueError(
            f"{path}: t = {timestamps.min():.3f} s lies before the video begins; "
            "keep only the instants that sgear.timing.observable allows"
        )
    return timestamps


def damaged_frame_error(path: Path, t_s: float, pts_s: float) -> VideoError:
    """Return the error for a frame that the file holds but that cannot be decoded."""
    return VideoError(
        f"{path}: the frame played at t = {t_s:.3f} s (pts {pts_s:.3f} s) cannot be decoded; "
        "the file is damaged there: fetch or encode it again, or leave out the segments around this time"
    )
