"""Single images in jpeg or png -> RGB arrays of one size, and the largest image that is read at all."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sgear.errors import VideoError

MAX_PIXELS = 1 << 26
"""Largest image that is decoded, in pixels: 8192 x 8192, twice an 8K frame, 200 MB as RGB."""

_FORMATS = ("JPEG", "PNG")
# Other modes hold more than eight bits, and converting them would cut values off.
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


def require_bearable(height: int, width: int, file: object) -> None:
    """Refuse an image that would take gigabytes, before it is decoded.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        file: What the message names.

    Raises:
        VideoError: If it has more than `MAX_PIXELS` pixels.
    """
    if height * width > MAX_PIXELS:
        raise VideoError(
            f"{file}: images of {width} x {height} pixels are refused, at most {MAX_PIXELS} pixels (8192 x 8192) "
            "are decoded; make a smaller copy"
        )


class ImageDecoder:
    """Decodes the images of one video, which all have the size of the first."""

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return a jpeg or png as RGB [H W 3].

        Raises:
            VideoError: If it is damaged, too large, has more than eight bits, or differs in size from the first.
        """
        image = _opened(content)
        if self.size is None:
            self.size = (image.height, image.width)
        if (image.height, image.width) != self.size:
            raise VideoError(
                f"it has {image.width} x {image.height} pixels, other images of this video have "
                f"{self.size[1]} x {self.size[0]}"
            )
        return np.array(image)


def _opened(content: bytes) -> Image.Image:
    if not content:
        raise VideoError("the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # Our own limit follows; the library's warning would only come before it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        require_bearable(image.height, image.width, image.format)
        if image.mode not in _MODES:
            raise VideoError(f"its pixels have more than eight bits ({image.mode}); convert it to eight")
        image.load()
        return ImageOps.exif_transpose(image).convert("RGB")
    except Image.DecompressionBombError as err:
        raise VideoError(f"images of more than {MAX_PIXELS} pixels are refused; make a smaller copy") from err
    except UnidentifiedImageError as err:
        raise VideoError("it is neither a jpeg nor a png, or its beginning is damaged") from err
    except (OSError, SyntaxError, ValueError) as err:
        raise VideoError(f"it is damaged ({err})") from err
