"""A folder of numbered pictures, read as a film."""

from __future__ import annotations

import os
from pathlib import Path

from sgear.errors import VideoError
from sgear.files import require_regular_file
from sgear.video.images import NumberedPictures


class FrameFolder(NumberedPictures):
    """Pictures directly in one folder; see `NumberedPictures` for names, times and errors.

    Args:
        path: Folder.
        size: (height, width) of the frames. Default: the size of the pictures.
        frame_fps: Rate at which the pictures were numbered, in frames per second.

    Raises:
        VideoError: If there is no such folder, it cannot be listed, or `NumberedPictures` refuses what is in it.
        ValueError: If `size` or `frame_fps` is not positive.
    """

    def __init__(
        self, path: Path | str, *, size: tuple[int, int] | None = None, frame_fps: float | None = None
    ) -> None:
        folder = Path(path)
        self._is_open = True
        try:
            if not folder.is_dir():
                raise VideoError(f"{folder}: no such folder of pictures; check the path and the data root")
            names = os.listdir(folder)
        except OSError as err:
            raise VideoError(f"{folder}: the folder cannot be listed ({err.strerror}); check its permissions") from err
        super().__init__(folder, names, size=size, frame_fps=frame_fps)

    def close(self) -> None:
        """Make reading an error; no file stays open between two readings."""
        self._is_open = False

    def _read(self, row: int) -> bytes:
        if not self._is_open:
            raise ValueError(f"{self.path}: this film was closed; open it again")
        picture = self.path / self._names[row]
        require_regular_file(picture, VideoError)
        return picture.read_bytes()
