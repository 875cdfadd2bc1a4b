"""What every way to read a video has in common: frames by the time at which they are played, and pixels of them.

swscale converts the colors and resizes in a single pass, so the full-size RGB image is never built. Rotation and
mirroring that the file states are applied here; the shape of single pixels (sample aspect ratio) is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Float64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S

_VideoT = TypeVar("_VideoT", bound="Video")
Size = tuple[int, int]
"""Height and width in pixels."""
# Writers compute the matrix from an angle, in whole 1/65536.
_LARGEST_ERROR = 1e-3
MAX_PIXELS = 1 << 26
"""Largest image that is decoded, in pixels: 8192 x 8192, twice an 8K frame, 200 MB as RGB."""
SLACK_S = 0.05
"""By how much the end of a video is generous, in seconds: annotations are rounded, and so are times in containers."""


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """Frames of one video and when they were really shown.

    Args:
        frames: RGB images [T 3 H W], laid out in memory as channels-last.
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
    def from_images(cls, images: NDArray[np.uint8], pts_s: NDArray[np.float64]) -> FrameBatch:
        """Wrap images [T H W 3] without copying them."""
        return cls(torch.from_numpy(images).permute(0, 3, 1, 2), pts_s)


class Video(ABC):
    """Frames of one recording, by time in seconds after its first frame.

    The frame played at t is the latest that began at or before t, in every implementation; what began up to
    `TIME_TOLERANCE_S` after t counts, as instants are sums of rounded numbers. A frame that is missing or
    damaged is an error, never a neighbor in its place. Not for sharing between threads or processes.

    Attributes:
        path: File or folder.
        height: Height of the video in pixels, as displayed.
        width: Width of the video in pixels, as displayed.
        fps: Average frames per second.
        num_frames: Number of frames as the header states it; None where it does not.
        first_pts_s: Time of the first intact frame; above 0 only where the beginning of the video is missing.
        is_random_access: Whether the frame of any instant is found without playing from the beginning, and surely the
            right one.
    """

    path: Path
    height: int
    width: int
    fps: float
    num_frames: int | None
    first_pts_s: float
    is_random_access = True
    _converter: FrameConverter

    def __enter__(self: _VideoT) -> _VideoT:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.height}x{self.width}, {self.fps:.3g} fps)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(f"{self.path}: an open video cannot be sent to another process; send its path or a VideoPool")

    @abstractmethod
    def close(self) -> None:
        """Close the files; reading is then an error."""

    @property
    def size(self) -> Size:
        """Height and width of the frames that are read, after rotation."""
        return self._converter.height, self._converter.width

    def resize(self, size: Size | Callable[[Size], Size] | None) -> None:
        """Read frames at another size from now on.

        Args:
            size: (height, width) of the frames, or a function of the video's own (height, width). None: its own.

        Raises:
            ValueError: If it is not positive.
        """
        own = (self.height, self.width)
        height, width = size(own) if callable(size) else size or own
        if min(height, width) < 1:
            raise ValueError(f"size must be (height, width) of at least one pixel, got {(height, width)}")
        self._converter = FrameConverter(height, width)

    def caveats(self) -> list[str]:
        """Return what is to be said before its frames are used: that its end is missing, or that it has more tracks."""
        return []

    @property
    @abstractmethod
    def duration_s(self) -> float:
        """Duration in seconds as the header states it; a truncated file ends earlier, see `last_pts_s`."""

    @property
    @abstractmethod
    def last_pts_s(self) -> float:
        """Time of the last frame that can be decoded; finding it may decode the end of the video."""

    @property
    @abstractmethod
    def end_s(self) -> float:
        """When that frame has been shown: after one frame period, or later where the file says that it is held."""

    @abstractmethod
    def frames_played_at(self, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it.

        Args:
            timestamps_s: Instants in seconds [T], in any order, repeats allowed.

        Returns:
            One frame for each instant, in the order asked, with their real times.

        Raises:
            ValueError: If an instant is negative or not finite.
            VideoError: If nothing is played at an instant, or its frame is missing or damaged.
        """

    @abstractmethod
    def iterate(self, start_s: float = 0.0) -> Iterator[tuple[UInt8[Tensor, "3 H W"], float]]:
        """Yield every frame and its time, from the frame played at `start_s` to the end; reading may go on beside it.

        Args:
            start_s: Instant in seconds.

        Raises:
            ValueError: If `start_s` is negative or not finite.
            VideoError: If nothing is played at `start_s`, or when a damaged frame is reached.
        """


@dataclass(frozen=True)
class VideoSpan:
    """The time that a video covers, in seconds after its first frame.

    Args:
        last_s: Time of the last frame.
        end_s: When the last frame has been shown.
    """

    last_s: float
    end_s: float

    @classmethod
    def of(cls, video: Video) -> VideoSpan:
        """Return the span of an open video; its end is decoded for that.

        Raises:
            VideoError: If the end cannot be read.
        """
        return cls(video.last_pts_s, video.end_s)

    def is_past(self, t_s: float) -> bool:
        """Return whether an instant lies after the video; what is only just after its end still counts as the end."""
        return t_s > self.end_s + SLACK_S


def opening_s(video: Video) -> float:
    """Return from when on a video is gone through, in seconds.

    That is its first intact frame if that comes just after 0. Of a video that lacks more of its beginning it is 0,
    where nothing can be read.
    """
    return video.first_pts_s if video.first_pts_s <= SLACK_S else 0.0


def check_played(path: Path, t_s: float, first_s: float, span: VideoSpan | None) -> None:
    """Check an instant against both ends of a video.

    Args:
        path: File that the message names.
        t_s: Instant asked for, in seconds.
        first_s: Time of the first frame.
        span: What the video covers; None if it is known to go on after `t_s`.

    Raises:
        VideoError: If nothing is played at `t_s`.
    """
    if t_s < first_s - TIME_TOLERANCE_S:
        raise VideoError(
            f"{path}: nothing is played at t = {t_s:.3f} s, the first intact frame is at {first_s:.3f} s; "
            "the beginning of this file is missing or was cut between key frames: fetch or encode it again"
        )
    if span is not None and span.is_past(t_s):
        raise VideoError(
            f"{path}: nothing is played at t = {t_s:.3f} s, the last frame in the file is at {span.last_s:.3f} s and "
            f"shown until {span.end_s:.3f} s; "
            "either this copy is truncated (fetch it again) or the annotations belong to another video"
        )


@dataclass(frozen=True)
class Orientation:
    """What turns an image upright: rows and columns change places first, then the flips.

    Args:
        swaps: Whether rows and columns change places.
        flips_rows: Whether the order of the rows is turned round.
        flips_columns: Whether the order of the columns is turned round.
    """

    swaps: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @property
    def is_upright(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.swaps or self.flips_rows or self.flips_columns)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width on the other side: of the upright image for a stored one, or the reverse."""
        return (width, height) if self.swaps else (height, width)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image [H W ...] upright; it shares the memory."""
        upright = image.swapaxes(0, 1) if self.swaps else image
        return upright[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]


def orientation_of(image: av.VideoFrame) -> Orientation:
    """Return how an image is turned for display.

    Raises:
        VideoError: If it is not turned by quarters, or is slanted.

    Source:
        ISO/IEC 14496-12, section 6.2.2: x' = a x + c y, y' = b x + d y of the matrix a b u, c d v, x y w.
    """
    stored = image.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return Orientation()
    matrix = np.frombuffer(bytes(stored), dtype=np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    (a, b), (c, d) = matrix.tolist()
    across, along = max(abs(b), abs(c)), max(abs(a), abs(d))
    # Some writers leave the matrix empty.
    if across == along == 0:
        return Orientation()
    if across <= _LARGEST_ERROR * along and a and d:
        return Orientation(flips_rows=d < 0, flips_columns=a < 0)
    if along <= _LARGEST_ERROR * across and b and c:
        return Orientation(swaps=True, flips_rows=b < 0, flips_columns=c < 0)
    raise VideoError(
        f"its images are turned by {np.degrees(np.arctan2(b, a)):.0f} degrees or slanted for display, only quarter "
        "turns and mirror images are read; encode it again, upright"
    )


class FrameConverter:
    """Turns decoded images into RGB arrays of one display size.

    Args:
        height: Height of the result in pixels, after rotation.
        width: Width of the result in pixels, after rotation.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        # One reformatter for all frames: it keeps its swscale context, which costs more than a small image.
        self._reformatter = VideoReformatter()

    def __call__(self, image: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the image as RGB [H W 3]."""
        orientation = orientation_of(image)
        height, width = orientation.size(self.height, self.width)
        rgb = self._reformatter.reformat(
            image, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        upright: NDArray[np.uint8] = rgb.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(orientation.apply(upright))

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an RGB image [H W 3] in the size of the results; shrinking takes the average of each area."""
        return self(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"))


def require_bearable(height: int, width: int, file: object) -> None:
    """Refuse an image that would take gigabytes, before it is decoded.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        file: What the message names.

    Raises:
        VideoError: If it has more than `MAX_PIXELS` pixels.
    """
    if height * width > MAX_PIXELS:
        raise VideoError(
            f"{file}: images of {width} x {height} pixels are refused, at most {MAX_PIXELS} pixels (8192 x 8192) "
            "are decoded; make a smaller copy"
        )


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
