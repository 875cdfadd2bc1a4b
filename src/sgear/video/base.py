"""What every way to read a film has in common: frames by the time at which they are played."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from sgear.video.frames import FrameBatch

_FilmT = TypeVar("_FilmT", bound="Film")


class Film(ABC):
    """Frames of one recording, by time in seconds after its first frame.

    The frame played at t is the latest that began at or before t, in every implementation; what began up to
    `TIME_TOLERANCE_S` after t counts, as instants are sums of rounded numbers. A frame that is missing or
    damaged is an error, never a neighbour in its place. Not for sharing between threads or processes.
    """

    path: Path

    def __enter__(self: _FilmT) -> _FilmT:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.height}x{self.width}, {self.fps:.3g} fps)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(f"{self.path}: an open film cannot be sent to another process; send its path or a FilmPool")

    @abstractmethod
    def close(self) -> None:
        """Close the files; reading is then an error."""

    @property
    @abstractmethod
    def height(self) -> int:
        """Height of the film in pixels, as displayed."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the film in pixels, as displayed."""

    @property
    @abstractmethod
    def fps(self) -> float:
        """Average frames per second."""

    @property
    @abstractmethod
    def num_frames(self) -> int | None:
        """Number of frames as the header states it; None where it does not."""

    @property
    @abstractmethod
    def duration_s(self) -> float:
        """Duration in seconds as the header states it; a truncated file ends earlier, see `last_pts_s`."""

    @property
    @abstractmethod
    def first_pts_s(self) -> float:
        """Time of the first intact frame; above 0 only where the beginning of the film is missing."""

    @property
    @abstractmethod
    def last_pts_s(self) -> float:
        """Time of the last frame that can be decoded; finding it may decode the end of the film."""

    @property
    @abstractmethod
    def end_s(self) -> float:
        """When that frame has been shown: after one frame period, or later where the file says that it is held."""

    @abstractmethod
    def frames_played_at(self, timestamps_s: NDArray[np.float64] | Sequence[float]) -> FrameBatch:
        """Return for each instant the frame with the largest pts at or before it.

        Args:
            timestamps_s: Instants in seconds [T], in any order, repeats allowed.

        Returns:
            One frame for each instant, in the order asked, with their real times.

        Raises:
            ValueError: If an instant is negative or not finite.
            VideoError: If nothing is played at an instant, or its frame is missing or damaged.
        """

    @abstractmethod
    def iterate(self, start_s: float = 0.0) -> Iterator[tuple[UInt8[Tensor, "3 H W"], float]]:
        """Yield every frame and its time, from the frame played at `start_s` to the end.

        Args:
            start_s: Instant in seconds.

        Raises:
            ValueError: If `start_s` is negative or not finite.
            VideoError: If nothing is played at `start_s`, or when a damaged frame is reached.
        """
