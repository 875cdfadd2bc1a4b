"""Drawing with soft edges: shapes are drawn large and shrunk into sprites that can be pasted quickly.

All coordinates are pixels of a 384 x 256 frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

Colour = tuple[int, int, int] | tuple[int, int, int, int]
Number = int | float
"""Spelled out, because run-time type checkers do not take an int for a float."""
Point = tuple[Number, Number]

INK = (38, 32, 30)
"""Colour of outlines."""
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Sprite:
    """A picture with soft edges and an anchor: the pixel that is put where the sprite is placed."""

    colour: Image.Image
    mask: Image.Image
    anchor: tuple[int, int]

    def paste_on(self, frame: Image.Image, x: Number, y: Number) -> None:
        """Paste the sprite so that its anchor lies at (x, y); parts outside of the frame are cut off."""
        frame.paste(self.colour, (round(x) - self.anchor[0], round(y) - self.anchor[1]), self.mask)

    def rotated(self, degrees: Number) -> Sprite:
        """Return the sprite turned counter-clockwise around its anchor."""
        reach = 1 + max(max(side - at, at) for side, at in zip(self.colour.size, self.anchor, strict=True))
        side = 2 * int(reach * 1.42) + 1
        canvas = Image.new("RGBa", (side, side))
        corner = (side // 2 - self.anchor[0], side // 2 - self.anchor[1])
        canvas.paste(self._image().convert("RGBa"), corner)
        turned = canvas.rotate(degrees, Image.Resampling.BICUBIC).convert("RGBA")
        return _cropped(turned, (side // 2, side // 2))

    def mirrored(self) -> Sprite:
        """Return the sprite with left and right exchanged."""
        anchor = (self.colour.width - 1 - self.anchor[0], self.anchor[1])
        return Sprite(ImageOps.mirror(self.colour), ImageOps.mirror(self.mask), anchor)

    def _image(self) -> Image.Image:
        image = self.colour.copy()
        image.putalpha(self.mask)
        return image


def _cropped(image: Image.Image, anchor: tuple[int, int]) -> Sprite:
    left, top, right, bottom = image.getbbox() or (0, 0, 1, 1)
    image = image.crop((left, top, right, bottom))
    return Sprite(image.convert("RGB"), image.getchannel("A"), (anchor[0] - left, anchor[1] - top))


def shaded(colour: Colour, factor: Number) -> tuple[int, int, int]:
    """Return the colour made darker (< 1) or lighter (> 1)."""
    red, green, blue = (min(255, round(value * factor)) for value in colour[:3])
    return red, green, blue


class Pen:
    """A transparent sheet of `width` x `height` pixels times `scale`, to draw on.

    Args:
        width: Width in drawing units.
        height: Height in drawing units.
        scale: Pixels per drawing unit.
    """

    def __init__(self, width: Number, height: Number, scale: Number = 1.0) -> None:
        self._size = (round(width * scale), round(height * scale))
        self._scale = scale
        self._zoom = scale * _OVERSAMPLING
        self._image = Image.new("RGBA", (self._size[0] * _OVERSAMPLING, self._size[1] * _OVERSAMPLING))
        self._draw = ImageDraw.Draw(self._image)

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number, fill: Colour | None, ink: Number = 2.0) -> None:
        """Draw an ellipse around (x, y) with an outline of `ink` units; 0 means none."""
        box = self._points([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(box, fill=fill, outline=INK if ink else None, width=self._width(ink))

    def box(
        self, x0: Number, y0: Number, x1: Number, y1: Number, fill: Colour, *, r: Number = 0, ink: Number = 2
    ) -> None:
        """Draw a rectangle with corners rounded by `r` units."""
        corners = self._points([(x0, y0), (x1, y1)])
        outline = INK if ink else None
        self._draw.rounded_rectangle(corners, r * self._zoom, fill, outline, self._width(ink))

    def polygon(self, points: Sequence[Point], fill: Colour, ink: Number = 2.0) -> None:
        """Draw a closed shape with an outline of `ink` units; 0 means none."""
        self._draw.polygon(self._points(points), fill=fill)
        if ink:
            self.line([*points, points[0]], INK, ink)

    def line(self, points: Sequence[Point], fill: Colour, width: Number) -> None:
        """Draw a line with round joints and ends."""
        scaled = self._points(points)
        self._draw.line(scaled, fill=fill, width=self._width(width), joint="curve")
        r = self._width(width) / 2
        for x, y in (scaled[0], scaled[-1]):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def limb(self, points: Sequence[Point], fill: Colour, width: Number, ink: Number = 2.0) -> None:
        """Draw a thick line with an outline, e.g. a finger."""
        self.line(points, INK, width + 2 * ink)
        self.line(points, fill, width)

    def image(self) -> Image.Image:
        """Return the sheet in pixels, RGBA."""
        return self._image.convert("RGBa").resize(self._size, Image.Resampling.BOX).convert("RGBA")

    def sprite(self, anchor_x: Number, anchor_y: Number) -> Sprite:
        """Return the sheet as a sprite, its empty margins cut off."""
        return _cropped(self.image(), (round(anchor_x * self._scale), round(anchor_y * self._scale)))

    def _points(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._zoom, y * self._zoom) for x, y in points]

    def _width(self, units: Number) -> int:
        return max(1, round(units * self._zoom)) if units else 0
