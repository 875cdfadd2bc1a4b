"""A video with the forecasts drawn into it, for people to judge a model by eye.

The panel shows, at each moment, only what the model had said by then; the truth beside it comes from
annotations.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from sgear.errors import WriteError
from sgear.files import replacing, require_writable
from sgear.video.base import Video
from sgear.video.panel import OverlayPainter, Palette, PanelContent
from sgear.video.pool import open_video

# Below this text cannot be read, so a tiny video is enlarged by a whole factor.
_MIN_LEGIBLE_SIDE = 240
_TIME_BASE = Fraction(1, 90_000)


@runtime_checkable
class TimedForecast(Protocol):
    """What the overlay needs of `sgear.forecast.Forecast`, which lies above this package."""

    @property
    def now_s(self) -> float:
        """Last observed instant in seconds."""
        ...

    @property
    def tau_a_s(self) -> float:
        """How far ahead the forecast looks, in seconds."""
        ...

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """(action name, probability) pairs, most likely first."""
        ...


def write_overlay(
    video: Path | Video,
    out: Path,
    forecasts: Sequence[TimedForecast],
    *,
    truth: Sequence[tuple[float, float, str]] = (),
    max_height: int = 480,
    top_k: int = 5,
    frame_fps: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write an H.264 mp4 of the video with the newest forecast of each moment in a panel.

    The ribbon at the bottom shows each moment's most likely action in the colour that its bar has. With
    `truth`, the panel names the true action and the one that comes next, and a row that names the latter gets
    a green tick. The sound is dropped. Tiny videos are enlarged until text is legible; `out` appears only when
    it is complete.

    Args:
        video: Video to draw on, or one that is open; it then stays open, and is read at another size.
        out: File to write.
        forecasts: Forecasts in any order; one is shown from its `now_s` until the next one's.
        truth: (start, stop, action name) of the annotated actions, in seconds.
        max_height: Largest height of the result in pixels. At least 32.
        top_k: Largest number of rows; a small image shows fewer.
        frame_fps: Rate at which images were numbered; needed for a video that is made of them.
        progress: Called with the number of written frames and of all frames as the header states it.

    Raises:
        ValueError: If `max_height` or `top_k` is out of range.
        WriteError: If nothing can be written to `out`, or it is the video itself.
        VideoError: If the video cannot be read to its end.
    """
    require_overlay_place(video.path if isinstance(video, Video) else video, out)
    if max_height < 32 or top_k < 1:
        raise ValueError(f"max_height must be at least 32 and top_k at least 1, got {max_height} and {top_k}")
    with nullcontext(video) if isinstance(video, Video) else open_video(video, frame_fps=frame_fps) as opened:
        size = _even_size(opened.height, opened.width, max_height)
        opened.resize(size)
        duration_s = max(opened.duration_s, opened.end_s)
        num_frames = opened.num_frames or round(duration_s * opened.fps)
        script = _Script(forecasts, truth, top_k)
        painter = OverlayPainter(*size, Palette(script.names))
        ribbon = painter.ribbon(script.newest_spans(duration_s), duration_s)
        with _encoder(out, Fraction(opened.fps).limit_denominator(1001), *size) as encode:
            for num_done, (frame, pts_s) in enumerate(opened.iterate(), start=1):
                image = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
                painter.panel(script.content_at(pts_s)).paste_on(image)
                painter.clock(f"{pts_s:.1f} s").paste_on(image)
                ribbon.paste_on(image)
                painter.playhead(pts_s / duration_s).paste_on(image)
                encode(image, pts_s)
                if progress is not None:
                    progress(num_done, max(num_done, num_frames))


def draw_forecast(frame: NDArray[np.uint8], forecast: TimedForecast, *, max_height: int = 480) -> Image.Image:
    """Return an image with a forecast drawn over it, as in the overlay.

    Args:
        frame: RGB [H W 3].
        forecast: What to draw.
        max_height: Largest height of the result in pixels. At least 32.
    """
    height, width = _even_size(frame.shape[0], frame.shape[1], max_height)
    image = np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX))
    script = _Script([forecast], (), top_k=len(forecast.top))
    painter = OverlayPainter(height, width, Palette(script.names))
    painter.panel(script.content_at(forecast.now_s)).paste_on(image)
    return Image.fromarray(image)


def require_overlay_place(video: Path, out: Path) -> None:
    """Check that a video can be written to `out` without touching the one that is drawn on.

    Raises:
        WriteError: If nothing can be written there, or it is that video.
    """
    require_writable(out)
    if out.exists() and video.exists() and out.samefile(video):
        raise WriteError(f"{out}: is the video itself, which would be lost; give another name")


class _Script:
    """What is known at each moment: the newest forecast, the true action and the next one."""

    def __init__(
        self, forecasts: Sequence[TimedForecast], truth: Sequence[tuple[float, float, str]], top_k: int
    ) -> None:
        self._forecasts = sorted(forecasts, key=lambda forecast: forecast.now_s)
        self._now_s = [forecast.now_s for forecast in self._forecasts]
        self._truth = sorted(truth)
        self._start_s = [start_s for start_s, _, _ in self._truth]
        self._top_k = top_k

    @property
    def names(self) -> list[str]:
        """All action names, those that get a large share of the image first."""
        newest = [forecast.top[0][0] for forecast in self._forecasts if forecast.top]
        return newest + [name for _, _, name in self._truth]

    def content_at(self, t_s: float) -> PanelContent:
        """Return what the panel says at `t_s` seconds."""
        num_started = bisect.bisect_right(self._start_s, t_s)
        running = [name for _, stop_s, name in self._truth[:num_started] if t_s < stop_s]
        now_name = running[-1] if running else None
        next_name = self._truth[num_started][2] if num_started < len(self._truth) else None
        num_made = bisect.bisect_right(self._now_s, t_s)
        if num_made == 0:
            return PanelContent("watching...", now_name=now_name, next_name=next_name)
        forecast = self._forecasts[num_made - 1]
        title = f"next action in ~{forecast.tau_a_s:.1f} s"
        return PanelContent(title, tuple(forecast.top[: self._top_k]), now_name, next_name)

    def newest_spans(self, duration_s: float) -> list[tuple[float, float, str]]:
        """Return (start, stop, name) of the most likely action of each forecast while it was the newest."""
        stops_s = [*self._now_s[1:], duration_s]
        pairs = zip(self._forecasts, stops_s, strict=False)
        return [(forecast.now_s, stop_s, forecast.top[0][0]) for forecast, stop_s in pairs if forecast.top]


def _even_size(height: int, width: int, max_height: int) -> tuple[int, int]:
    enlarged = max(1, min(-(-_MIN_LEGIBLE_SIDE // min(height, width)), max_height // height))
    scale = min(enlarged, max_height / height)
    # Chroma of yuv420p has half the size, so both sides must be even.
    return max(2, int(height * scale) // 2 * 2), max(2, int(width * scale) // 2 * 2)


@contextmanager
def _encoder(
    out: Path, rate: Fraction, height: int, width: int
) -> Iterator[Callable[[NDArray[np.uint8], float], None]]:
    with (
        replacing(out) as partial,
        av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = _TIME_BASE

        def encode(image: NDArray[np.uint8], pts_s: float) -> None:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(pts_s / _TIME_BASE), _TIME_BASE
            container.mux(stream.encode(frame))

        yield encode
        container.mux(stream.encode())
