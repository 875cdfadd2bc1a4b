"""How decoded pictures are turned and mirrored to stand upright, by the display matrix of their film."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from sgear.errors import VideoError

# Writers compute the matrix from an angle, in whole 1/65536.
_LARGEST_ERROR = 1e-3


@dataclass(frozen=True)
class Orientation:
    """What turns a picture upright: rows and columns change places first, then the flips.

    Args:
        swaps: Whether rows and columns change places.
        flips_rows: Whether the order of the rows is turned round.
        flips_columns: Whether the order of the columns is turned round.
    """

    swaps: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @property
    def is_upright(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.swaps or self.flips_rows or self.flips_columns)

    @property
    def is_mirrored(self) -> bool:
        """Whether no turn alone makes the picture upright."""
        return (self.swaps + self.flips_rows + self.flips_columns) % 2 == 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width on the other side: of the upright picture for a stored one, or the reverse."""
        return (width, height) if self.swaps else (height, width)

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture [H W ...] upright; it shares the memory."""
        upright = picture.swapaxes(0, 1) if self.swaps else picture
        return upright[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]


def orientation_of(image: av.VideoFrame) -> Orientation:
    """Return how a picture is turned for display.

    Raises:
        VideoError: If it is not turned by quarters, or is slanted.

    Source:
        ISO/IEC 14496-12, section 6.2.2: x' = a x + c y, y' = b x + d y of the matrix a b u, c d v, x y w.
    """
    stored = image.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return Orientation()
    matrix = np.frombuffer(bytes(stored), dtype=np.int32).reshape(3, 3)[:2, :2].astype(np.float64)
    (a, b), (c, d) = matrix.tolist()
    across, along = max(abs(b), abs(c)), max(abs(a), abs(d))
    # Some writers leave the matrix empty.
    if across == along == 0:
        return Orientation()
    if across <= _LARGEST_ERROR * along and a and d:
        return Orientation(flips_rows=d < 0, flips_columns=a < 0)
    if along <= _LARGEST_ERROR * across and b and c:
        return Orientation(swaps=True, flips_rows=b < 0, flips_columns=c < 0)
    raise VideoError(
        f"its pictures are turned by {np.degrees(np.arctan2(b, a)):.0f} degrees or slanted for display, only quarter "
        "turns and mirror images are read; encode it again, upright"
    )
