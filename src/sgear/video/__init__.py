"""Films in, frames out: reading by time, cached frames, clip transforms, forecasts drawn into films."""

from sgear.video.cache import FrameCache, build_frame_cache
from sgear.video.frames import FrameBatch
from sgear.video.overlay import write_overlay
from sgear.video.reader import VideoReader
from sgear.video.transforms import ClipTransform

__all__ = ["ClipTransform", "FrameBatch", "FrameCache", "VideoReader", "build_frame_cache", "write_overlay"]
