"""The room: one wide picture per film that the camera moves over, and what opens in it.

Places, from left to right: fridge, shelf with a drawer below, board, mat, sink, hob. `PLACES` holds where the action
happens; the camera looks at that point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sgear.kitchen.objects import STEEL, draw_object
from sgear.kitchen.pen import Colour, Number, Pen, Sprite, shaded

ROOM_WIDTH, ROOM_HEIGHT = 1900, 430
PLACES: dict[str, tuple[int, int]] = {
    "fridge": (210, 150),
    "shelf": (560, 140),
    "drawer": (560, 290),
    "board": (880, 165),
    "mat": (1150, 165),
    "sink": (1410, 155),
    "hob": (1660, 165),
}
"""Middle of each place in the room, in pixels."""

_COUNTER_TOP, _COUNTER_EDGE = 118, 250


@dataclass(frozen=True)
class RoomColours:
    """Colours of one participant's kitchen."""

    wall: Colour
    counter: Colour
    front: Colour

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> RoomColours:
        """Draw the colours: muted ones, so that objects stand out."""
        walls = ((206, 220, 222), (226, 214, 196), (198, 212, 196), (216, 204, 216), (190, 202, 220))
        counters = ((150, 140, 130), (112, 116, 124), (178, 160, 136), (134, 150, 150), (160, 150, 164))
        fronts = ((206, 198, 186), (158, 172, 184), (188, 166, 140), (172, 182, 160))
        return cls(*(options[rng.integers(len(options))] for options in (walls, counters, fronts)))


def draw_room(colours: RoomColours, rng: np.random.Generator) -> Image.Image:
    """Draw a kitchen with a random set of distractors at the back of the counter, RGB."""
    pen = Pen(ROOM_WIDTH, ROOM_HEIGHT)
    pen.box(0, 0, ROOM_WIDTH, ROOM_HEIGHT, colours.wall, ink=0)
    grout = shaded(colours.wall, 0.9)
    for y in range(20, _COUNTER_TOP, 34):
        pen.line([(0, y), (ROOM_WIDTH, y)], grout, 2)
    for x in range(0, ROOM_WIDTH, 44):
        pen.line([(x, 0), (x, _COUNTER_TOP)], grout, 2)
    pen.box(0, _COUNTER_TOP, ROOM_WIDTH, _COUNTER_EDGE, colours.counter, ink=0)
    pen.line([(0, _COUNTER_TOP + 4), (ROOM_WIDTH, _COUNTER_TOP + 4)], shaded(colours.counter, 0.7), 8)
    pen.box(0, _COUNTER_EDGE, ROOM_WIDTH, ROOM_HEIGHT, colours.front, ink=0)
    pen.line([(0, _COUNTER_EDGE), (ROOM_WIDTH, _COUNTER_EDGE)], shaded(colours.counter, 1.2), 8)
    for x in range(400, ROOM_WIDTH, 310):
        pen.box(x + 5, _COUNTER_EDGE + 14, x + 305, ROOM_HEIGHT - 8, shaded(colours.front, 0.94), r=6)
        pen.limb([(x + 120, _COUNTER_EDGE + 34), (x + 190, _COUNTER_EDGE + 34)], STEEL, 7)
    _fixtures(pen)
    room = pen.image().convert("RGB")
    nouns = rng.permutation(("cup", "glass", "bowl", "pot", "onion", "bread", "milk", "juice", "tomato"))[:6]
    for x, noun in zip((740, 1010, 1040, 1270, 1540, 1800), nouns, strict=True):
        draw_object(str(noun), 0.42).paste_on(room, x + int(rng.integers(-14, 14)), _COUNTER_TOP + 6)
    return room


def _fixtures(pen: Pen) -> None:
    pen.box(40, -10, 380, ROOM_HEIGHT + 10, (224, 230, 236), r=10)
    pen.line([(42, 250), (378, 250)], (150, 160, 170), 4)
    pen.limb([(350, 120), (350, 220)], STEEL, 8)
    x, y = PLACES["shelf"]
    pen.box(x - 160, y - 150, x + 160, y - 26, (150, 100, 60), r=4)
    pen.box(x - 2, y - 148, x + 2, y - 28, (100, 66, 40), ink=0)
    pen.ellipse(x - 14, y - 60, 5, 5, STEEL)
    pen.ellipse(x + 14, y - 60, 5, 5, STEEL)
    x, y = PLACES["sink"]
    pen.box(x - 150, y - 22, x + 150, y + 88, (214, 220, 226), r=20)
    pen.box(x - 138, y - 12, x + 138, y + 80, (146, 156, 166), r=16, ink=0)
    pen.limb([(x, y - 34), (x, y - 100), (x + 6, y - 108), (x + 26, y - 108)], STEEL, 13)
    pen.limb([(x, y - 36), (x, y - 92)], STEEL, 13)
    x, y = PLACES["hob"]
    pen.box(x - 140, y - 36, x + 140, y + 78, (44, 46, 52), r=10)
    for dx in (-72, 72):
        pen.ellipse(x + dx, y + 20, 54, 34, (92, 60, 56))
        pen.ellipse(x + dx, y + 20, 38, 23, (44, 46, 52), 0)


def draw_backdrops() -> dict[str, Sprite]:
    """Draw what an action changes in the room; anchors are the middles of the places."""
    return {
        "fridge": _open_fridge(),
        "shelf": _open_shelf(),
        "drawer": draw_drawer(1.0),
        "board": _board(),
        "peel": _compost(),
        "mat": _mat(),
    }


def _open_fridge() -> Sprite:
    pen = Pen(360, 360)
    pen.box(10, -10, 350, 370, (250, 252, 226), ink=3)
    for y in (88, 196, 300):
        pen.box(14, y, 346, y + 10, (150, 196, 220), ink=0)
    for x, y, colour in ((60, 66, (90, 170, 90)), (300, 60, (200, 120, 160)), (310, 170, (120, 150, 210))):
        pen.box(x - 22, y - 26, x + 22, y + 22, colour, r=8)
    pen.ellipse(180, 14, 30, 10, (255, 255, 190))
    return pen.sprite(180, 150)


def _open_shelf() -> Sprite:
    pen = Pen(340, 190)
    pen.box(10, 4, 330, 178, (120, 76, 44), ink=3)
    pen.box(22, 14, 318, 168, (74, 46, 28), ink=0)
    pen.box(12, 150, 328, 168, (190, 134, 84))
    for x in (50, 290):
        pen.ellipse(x, 138, 24, 9, (216, 212, 204))
        pen.ellipse(x, 130, 24, 9, (216, 212, 204))
    return pen.sprite(170, 150)


def draw_drawer(share: Number) -> Sprite:
    """Draw the cutlery drawer pulled out by a share of its depth; the anchor is the middle of the place."""
    pen = Pen(360, 210)
    depth = 24 + 106 * share
    pen.polygon([(50, 2), (310, 2), (318, depth), (42, depth)], (120, 88, 58), 3)
    for x in (115, 180, 245):
        pen.line([(x, 4), (x, depth)], (214, 178, 130), 6)
    for i, x in enumerate((74, 92, 140, 156, 204, 222, 272, 290)):
        tip = depth - 18 - 7 * (i % 3)
        pen.limb([(x, min(8, tip)), (x, tip)], STEEL, 6, 1)
        pen.ellipse(x, tip, 8, 13, STEEL, 1)
    pen.box(24, depth - 4, 336, depth + 62, (232, 204, 164), r=6, ink=3)
    pen.limb([(140, depth + 24), (220, depth + 24)], STEEL, 9)
    return pen.sprite(180, 42)


def draw_fridge_door(share: Number) -> Sprite:
    """Draw the fridge door swung open by a share; the anchor is the middle of the place, the hinge is on the left."""
    pen = Pen(380, 400)
    edge = 20 + 340 * (1 - share)
    lift = 26 * share
    pen.polygon([(20, 20), (edge, 20 - lift), (edge, 380 + lift), (20, 380)], (214, 222, 230), 3)
    pen.polygon([(edge, 20 - lift), (edge + 16 * share + 3, 20), (edge + 16 * share + 3, 380), (edge, 380)], STEEL)
    if share < 0.7:
        pen.limb([(edge - 24 * (1 - share), 150), (edge - 24 * (1 - share), 250)], STEEL, 8)
    return pen.sprite(190, 190)


def _board() -> Sprite:
    pen = Pen(280, 150)
    pen.box(6, 10, 274, 144, (226, 184, 122), r=14, ink=3)
    for y in (44, 78, 112):
        pen.line([(22, y), (258, y + 4)], (206, 160, 98), 3)
    pen.ellipse(252, 28, 8, 8, (150, 110, 60))
    return pen.sprite(140, 76)


def _compost() -> Sprite:
    pen = Pen(240, 130)
    pen.polygon([(10, 30), (230, 30), (196, 124), (44, 124)], (70, 110, 60), 3)
    pen.ellipse(120, 32, 110, 26, (92, 140, 78), 3)
    pen.ellipse(120, 34, 98, 20, (46, 64, 36), 0)
    return pen.sprite(120, 34)


def _mat() -> Sprite:
    pen = Pen(270, 150)
    pen.box(6, 6, 264, 144, (250, 246, 240), ink=3)
    for i in range(6):
        pen.box(8 + i * 43, 8, 8 + i * 43 + 21, 142, (238, 146, 146), ink=0)
    for i in range(4):
        pen.box(8, 8 + i * 36, 262, 8 + i * 36 + 18, (238, 146, 146), ink=0)
        for j in range(6):
            pen.box(8 + j * 43, 8 + i * 36, 8 + j * 43 + 21, 8 + i * 36 + 18, (216, 50, 58), ink=0)
    return pen.sprite(135, 75)
