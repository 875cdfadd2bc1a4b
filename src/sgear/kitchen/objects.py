"""The objects of the kitchen, one characteristic colour and shape per noun.

Things of one kind resemble each other on purpose: knife and spoon are slim metal, cup and glass are tumblers, milk
and juice are cartons, pot, pan and bowl are open vessels.
"""

from __future__ import annotations

from sgear.kitchen.pen import INK, Colour, Number, Pen, Sprite, shaded

STEEL, DARK_STEEL = (196, 202, 208), (150, 158, 166)
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
