"""Video files through torchcodec: the same frames by the same rule as `VideoReader`.

PyAV opens the file first and lists the times of its frames, so limits, header values and the choice of a frame are
one code for both decoders; torchcodec only decodes frame number i. What differs, measured against `VideoReader`:

- At the film's own size, 8-bit films agree in every pixel; 10-bit films differ by up to 10 of 255.
- At another size torchcodec gives RGB, which is resized afterwards, while PyAV resizes in the pass that converts
  colours: 1 of 255 on average, up to 70 at single edges between strong colours.
- A damaged picture that ffmpeg patches over is not noticed here. Frames that are missing altogether are.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import VideoError
from sgear.timing import TIME_TOLERANCE_S
from sgear.video.base import Film
from sgear.video.decoding import StreamDecoder
from sgear.video.frames import FrameBatch, FrameConverter, checked_timestamps, damaged_frame_error
from sgear.video.span import FilmSpan, check_played, opening_s

if TYPE_CHECKING:
    from torchcodec.decoders import VideoDecoder  # pyright: ignore[reportMissingImports, reportPrivateImportUsage]


# avi has no presentation times, and in streams torchcodec 0.13 lands a key frame too late where there are B-frames.
_UNSEEKABLE = ("avi", "mpegts", "mpeg")


class TorchcodecReader(Film):
    """Frames of one video file, by time in seconds after its first frame.

    It reads the whole file once when it is opened, without decoding it, for the times of all frames. One decoding
    thread; not for sharing between threads or processes. Containers in which torchcodec cannot find a frame by its
    time (avi, MPEG streams) are refused, and so are mirrored films.

    Args:
        path: File of any format that ffmpeg reads.
        size: (height, width) of the frames, after rotation. Default: the size of the film.

    Raises:
        VideoError: If torchcodec is not installed or does not load; if the file is missing, empty, not a video, has
            a container that torchcodec cannot seek in, or no frame of it can be decoded.
        ValueError: If `size` is not positive.
    """

    def __init__(self, path: Path | str, *, size: tuple[int, int] | None = None) -> None:
        if size is not None and min(size) < 1:
            raise ValueError(f"size must be (height, width) of at least one pixel, got {size}")
        self.path = Path(path)
        probe = StreamDecoder(self.path)
        try:
            _require_fit(probe)
            self._times_s, self._stated_end_s = probe.stated_times_s()
        finally:
            probe.close()
        self._probe = probe
        self._size = size or (probe.height, probe.width)
        self._resize = FrameConverter(*self._size)
        self._last_pts_s: float | None = None
        self._decoder: VideoDecoder | None = _open_decoder(self.path, probe.stream_idx, len(self._times_s))

    def close(self) -> None:
        """Close the file; reading is then an error."""
        self._decoder = None

    @property
    def height(self) -> int:
        """Height of the film in pixels, as displayed."""
        return self._probe.height

    @property
    def width(self) -> int:
        """Width of the film in pixels, as displayed."""
        return self._probe.width

    @property
    def fps(self) -> float:
        """Average frames per second."""
        return self._probe.fps

    @property
    def num_frames(self) -> int | None:
        """Number of frames in the file."""
        return len(self._times_s)

    @property
    def duration_s(self) -> float:
        """Duration in seconds as the header states it; a truncated file ends earlier, see `last_pts_s`."""
        stated_s = self._probe.stated_duration_s
        return self._stated_end_s if stated_s is None else stated_s

    @property
    def first_pts_s(self) -> float:
        """Time of the first intact frame; above 0 only where the beginning of the film is missing."""
        return self._probe.first_pts_s

    @property
    def last_pts_s(self) -> float:
        """Time of the last frame that can be decoded."""
        if self._last_pts_s is None:
            for row in range(len(self._times_s) - 1, -1, -1):
                if self._decoded(row) is not None:
                    self._last_pts_s = float(self._times_s[row])
                    break
            else:
                raise VideoError(f"{self.path}: torchcodec cannot decode any frame; read it with backend 'pyav'")
        return self._last_pts_s

    @property
    def end_s(self) -> float:
        """When that frame has been shown."""
        is_whole = self.last_pts_s == self._times_s[-1]
        return self._stated_end_s if is_whole else self.last_pts_s + self._probe.period_s

    def frames_played_at(self, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it; see `VideoReader`.

        Args:
            timestamps_s: Instants in seconds [T], in any order, repeats allowed.

        Returns:
            One frame for each instant, in the order asked, with their real times.

        Raises:
            ValueError: If an instant is negative or not finite.
            VideoError: If an instant lies past the end of the film, or its frame is missing or cannot be decoded.
        """
        asked_s = checked_timestamps(np.asarray(timestamps_s, dtype=np.float64), self.path)
        rows = np.array([self._row_at(float(t_s)) for t_s in asked_s], dtype=np.int64)
        pictures = np.empty((len(rows), *self._size, 3), dtype=np.uint8)
        for row in np.unique(rows):
            wanted = np.flatnonzero(rows == row)
            pictures[wanted] = self._picture(int(row), float(asked_s[wanted[0]]))
        return FrameBatch.from_pictures(pictures, self._times_s[rows])

    def iterate(self, start_s: float = 0.0) -> Iterator[tuple[UInt8[Tensor, "3 H W"], float]]:
        """Yield every frame and its time, from the frame played at `start_s` to the end.

        It opens the file for itself, so reading by time may go on beside it.

        Args:
            start_s: Instant in seconds.

        Raises:
            ValueError: If `start_s` is negative or not finite.
            VideoError: If nothing is played at `start_s`, or when a frame that cannot be decoded is reached.
        """
        checked_timestamps(np.array([start_s]), self.path)
        with TorchcodecReader(self.path, size=self._size) as film:
            for row in range(film._row_at(max(start_s, opening_s(film))), len(film._times_s)):
                pts_s = float(film._times_s[row])
                yield torch.from_numpy(film._picture(row, max(start_s, pts_s))).permute(2, 0, 1), pts_s

    def _row_at(self, t_s: float) -> int:
        check_played(self.path, t_s, float(self._times_s[0]), FilmSpan(float(self._times_s[-1]), self._stated_end_s))
        return max(0, int(np.searchsorted(self._times_s, t_s + TIME_TOLERANCE_S, side="right")) - 1)

    def _picture(self, row: int, t_s: float) -> NDArray[np.uint8]:
        picture = self._decoded(row)
        if picture is None:
            raise damaged_frame_error(self.path, t_s, float(self._times_s[row]))
        return picture if picture.shape[:2] == self._size else self._resize.resize(picture)

    def _decoded(self, row: int) -> NDArray[np.uint8] | None:
        if self._decoder is None:
            raise ValueError(f"{self.path}: this film was closed; open it again")
        try:
            frame = self._decoder.get_frame_at(row)
        except (RuntimeError, IndexError):
            # The two ways in which torchcodec says that ffmpeg gave no picture; the caller names the instant.
            return None
        off_s = frame.pts_seconds - self._probe.zero_s - self._times_s[row]
        return frame.data.numpy() if abs(off_s) <= float(self._probe.time_base) / 2 else None


def _require_fit(film: StreamDecoder) -> None:
    """Refuse a film of which torchcodec would give other frames, or other pictures, than PyAV."""
    reason = None
    if film.container_name in _UNSEEKABLE:
        reason = f"torchcodec gives other frames than those asked for in this container ({film.container_name})"
    elif film.orientation.is_mirrored:
        reason = "its pictures are mirrored for display, and torchcodec only turns them"
    if reason is not None:
        raise VideoError(f"{film.path}: {reason}; read it with backend 'pyav'")


def _open_decoder(path: Path, stream_idx: int, num_frames: int) -> VideoDecoder:
    if importlib.util.find_spec("torchcodec") is None:
        raise VideoError(
            f"{path}: backend 'torchcodec' is not installed; pip install 'sgear[torchcodec]', or use backend 'pyav'"
        )
    try:
        decoders = importlib.import_module("torchcodec.decoders")
    except (ImportError, RuntimeError, OSError) as err:
        raise VideoError(
            f"{path}: torchcodec is installed but does not load ({str(err).strip().splitlines()[0]}); it needs the "
            "shared libraries of ffmpeg (such as 'apt-get install ffmpeg') and the torch it was built for; or use "
            "backend 'pyav'"
        ) from err
    try:
        decoder = decoders.VideoDecoder(
            str(path), stream_index=stream_idx, dimension_order="NHWC", num_ffmpeg_threads=1
        )
    except (RuntimeError, ValueError) as err:
        raise VideoError(f"{path}: torchcodec cannot open it ({err}); read it with backend 'pyav'") from err
    if len(decoder) != num_frames:
        raise VideoError(
            f"{path}: torchcodec counts {len(decoder)} frames and PyAV {num_frames}, so their numbers do not mean "
            "the same frame; read it with backend 'pyav'"
        )
    return decoder
