"""Films in, frames out: reading by time, cached frames, clip transforms, forecasts drawn into films."""

from sgear.video.base import Film
from sgear.video.frame_cache import FrameCache, build_frame_cache
from sgear.video.frames import FrameBatch
from sgear.video.opening import open_film
from sgear.video.overlay import write_overlay
from sgear.video.pool import FilmPool
from sgear.video.pyav import VideoReader
from sgear.video.transforms import ClipTransform

__all__ = [
    "ClipTransform",
    "Film",
    "FilmPool",
    "FrameBatch",
    "FrameCache",
    "VideoReader",
    "build_frame_cache",
    "open_film",
    "write_overlay",
]
