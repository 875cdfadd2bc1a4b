"""A tar file of numbered pictures, read as a film without unpacking it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from sgear.errors import VideoError
from sgear.files import HoldsDescriptor, require_regular_file
from sgear.video.images import NumberedPictures
from sgear.video.tar_index import index_tar


class FrameTar(HoldsDescriptor, NumberedPictures):
    """Pictures in one uncompressed tar file; see `NumberedPictures` for names, times and errors.

    All headers are read once, when it is opened: about 1.5 s of one core for 100,000 pictures. After that a picture is
    one read at a known place. Nothing is ever extracted or written.

    Args:
        path: File, such as EPIC-KITCHENS' `P01_01.tar`.
        size: (height, width) of the frames. Default: the size of the pictures.
        frame_fps: Rate at which the pictures were numbered, in frames per second.

    Raises:
        VideoError: If there is no such file, it is unreadable, compressed, truncated, damaged or has links in it, or
            `NumberedPictures` refuses what is in it.
        ValueError: If `size` or `frame_fps` is not positive.
    """

    def __init__(
        self, path: Path | str, *, size: tuple[int, int] | None = None, frame_fps: float | None = None
    ) -> None:
        file = Path(path)
        require_regular_file(file, VideoError)
        try:
            self._descriptor = os.open(file, os.O_RDONLY)
        except OSError as err:
            raise VideoError(
                f"{file}: the file cannot be read ({err.strerror}); check its permissions and those of its folders"
            ) from err
        try:
            index = index_tar(file, self._descriptor)
            self._offsets = np.array(index.offsets, dtype=np.int64)
            self._sizes = np.array(index.sizes, dtype=np.int64)
            super().__init__(file, index.names, size=size, frame_fps=frame_fps)
        except BaseException:
            self.close()
            raise

    def _read(self, row: int) -> bytes:
        if self._descriptor < 0:
            raise ValueError(f"{self.path}: this film was closed; open it again")
        # Not seek and read: a forked process shares the position of the file, but not this.
        return os.pread(self._descriptor, int(self._sizes[row]), int(self._offsets[row]))
