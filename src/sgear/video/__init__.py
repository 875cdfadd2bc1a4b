"""Videos in, frames out: reading by time, cached frames, clip transforms, forecasts drawn into videos."""

from sgear.video.base import FrameBatch, Video
from sgear.video.frame_cache import FrameCache, fill_frame_cache
from sgear.video.overlay import write_overlay
from sgear.video.pool import ReadingSize, VideoPool, open_video
from sgear.video.pyav import VideoReader
from sgear.video.transforms import ClipTransform

__all__ = [
    "ClipTransform",
    "Video",
    "VideoPool",
    "FrameBatch",
    "FrameCache",
    "ReadingSize",
    "VideoReader",
    "fill_frame_cache",
    "open_video",
    "write_overlay",
]
