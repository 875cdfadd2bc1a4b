"""Videos in, frames out: reading by time, cached frames, clip transforms, forecasts drawn into videos."""

from sgear.video.base import Film, FrameBatch
from sgear.video.frame_cache import FrameCache, fill_frame_cache
from sgear.video.overlay import write_overlay
from sgear.video.pool import FilmPool, ReadingSize, open_film
from sgear.video.pyav import VideoReader
from sgear.video.transforms import ClipTransform

__all__ = [
    "ClipTransform",
    "Film",
    "FilmPool",
    "FrameBatch",
    "FrameCache",
    "ReadingSize",
    "VideoReader",
    "fill_frame_cache",
    "open_film",
    "write_overlay",
]
