"""Sizes of films in their own pixels, remembered between runs.

The size at which a film is cached depends on its own. To ask a tar file of 100,000 pictures for it takes 1.5 s, so a
film whose frames are cached is not opened again for that alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from sgear.files import partial_path, state_of
from sgear.video.pool import open_film

_Entry = list[int]
"""Bytes of the film, its time of change in ns, height and width."""


class FilmSizes:
    """Answer how large films are; a context, at the end of which new answers are written.

    A film is the one that was asked before while its bytes and time of change are the same, as in the frame cache.

    Args:
        path: File of the answers, in a folder that exists; one that is missing or unreadable is made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _load(path)
        self._has_new = False

    def __enter__(self) -> FilmSizes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A complete cache may lie where nothing can be written.
        if self._has_new and os.access(self.path.parent, os.W_OK):
            self._save()

    def of(self, video_id: str, film: Path, *, frame_fps: float | None = None) -> tuple[int, int]:
        """Return height and width of a film, which is opened where the answer is not known.

        Args:
            video_id: Id of the video.
            film: Its film.
            frame_fps: Rate of numbered pictures; see `open_film`.

        Raises:
            VideoError: If there is no such film, or it cannot be opened.
        """
        # Zeros where there is no such film, which is for `open_film` to say.
        state = list(state_of(film))
        entry = self._entries.get(video_id)
        if entry is None or entry[:2] != state:
            with open_film(film, frame_fps=frame_fps) as opened:
                entry = [*state, opened.height, opened.width]
            self._entries[video_id] = entry
            self._has_new = True
        return entry[2], entry[3]

    def _save(self) -> None:
        # Of two processes that write, one loses its answers; the films are then asked once more.
        partial = partial_path(self.path)
        try:
            partial.write_text(json.dumps(self._entries), encoding="utf-8")
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, _Entry]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            video_id: entry
            for video_id, entry in found.items()
            if isinstance(entry, list) and len(entry) == 4 and all(type(value) is int and value >= 0 for value in entry)
        }
    except (ValueError, AttributeError):
        # Unreadable answers are like none: the films are asked again.
        return {}
