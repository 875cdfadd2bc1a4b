"""Frames of a camera, or of anything else that ffmpeg opens, as they come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import UInt8

from sgear.errors import VideoError
from sgear.video.base import FrameConverter, orientation_of

# How ffmpeg names cameras on each system: input format, and the name of camera number N.
_CAMERAS = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}:none"),
    "win32": ("dshow", "video={}"),
}


def camera(source: int | str | Path = 0) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], float]]:
    """Yield the frames of a camera, and when each began.

    Args:
        source: Number of a camera of this machine (Linux, macOS), its name (Windows: as `dshow:NAME`), or a file or
            address that ffmpeg opens.

    Yields:
        RGB frames, upright, and seconds after the first one, by the clock of the source.

    Raises:
        VideoError: If there is no such camera, or it stops giving frames.
    """
    try:
        container = _open(source)
    except (OSError, FFmpegError) as err:
        what = f"camera {source}" if isinstance(source, int) else str(source)
        raise VideoError(f"{what}: cannot be opened ({err.strerror or err}); check that it is there and free") from err
    with container:
        if not container.streams.video:
            raise VideoError(f"{source}: holds no video")
        first_s, converter = None, None
        try:
            for image in container.decode(container.streams.video[0]):
                if image.time is None:
                    continue
                first_s = image.time if first_s is None else first_s
                if converter is None or (converter.height, converter.width) != _upright_size(image):
                    converter = FrameConverter(*_upright_size(image))
                yield converter(image), float(image.time - first_s)
        except (OSError, FFmpegError) as err:
            raise VideoError(f"{source}: no frame came any more ({err.strerror or err})") from err


def _open(source: int | str | Path) -> InputContainer:
    if isinstance(source, int):
        if sys.platform not in _CAMERAS or sys.platform == "win32":
            raise VideoError(f"cameras have no numbers on {sys.platform}; give camera('dshow:NAME')")
        kind, name = _CAMERAS[sys.platform]
        return av.open(name.format(source), format=kind)
    if isinstance(source, str) and source.startswith("dshow:"):
        kind, name = _CAMERAS["win32"]
        return av.open(name.format(source.removeprefix("dshow:")), format=kind)
    return av.open(str(source))


def _upright_size(image: av.VideoFrame) -> tuple[int, int]:
    # Turning twice is turning back: the size of the stored image, seen upright.
    return orientation_of(image).size(image.height, image.width)
