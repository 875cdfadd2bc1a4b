"""Hands with sleeves, tools and visible effects (water, foam, peel, steam ...)."""

from __future__ import annotations

import math

from sgear.kitchen.objects import SKIN_OF_NOUN, STEEL
from sgear.kitchen.pen import Colour, Number, Pen, Sprite, shaded

WATER = (120, 196, 250)


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
