"""How each verb looks: the place, the pose of the hands, the tool and the effect, at any moment of the action.

A still frame must tell verbs apart, so each has its own signs: take = one hand before an opened store; put = two hands
over the checked mat; open = pulled wide open; close = a flat palm on what is nearly shut; rinse = running water;
wash = water, foam and sponge; cut = knife, board and slices; peel = peeler and curls over the green bin; pour = tilted
carton and stream; stir = wooden spoon, swirl and steam.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from sgear.kitchen import sprites
from sgear.kitchen.sprites import STEEL, Colour, Number, Pen, Sprite

_COLD = ("tomato", "carrot", "milk", "juice")
_CUTLERY = ("knife", "spoon")
_LONG = (*_CUTLERY, "carrot", "bread", "pan")
_DOOR_STEPS = 12


def place_of(verb: str, noun: str) -> str:
    """Return the place of the room where an action happens."""
    match verb:
        case "take":
            return "fridge" if noun in _COLD else "drawer" if noun in _CUTLERY else "shelf"
        case "open" | "close":
            return noun
        case "wash" | "rinse":
            return "sink"
        case "stir":
            return "hob"
        case "put":
            return "mat"
    return "board"


@dataclass(frozen=True)
class Hands:
    """Both hands of a participant by (side, pose), turned the way they enter the frame."""

    sprites: dict[tuple[str, str], Sprite]

    @classmethod
    def drawn(cls, skin: Colour, sleeve: Colour) -> Hands:
        """Draw the hands of one participant."""
        hands = {}
        for pose, turn in (("grip", 24), ("flat", 12)):
            right = sprites.draw_hand(pose, skin, sleeve).rotated(turn)
            hands["right", pose], hands["left", pose] = right, right.mirrored()
        return cls(hands)

    def paste(self, frame: Image.Image, side: str, pose: str, x: Number, y: Number) -> None:
        """Paste one hand with the middle of its palm at (x, y)."""
        self.sprites[side, pose].paste_on(frame, x, y)


@dataclass(frozen=True)
class Moment:
    """One moment of an action.

    Args:
        noun: What is acted on.
        x: Middle of the place in the frame, in pixels.
        y: Same, downwards.
        phase: Elapsed share of the action, in [0, 1).
        seconds: Elapsed seconds.
        dx: Where this performance holds things, right of the middle, in pixels.
        dy: Same, downwards.
    """

    noun: str
    x: Number
    y: Number
    phase: Number
    seconds: Number
    dx: Number = 0.0
    dy: Number = 0.0


def paste_backdrop(frame: Image.Image, verb: str, noun: str, x: Number, y: Number) -> None:
    """Paste what stays changed at a place until the camera has left it: an open store, the board, the mat."""
    place = place_of(verb, noun)
    if verb == "close":
        _shut(frame, noun, x, y, 0.0)
    elif verb == "peel":
        _backdrop("peel").paste_on(frame, x, y + 62)
    elif verb in ("take", "open", "put", "cut"):
        _backdrop(place).paste_on(frame, x, y)


def paste_action(frame: Image.Image, verb: str, moment: Moment, hands: Hands) -> None:
    """Paste an action with its backdrop into a frame of the room."""
    _STAGING[verb](frame, moment, hands)


@lru_cache(maxsize=256)
def _object(noun: str, scale: Number, turn: Number = 0.0, is_filled: bool = False) -> Sprite:
    sprite = sprites.draw_object(noun, scale, is_filled=is_filled)
    return sprite.rotated(turn) if turn else sprite


@lru_cache(maxsize=256)
def _part(draw: Callable[..., Sprite], *args: object) -> Sprite:
    return draw(*args)


def _backdrop(place: str) -> Sprite:
    return _part(*_BACKDROPS[place])


def _variant(moment: Moment, count: int, rate: Number) -> int:
    return int(moment.seconds * rate) % count


def _take(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    place = place_of("take", moment.noun)
    _backdrop(place).paste_on(frame, moment.x, moment.y)
    scale = 1.0 if moment.phase < 0.35 else 1.15 if moment.phase < 0.7 else 1.3
    x, y = moment.x + moment.dx, moment.y + moment.dy - 18 + 42 * moment.phase
    reach_x, reach_y = (46, 16) if moment.noun in _CUTLERY else (26, 40)
    _object(moment.noun, scale, 20.0 if moment.noun in _CUTLERY else 0.0).paste_on(frame, x, y)
    hands.paste(frame, "right", "grip", x + reach_x * scale, y + reach_y * scale)


def _put(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    _backdrop("mat").paste_on(frame, moment.x, moment.y)
    x, y = moment.x + moment.dx, moment.y + moment.dy - 34 + 40 * min(1.0, 1.35 * moment.phase)
    reach = 3 * (part := 26 * max(0.0, moment.phase - 0.74)) + (88 if moment.noun in _LONG else 68)
    _object(moment.noun, 1.15).paste_on(frame, x, y)
    hands.paste(frame, "left", "grip", x - reach, y + 30 + part)
    hands.paste(frame, "right", "grip", x + reach, y + 30 + part)


def _open(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    share = 0.45 + 0.35 * math.sin(0.5 * math.pi * min(1.0, 1.4 * moment.phase))
    step = round(share * _DOOR_STEPS) / _DOOR_STEPS
    if moment.noun == "drawer":
        _part(_draw_drawer, step).paste_on(frame, moment.x, moment.y)
        hands.paste(frame, "right", "grip", moment.x + 20, moment.y - 12 + 106 * step)
        return
    _backdrop("fridge").paste_on(frame, moment.x, moment.y)
    _part(_draw_fridge_door, step).paste_on(frame, moment.x, moment.y)
    hands.paste(frame, "left", "grip", moment.x - 150 + 320 * (1 - step) + 24, moment.y + 20 + moment.dy)


def _close(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    _shut(frame, moment.noun, moment.x, moment.y, 0.34 * (1 - min(1.0, 1.5 * moment.phase)))
    if moment.noun == "drawer":
        depth = 106 * 0.34 * (1 - min(1.0, 1.5 * moment.phase))
        hands.paste(frame, "left", "flat", moment.x - 62 + moment.dx, moment.y + 18 + depth)
        hands.paste(frame, "right", "flat", moment.x + 62 + moment.dx, moment.y + 18 + depth)
        return
    reach = 60 * (1 - moment.phase)
    hands.paste(frame, "left", "flat", moment.x - 50 - reach + moment.dx, moment.y + 10 + moment.dy)
    hands.paste(frame, "right", "flat", moment.x + 60 - reach + moment.dx, moment.y + 16 + moment.dy)


def _shut(frame: Image.Image, noun: str, x: Number, y: Number, share: Number) -> None:
    step = round(share * _DOOR_STEPS) / _DOOR_STEPS
    if noun == "fridge":
        _backdrop("fridge").paste_on(frame, x, y)
        _part(_draw_fridge_door, step).paste_on(frame, x, y)
    else:
        _part(_draw_drawer, step).paste_on(frame, x, y)


def _stream(frame: Image.Image, moment: Moment, length: Number) -> None:
    water = _part(sprites.draw_stream, sprites.WATER, 26.0, length, _variant(moment, 3, 12))
    water.paste_on(frame, moment.x + 26, moment.y - 100)


def _wash(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    _stream(frame, moment, 90.0)
    turn = 2 * math.pi * 1.6 * moment.seconds
    x, y = moment.x + moment.dx, moment.y + 14 + moment.dy
    lift = 16 if moment.noun in _CUTLERY else 0
    _object(moment.noun, 1.2).paste_on(frame, x, y - lift)
    hands.paste(frame, "left", "grip", x - (86 if moment.noun in _LONG else 68), y + 28)
    _part(sprites.draw_foam, _variant(moment, 4, 8)).paste_on(frame, x + 6, y + 58)
    rub_x, rub_y = x + 62 + 16 * math.cos(turn), y + 6 + 10 * math.sin(turn)
    hands.paste(frame, "right", "grip", rub_x + 22, rub_y + 26)
    _part(sprites.draw_sponge).paste_on(frame, rub_x, rub_y)


def _rinse(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    x = moment.x + moment.dx + 4 * math.sin(9 * moment.seconds)
    y = moment.y + 20 + moment.dy + 5 * math.sin(6 * moment.seconds)
    _stream(frame, moment, 180.0)
    _object(moment.noun, 1.2).paste_on(frame, x, y)
    _stream(frame, moment, 100.0)
    reach = 88 if moment.noun in _LONG else 68
    hands.paste(frame, "left", "grip", x - reach, y + 30)
    hands.paste(frame, "right", "grip", x + reach, y + 30)
    _part(sprites.draw_splash, _variant(moment, 4, 10)).paste_on(frame, x + 16, y - 2)


def _cut(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    _backdrop("board").paste_on(frame, moment.x, moment.y)
    x, y = moment.x + moment.dx + 4, moment.y + moment.dy
    _object(moment.noun, 1.15).paste_on(frame, x, y)
    for i in range(2 + int(4 * moment.phase)):
        _part(sprites.draw_slice, moment.noun).paste_on(
            frame, x + 40 + 22 * (i % 4), y + 44 - 16 * (i // 4) - 6 * (i % 2)
        )
    hands.paste(frame, "left", "grip", x - (92 if moment.noun in _LONG else 68), y + 24)
    lift = 11 * (1 + math.sin(2 * math.pi * 2.5 * moment.seconds))
    _object("knife", 1.15, -38.0).paste_on(frame, x + 50, y - 22 - lift)
    hands.paste(frame, "right", "grip", x + 88, y + 18 - lift)


def _peel(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    _backdrop("peel").paste_on(frame, moment.x, moment.y + 62)
    x, y = moment.x - 8 + moment.dx, moment.y - 14 + moment.dy
    _part(sprites.draw_peel, moment.noun, _variant(moment, 4, 6)).paste_on(frame, x + 14, y + 20)
    _object(moment.noun, 1.25).paste_on(frame, x, y)
    hands.paste(frame, "left", "grip", x - 68, y + 24)
    stroke = 16 * math.sin(2 * math.pi * 1.8 * moment.seconds)
    _part(sprites.draw_peeler).paste_on(frame, x + 48 + stroke, y + 20 + 0.3 * stroke)
    hands.paste(frame, "right", "grip", x + 62 + stroke, y + 52 + 0.3 * stroke)


def _pour(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    liquid = sprites.LIQUID_OF_NOUN[moment.noun]
    x, y = moment.x + moment.dx, moment.y + moment.dy
    _part(sprites.draw_stream, liquid, 18.0, 96.0, _variant(moment, 3, 10)).paste_on(frame, x - 50, y - 42)
    _part(_draw_jug, liquid).paste_on(frame, x - 54, y + 26)
    hands.paste(frame, "left", "grip", x - 112, y + 62)
    tilt = 104.0 + 8.0 * (moment.phase > 0.5)
    _object(moment.noun, 1.15, tilt).paste_on(frame, x + 28, y - 40 + 5 * math.sin(5 * moment.seconds))
    hands.paste(frame, "right", "grip", x + 52, y - 14 + 5 * math.sin(5 * moment.seconds))


def _stir(frame: Image.Image, moment: Moment, hands: Hands) -> None:
    x, y = moment.x + moment.dx, moment.y + 24 + moment.dy
    turn = 2 * math.pi * 1.3 * moment.seconds
    surface = {"bowl": -26.0, "pan": 8.0, "pot": -30.0}[moment.noun]
    middle = -11.0 if moment.noun == "pan" else 0.0
    _object(moment.noun, 1.45, 0.0, True).paste_on(frame, x, y)
    _part(sprites.draw_swirl, round(turn / (math.pi / 6)) % 12 * math.pi / 6).paste_on(frame, x + middle, y + surface)
    _part(sprites.draw_steam, _variant(moment, 6, 8)).paste_on(frame, x + middle, y + surface - 12)
    hands.paste(frame, "left", "grip", x - 98, y + surface + 34)
    tip_x, tip_y = x + middle + 30 * math.cos(turn), y + surface + 9 * math.sin(turn)
    _part(sprites.draw_wooden_spoon).paste_on(frame, tip_x, tip_y)
    hands.paste(frame, "right", "grip", tip_x + 84, tip_y - 52)


def _draw_jug(liquid: Colour) -> Sprite:
    pen = Pen(130, 110)
    pen.polygon([(12, 18), (118, 18), (104, 100), (26, 100)], (200, 216, 226, 220), 3)
    pen.polygon([(18, 48), (112, 48), (103, 97), (27, 97)], liquid, 0)
    pen.ellipse(65, 18, 53, 13, (226, 238, 244, 230), 3)
    return pen.sprite(65, 18)


def _draw_open_fridge() -> Sprite:
    pen = Pen(360, 360)
    pen.box(10, -10, 350, 370, (250, 252, 226), ink=3)
    for y in (88, 196, 300):
        pen.box(14, y, 346, y + 10, (150, 196, 220), ink=0)
    for x, y, colour in ((60, 66, (90, 170, 90)), (300, 60, (200, 120, 160)), (310, 170, (120, 150, 210))):
        pen.box(x - 22, y - 26, x + 22, y + 22, colour, r=8)
    pen.ellipse(180, 14, 30, 10, (255, 255, 190))
    return pen.sprite(180, 150)


def _draw_open_shelf() -> Sprite:
    pen = Pen(340, 190)
    pen.box(10, 4, 330, 178, (120, 76, 44), ink=3)
    pen.box(22, 14, 318, 168, (74, 46, 28), ink=0)
    pen.box(12, 150, 328, 168, (190, 134, 84))
    for x in (50, 290):
        pen.ellipse(x, 138, 24, 9, (216, 212, 204))
        pen.ellipse(x, 130, 24, 9, (216, 212, 204))
    return pen.sprite(170, 150)


def _draw_drawer(share: Number) -> Sprite:
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


def _draw_fridge_door(share: Number) -> Sprite:
    """Draw the fridge door swung open by a share; the anchor is the middle of the place, the hinge is on the left."""
    pen = Pen(380, 400)
    edge = 20 + 340 * (1 - share)
    lift = 26 * share
    pen.polygon([(20, 20), (edge, 20 - lift), (edge, 380 + lift), (20, 380)], (214, 222, 230), 3)
    pen.polygon([(edge, 20 - lift), (edge + 16 * share + 3, 20), (edge + 16 * share + 3, 380), (edge, 380)], STEEL)
    if share < 0.7:
        pen.limb([(edge - 24 * (1 - share), 150), (edge - 24 * (1 - share), 250)], STEEL, 8)
    return pen.sprite(190, 190)


def _draw_board() -> Sprite:
    pen = Pen(280, 150)
    pen.box(6, 10, 274, 144, (226, 184, 122), r=14, ink=3)
    for y in (44, 78, 112):
        pen.line([(22, y), (258, y + 4)], (206, 160, 98), 3)
    pen.ellipse(252, 28, 8, 8, (150, 110, 60))
    return pen.sprite(140, 76)


def _draw_compost() -> Sprite:
    pen = Pen(240, 130)
    pen.polygon([(10, 30), (230, 30), (196, 124), (44, 124)], (70, 110, 60), 3)
    pen.ellipse(120, 32, 110, 26, (92, 140, 78), 3)
    pen.ellipse(120, 34, 98, 20, (46, 64, 36), 0)
    return pen.sprite(120, 34)


def _draw_mat() -> Sprite:
    pen = Pen(270, 150)
    pen.box(6, 6, 264, 144, (250, 246, 240), ink=3)
    for i in range(6):
        pen.box(8 + i * 43, 8, 8 + i * 43 + 21, 142, (238, 146, 146), ink=0)
    for i in range(4):
        pen.box(8, 8 + i * 36, 262, 8 + i * 36 + 18, (238, 146, 146), ink=0)
        for j in range(6):
            pen.box(8 + j * 43, 8 + i * 36, 8 + j * 43 + 21, 8 + i * 36 + 18, (216, 50, 58), ink=0)
    return pen.sprite(135, 75)


# What an action changes in the room, and at which places; anchors are the middles of the places.
_BACKDROPS: dict[str, tuple[Callable[..., Sprite], *tuple[Number, ...]]] = {
    "fridge": (_draw_open_fridge,),
    "shelf": (_draw_open_shelf,),
    "drawer": (_draw_drawer, 1.0),
    "board": (_draw_board,),
    "peel": (_draw_compost,),
    "mat": (_draw_mat,),
}
_STAGING: dict[str, Callable[[Image.Image, Moment, Hands], None]] = {
    "take": _take,
    "put": _put,
    "open": _open,
    "close": _close,
    "wash": _wash,
    "rinse": _rinse,
    "cut": _cut,
    "peel": _peel,
    "pour": _pour,
    "stir": _stir,
}
