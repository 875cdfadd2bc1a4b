"""A path to a film: a video file, a folder of frames, or a tar file of frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from sgear.video.base import Film
from sgear.video.frame_folder import FrameFolder
from sgear.video.frame_tar import FrameTar
from sgear.video.pyav import VideoReader

Backend = Literal["pyav", "torchcodec"]

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


def open_film(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    backend: Backend = "pyav",
    frame_fps: float | None = None,
) -> Film:
    """Open a film of any kind.

    Args:
        path: Video file, folder of numbered pictures, or tar file of numbered pictures (by its ending, `.tar`).
        size: (height, width) of the frames, after rotation. Default: the size of the film.
        backend: Decoder of video files; `torchcodec` needs the extra of that name. Pictures have one decoder.
        frame_fps: Rate at which pictures were numbered; needed for folders and tar files, unused for video files.

    Raises:
        VideoError: If there is no such film, or it cannot be read.
        ValueError: If `size` or `frame_fps` is not positive.
    """
    film = Path(path)
    # Unlike the method of a path it raises nothing where a folder above cannot be entered; the readers tell.
    if os.path.isdir(film):
        return FrameFolder(film, size=size, frame_fps=frame_fps)
    if film.name.lower().endswith(_TAR_ENDINGS):
        return FrameTar(film, size=size, frame_fps=frame_fps)
    if backend == "torchcodec":
        # Only here, so that the extra is not needed for anything else.
        from sgear.video.torchcodec_reader import TorchcodecReader  # noqa: PLC0415

        return TorchcodecReader(film, size=size)
    if backend != "pyav":
        raise ValueError(f"backend must be 'pyav' or 'torchcodec', got {backend!r}")
    return VideoReader(film, size=size)
