"""Sprites of objects, hands, tools and effects, drawn once with soft edges and pasted quickly.

Shapes are drawn large and shrunk. All coordinates are pixels of a 384 x 256 frame. One characteristic colour and shape
per noun; things of one kind resemble each other on purpose: knife and spoon are slim metal, cup and glass are tumblers,
milk and juice are cartons, pot, pan and bowl are open vessels.
"""

from __future__ import annotations

import math
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
    """An image with soft edges and an anchor: the pixel that is put where the sprite is placed."""

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


STEEL, DARK_STEEL = (196, 202, 208), (150, 158, 166)
WATER = (120, 196, 250)
FLESH_OF_NOUN: dict[str, Colour] = {
    "tomato": (236, 92, 72),
    "carrot": (250, 150, 50),
    "onion": (222, 186, 222),
    "bread": (244, 220, 168),
}
"""Inner colour of what can be cut."""
SKIN_OF_NOUN: dict[str, Colour] = {
    "tomato": (214, 40, 34),
    "carrot": (238, 116, 20),
    "onion": (140, 52, 128),
    "bread": (176, 112, 52),
}
"""Outer colour of what can be cut or peeled."""
LIQUID_OF_NOUN: dict[str, Colour] = {"milk": (250, 250, 246), "juice": (250, 166, 24)}
"""Colour of what can be poured."""

_SHEET = 160


def draw_object(noun: str, scale: Number = 1.0, *, is_filled: bool = False) -> Sprite:
    """Draw an object about 100 pixels wide at scale 1; the anchor is its middle.

    Args:
        noun: One of the nouns that can be held.
        scale: Size factor.
        is_filled: Whether an open vessel shows its contents.
    """
    pen = Pen(_SHEET, _SHEET, scale)
    if noun in ("knife", "spoon"):
        _cutlery(pen, noun)
    elif noun in ("cup", "glass"):
        _tumbler(pen, noun)
    elif noun in ("milk", "juice"):
        _carton(pen, noun)
    elif noun in ("bowl", "pan", "pot"):
        _vessel(pen, noun, is_filled)
    elif noun == "plate":
        pen.ellipse(80, 80, 64, 42, (244, 246, 250))
        pen.ellipse(80, 80, 58, 37, (70, 120, 214), 0)
        pen.ellipse(80, 80, 47, 29, (244, 246, 250), 0)
        pen.ellipse(80, 82, 36, 20, (222, 228, 236), 0)
    else:
        _food(pen, noun)
    return pen.sprite(80, 80)


def draw_slice(noun: str) -> Sprite:
    """Draw one cut slice of a food."""
    pen = Pen(44, 44)
    pen.ellipse(22, 22, 17, 13, SKIN_OF_NOUN[noun], 1.5)
    pen.ellipse(22, 22, 13, 9, FLESH_OF_NOUN[noun], 0)
    return pen.sprite(22, 22)


def _cutlery(pen: Pen, noun: str) -> None:
    if noun == "knife":
        pen.polygon([(6, 84), (30, 68), (98, 68), (98, 92), (20, 92)], STEEL)
        pen.line([(24, 86), (94, 86)], (236, 240, 244), 3)
        pen.box(96, 69, 154, 89, (34, 34, 40), r=8)
        pen.ellipse(112, 79, 2.5, 2.5, STEEL, 0)
        pen.ellipse(136, 79, 2.5, 2.5, STEEL, 0)
        return
    pen.limb([(60, 80), (150, 80)], STEEL, 10)
    pen.ellipse(36, 80, 30, 20, STEEL)
    pen.ellipse(34, 80, 21, 13, DARK_STEEL, 0)
    pen.ellipse(28, 76, 8, 4, (240, 244, 248), 0)


def _tumbler(pen: Pen, noun: str) -> None:
    if noun == "cup":
        yellow = (250, 208, 30)
        pen.ellipse(118, 84, 20, 22, yellow)
        pen.ellipse(118, 84, 10, 12, (0, 0, 0, 0))
        pen.polygon([(44, 44), (114, 44), (108, 124), (50, 124)], yellow)
        pen.ellipse(79, 44, 35, 12, (255, 232, 120))
        pen.ellipse(79, 46, 27, 7, (150, 110, 20), 0)
        return
    pen.polygon([(48, 34), (112, 34), (104, 128), (56, 128)], (170, 226, 240, 190))
    pen.ellipse(80, 34, 32, 11, (214, 244, 250, 220))
    pen.line([(60, 52), (66, 116)], (255, 255, 255, 230), 6)
    pen.line([(100, 52), (96, 116)], (110, 184, 210, 220), 4)


def _carton(pen: Pen, noun: str) -> None:
    body, band = ((248, 248, 250), (30, 92, 200)) if noun == "milk" else ((250, 150, 20), (250, 230, 90))
    pen.polygon([(50, 48), (66, 22), (98, 22), (112, 48)], shaded(body, 0.85))
    pen.box(64, 12, 100, 24, band)
    pen.box(48, 46, 114, 142, body)
    if noun == "milk":
        pen.box(49, 84, 113, 118, band, ink=0)
        pen.ellipse(81, 66, 12, 12, band, 0)
    else:
        pen.ellipse(81, 94, 25, 25, (255, 206, 60), 2)
        for dx, dy in ((0, -22), (19, 11), (-19, 11)):
            pen.line([(81, 94), (81 + dx, 94 + dy)], (250, 150, 20), 3)


def _vessel(pen: Pen, noun: str, is_filled: bool) -> None:
    contents: Colour = (226, 150, 60)
    if noun == "bowl":
        green = (40, 160, 84)
        pen.polygon([(18, 62), (142, 62), (126, 100), (104, 122), (56, 122), (34, 100)], green)
        pen.ellipse(80, 62, 62, 26, shaded(green, 1.3))
        pen.ellipse(80, 63, 53, 20, (252, 236, 190) if is_filled else shaded(green, 0.6), 0)
    elif noun == "pan":
        pen.limb([(120, 72), (158, 50)], (120, 66, 40), 11)
        pen.ellipse(72, 92, 62, 34, (30, 30, 34))
        pen.ellipse(72, 84, 62, 34, (66, 66, 72))
        pen.ellipse(72, 85, 53, 27, contents if is_filled else (24, 24, 28), 0)
    else:
        navy = (36, 62, 140)
        pen.limb([(12, 76), (148, 76)], INK, 8)
        pen.box(26, 56, 134, 136, navy, r=14)
        pen.box(28, 98, 132, 108, (236, 238, 244), ink=0)
        pen.ellipse(80, 58, 54, 24, (236, 238, 244))
        pen.ellipse(80, 59, 46, 18, contents if is_filled else (20, 30, 70), 0)


def _food(pen: Pen, noun: str) -> None:
    skin = SKIN_OF_NOUN[noun]
    light = shaded(skin, 1.35)
    if noun == "tomato":
        pen.ellipse(80, 84, 42, 38, skin)
        pen.ellipse(66, 72, 12, 9, light, 0)
        for dx, dy in ((-22, -4), (22, -4), (-12, 12), (12, 12), (0, -16)):
            pen.line([(80, 56), (80 + dx, 56 + dy)], (40, 140, 40), 8)
    elif noun == "carrot":
        for dx, dy in ((34, -20), (38, 0), (34, 18)):
            pen.limb([(116, 80), (116 + dx, 80 + dy)], (54, 160, 50), 8, 1.5)
        pen.polygon([(4, 88), (96, 58), (120, 66), (124, 88), (108, 100)], skin)
        for x in (50, 76, 100):
            pen.line([(x, 76), (x + 4, 88)], shaded(skin, 0.75), 3)
    elif noun == "onion":
        pen.polygon([(68, 56), (80, 26), (92, 56)], shaded(skin, 1.2))
        pen.ellipse(80, 86, 42, 38, skin)
        pen.ellipse(80, 86, 22, 37, light, 0)
        pen.ellipse(80, 86, 9, 36, skin, 0)
    else:
        pen.box(14, 58, 146, 112, skin, r=26)
        for x in (44, 74, 104):
            pen.line([(x, 66), (x + 14, 92)], (238, 200, 140), 7)


def draw_hand(pose: str, skin: Colour, sleeve: Colour) -> Sprite:
    """Draw a right hand with its forearm below, fingers up; the anchor is the middle of the palm.

    Args:
        pose: "grip" (fingers bent around something) or "flat" (open palm, fingers spread).
        skin: Colour of the skin.
        sleeve: Colour of the sleeve.
    """
    pen = Pen(150, 320)
    pen.limb([(75, 130), (78, 170)], skin, 36)
    pen.polygon([(50, 158), (106, 158), (122, 318), (38, 318)], sleeve, 2.5)
    pen.line([(52, 166), (104, 166)], shaded(sleeve, 0.7), 8)
    if pose == "flat":
        for x, y, tip_x, tip_y in ((52, 86, 36, 34), (68, 78, 62, 18), (84, 78, 88, 18), (98, 86, 114, 34)):
            pen.limb([(x, y), (tip_x, tip_y)], skin, 14)
        pen.limb([(56, 112), (16, 88)], skin, 15)
        pen.ellipse(75, 104, 32, 34, skin)
        pen.box(52, 80, 98, 112, skin, r=12, ink=0)
    else:
        pen.ellipse(75, 104, 34, 32, skin)
        for x in (50, 67, 84, 101):
            pen.limb([(x, 76), (x, 92)], skin, 14)
        pen.limb([(48, 116), (26, 92)], skin, 15)
        pen.box(52, 96, 98, 116, skin, r=10, ink=0)
    pen.line([(62, 122), (90, 120)], shaded(skin, 0.8), 3)
    return pen.sprite(75, 100)


def draw_sponge() -> Sprite:
    """Draw a yellow sponge with a green scouring side."""
    pen = Pen(70, 50)
    pen.box(4, 6, 66, 44, (252, 222, 60), r=8)
    pen.box(5, 32, 65, 43, (40, 150, 70), r=5, ink=0)
    return pen.sprite(35, 25)


def draw_foam(variant: int) -> Sprite:
    """Draw a heap of soap bubbles; variants differ in the place of the bubbles."""
    pen = Pen(170, 90)
    for i in range(26):
        x = 85 + 66 * math.sin(2.4 * i + variant)
        y = 48 + 28 * math.sin(1.7 * i + 0.9 * variant)
        pen.ellipse(x, y, 9 + (i + variant) % 4 * 3, 8 + (i + variant) % 4 * 3, (250, 252, 255), 1)
        pen.ellipse(x - 3, y - 3, 3, 3, (204, 226, 250), 0)
    return pen.sprite(85, 45)


def draw_stream(colour: Colour, width: Number, length: Number, variant: int) -> Sprite:
    """Draw a falling stream; the anchor is its upper end."""
    pen = Pen(width + 30, length + 10)
    middle = width / 2 + 15
    wave = [(middle + 3 * math.sin(0.11 * y + 2.1 * variant), y) for y in range(2, int(length), 6)]
    pen.line(wave, shaded(colour, 0.75), width)
    pen.line(wave, colour, width - 5)
    pen.line([(x - width / 6, y) for x, y in wave], shaded(colour, 1.25), width / 6)
    return pen.sprite(middle, 2)


def draw_splash(variant: int) -> Sprite:
    """Draw water drops that jump off an object."""
    pen = Pen(180, 100)
    for i in range(16):
        angle = math.pi * (0.04 + 0.92 * ((i * 0.37 + variant * 0.21) % 1.0))
        reach = 40 + 38 * ((i * 0.61 + variant * 0.29) % 1.0)
        pen.ellipse(90 + reach * math.cos(angle), 84 - reach * math.sin(angle), 5, 6, WATER, 1)
    return pen.sprite(90, 84)


def draw_peeler() -> Sprite:
    """Draw a peeler with a bright green handle, blade up; the anchor is the middle of the handle."""
    pen = Pen(60, 120)
    pen.limb([(30, 60), (30, 112)], (90, 200, 30), 14)
    pen.line([(30, 54), (12, 34), (12, 12)], STEEL, 6)
    pen.line([(30, 54), (48, 34), (48, 12)], STEEL, 6)
    pen.limb([(12, 14), (48, 14)], (226, 230, 234), 6)
    return pen.sprite(30, 86)


def draw_peel(noun: str, variant: int) -> Sprite:
    """Draw curly strips of peel that hang down; the anchor is their upper end."""
    pen = Pen(120, 110)
    for strip, x0 in enumerate((26, 60, 94)):
        points = [(x0 + (6 + 0.1 * y) * math.sin(0.16 * y + strip * 2 + variant * 1.6), 6 + y) for y in range(0, 94, 4)]
        pen.limb(points, SKIN_OF_NOUN[noun], 8, 1.5)
    return pen.sprite(60, 6)


def draw_wooden_spoon() -> Sprite:
    """Draw a wooden spoon that dips down to the left; the anchor is its lower end."""
    pen = Pen(130, 130)
    pen.limb([(20, 112), (116, 14)], (208, 150, 84), 11)
    pen.ellipse(22, 110, 15, 14, (208, 150, 84))
    return pen.sprite(20, 112)


def draw_swirl(turn: Number) -> Sprite:
    """Draw a flat spiral in a stirred liquid, turned by `turn` radians."""
    pen = Pen(120, 50)
    points = []
    for i in range(60):
        angle, reach = turn + i * 0.22, 4 + i * 0.82
        points.append((60 + reach * math.cos(angle), 25 + 0.4 * reach * math.sin(angle)))
    pen.line(points, (255, 252, 240), 4)
    return pen.sprite(60, 25)


def draw_steam(variant: int) -> Sprite:
    """Draw wisps of steam; the anchor is the middle of their lower ends."""
    pen = Pen(150, 110)
    for wisp, x0 in enumerate((30, 75, 120)):
        points = [(x0 + 10 * math.sin(0.075 * y + wisp + variant * 1.05), 104 - y) for y in range(0, 96, 5)]
        pen.line(points, (255, 255, 255, 150), 11)
    return pen.sprite(75, 104)
