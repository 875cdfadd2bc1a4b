"""The drawing of the overlay: a translucent panel of forecasts, a clock and a time ribbon.

Everything is measured in a unit that follows the size of the image, and the panel takes fewer rows rather
than more than its share of it. Drawing happens at twice the size and is scaled down, which gives round
corners smooth edges.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MAX_PANEL_SHARE = 0.36
_OVERSAMPLING = 2
_INK = (245, 246, 248)
_SOFT_INK = (190, 196, 206)
_HIT_INK = (134, 239, 172)
_GLASS = (12, 14, 20, 176)
_TRACK = (255, 255, 255, 26)
_GOLDEN_TURN = 0.381966

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class PanelContent:
    """What the panel says; equal contents look equal, so a drawn panel can be kept.

    Args:
        title: Heading, or what is said while there is no forecast.
        rows: (action name, probability) pairs, most likely first.
        now_name: True action that is going on, or None if unknown.
        next_name: True next action, or None if unknown. Its row is marked as a hit.
    """

    title: str
    rows: tuple[tuple[str, float], ...] = ()
    now_name: str | None = None
    next_name: str | None = None


@dataclass(frozen=True)
class Layer:
    """A drawn image with transparency [H W 4] and where its upper left corner goes."""

    rgba: NDArray[np.uint8]
    top: int
    left: int

    def paste_on(self, image: NDArray[np.uint8]) -> None:
        """Blend the layer into an RGB image [H W 3], in place."""
        height, width = self.rgba.shape[:2]
        below = image[self.top : self.top + height, self.left : self.left + width]
        alpha = self.rgba[..., 3:].astype(np.uint16)
        below[:] = (self.rgba[..., :3] * alpha + below * (255 - alpha) + 127) // 255


class Palette:
    """One colour for each action name, in order of first use, as far apart in hue as can be.

    Args:
        names: Action names; repeats are ignored.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._idx = {name: idx for idx, name in enumerate(dict.fromkeys(names))}

    def __getitem__(self, name: str) -> Rgb:
        hue = (0.58 + self._idx.setdefault(name, len(self._idx)) * _GOLDEN_TURN) % 1
        red, green, blue = colorsys.hls_to_rgb(hue, 0.62, 0.72)
        return round(255 * red), round(255 * green), round(255 * blue)


class OverlayPainter:
    """Draws the panel, the clock and the ribbon for images of one size.

    Args:
        height: Height of the video in pixels.
        width: Width of the video in pixels.
        palette: Colours of the actions.
    """

    def __init__(self, height: int, width: int, palette: Palette) -> None:
        self.height = height
        self.width = width
        self._palette = palette
        # The unit is the height of small text.
        self._unit = max(8.0, min(height / 25, width / 22))
        self._ribbon_height = max(3, round(0.5 * self._unit))
        self._margin = max(2, round(0.6 * self._unit))

    @lru_cache(maxsize=64)  # noqa: B019 - a painter lives as long as one video
    def panel(self, content: PanelContent) -> Layer:
        """Draw the panel."""
        unit, pad, row = self._unit, 0.7 * self._unit, 1.65 * self._unit
        is_tall = self.height > 1.1 * self.width
        free_width = float(self.width - 2 * self._margin)
        width = free_width if is_tall else min(free_width, max(15 * unit, min(0.42 * self.width, 22 * unit)))
        truth = [(label, name) for label, name in (("now", content.now_name), ("next", content.next_name)) if name]
        room = min(MAX_PANEL_SHARE * self.height * self.width / width, self.height - 3 * self._margin - row)
        fixed = 2 * pad + 1.5 * unit
        num_rows = int(min(len(content.rows), max(1, (room - fixed - len(truth) * 1.45 * unit) // row)))
        while truth and fixed + num_rows * row + len(truth) * 1.45 * unit > room:
            truth = truth[1:]
        height = fixed + num_rows * row + len(truth) * 1.45 * unit + (0.15 * unit if truth else 0)
        canvas = _Canvas(min(height, room), width)
        canvas.box(0.0, 0.0, width, height, radius=0.7 * unit, fill=_GLASS)
        inner = width - 2 * pad
        canvas.text(content.title, pad, pad + 0.5 * unit, inner, size=0.95 * unit, ink=_SOFT_INK)
        y = pad + 1.5 * unit
        for idx, (name, probability) in enumerate(content.rows[:num_rows]):
            self._row(canvas, name, probability, y, is_first=idx == 0, is_hit=name == content.next_name)
            y += row
        y += 0.3 * unit
        for label, name in truth:
            middle = y + 0.75 * unit
            canvas.box(
                pad,
                middle - 0.28 * unit,
                pad + 0.56 * unit,
                middle + 0.28 * unit,
                0.28 * unit,
                self._palette[name],
            )
            canvas.text(label, pad + 0.95 * unit, middle, 2.4 * unit, size=0.85 * unit, ink=_SOFT_INK)
            canvas.text(name, pad + 3.5 * unit, middle, inner - 3.5 * unit, size=0.95 * unit, ink=_INK)
            y += 1.45 * unit
        top = self.height - canvas.height - 2 * self._margin - self._ribbon_height if is_tall else self._margin
        return Layer(canvas.pixels(), max(0, top), self._margin)

    @lru_cache(maxsize=4)  # noqa: B019 - a painter lives as long as one video
    def clock(self, text: str) -> Layer:
        """Draw the time, for the corner opposite to the panel."""
        unit = self._unit
        width = _font(unit).getlength(text) + 1.2 * unit
        canvas = _Canvas(1.7 * unit, width)
        canvas.box(0.0, 0.0, width, 1.7 * unit, radius=0.6 * unit, fill=_GLASS)
        canvas.text(text, 0.6 * unit, 0.85 * unit, width, size=unit, ink=_INK)
        return Layer(canvas.pixels(), self._margin, self.width - canvas.width - self._margin)

    def ribbon(self, spans: Sequence[tuple[float, float, str]], duration_s: float) -> Layer:
        """Draw the ribbon of what was thought most likely, over the whole width.

        Args:
            spans: (start, stop, action name) in seconds.
            duration_s: Duration of the video, which is the width of the ribbon.
        """
        rgba = np.zeros((self._ribbon_height + 1, self.width, 4), dtype=np.uint8)
        rgba[...] = (*_GLASS[:3], 200)
        for start_s, stop_s, name in spans:
            first, last = (round(min(1.0, time_s / duration_s) * self.width) for time_s in (start_s, stop_s))
            rgba[1:, first:last] = (*self._palette[name], 235)
        return Layer(rgba, self.height - len(rgba), 0)

    def playhead(self, share: float) -> Layer:
        """Draw the mark at `share` in [0, 1] of the ribbon's width."""
        thickness = max(2, round(0.16 * self._unit))
        rgba = np.full((self._ribbon_height + max(2, round(0.3 * self._unit)), thickness + 2, 4), 255, dtype=np.uint8)
        rgba[:, [0, -1]] = (*_GLASS[:3], 160)
        left = round(share * self.width - thickness / 2 - 1)
        return Layer(rgba, self.height - len(rgba), min(max(left, 0), self.width - thickness - 2))

    def _row(self, canvas: _Canvas, name: str, probability: float, y: float, *, is_first: bool, is_hit: bool) -> None:
        unit, pad = self._unit, 0.7 * self._unit
        inner, height = canvas.layout_width - 2 * pad, 1.4 * unit
        middle = y + height / 2
        colour = self._palette[name]
        canvas.box(pad, y, pad + inner, y + height, 0.35 * unit, _TRACK)
        # A bar shorter than its own corners would be drawn outside of its track.
        filled = max(0.7 * unit, inner * min(1.0, max(0.0, probability)))
        canvas.box(pad, y, pad + filled, y + height, 0.35 * unit, (*colour, 170 if is_first else 105))
        percent = f"{100 * probability:.0f}%"
        right = pad + inner - 0.45 * unit
        ink = _INK if is_first or is_hit else (214, 218, 224)
        canvas.text(percent, right, middle, 3 * unit, size=0.95 * unit, ink=ink, is_right=True)
        left = pad + 0.5 * unit
        if is_hit:
            canvas.tick(left, middle, 0.75 * unit, _HIT_INK)
            left += 1.15 * unit
        canvas.text(name, left, middle, right - 2.6 * unit - left, size=unit, ink=_HIT_INK if is_hit else ink)


class _Canvas:
    """A transparent image, drawn in layout pixels at a multiple of its final size."""

    def __init__(self, height: float, width: float) -> None:
        self.height, self.width = max(1, int(height)), max(1, int(width))
        self.layout_width = width
        size = (self.width * _OVERSAMPLING, self.height * _OVERSAMPLING)
        self._image = Image.new("RGBA", size, (*_GLASS[:3], 0))

    def box(self, x0: float, y0: float, x1: float, y1: float, radius: float, fill: tuple[int, ...]) -> None:
        layer = Image.new("RGBA", self._image.size, (*fill[:3], 0))
        corners = [value * _OVERSAMPLING for value in (x0, y0, x1, y1)]
        corners[2:] = [corners[2] - 1, corners[3] - 1]
        ImageDraw.Draw(layer).rounded_rectangle(corners, radius * _OVERSAMPLING, fill=fill)
        self._image.alpha_composite(layer)

    def text(
        self,
        text: str,
        x: float,
        middle: float,
        room: float,
        *,
        size: float,
        ink: Rgb,
        is_right: bool = False,
    ) -> None:
        font = _font(size * _OVERSAMPLING)
        shown = _shortened(text, font, room * _OVERSAMPLING)
        at = (x * _OVERSAMPLING, middle * _OVERSAMPLING)
        ImageDraw.Draw(self._image).text(at, shown, font=font, fill=ink, anchor="rm" if is_right else "lm")

    def tick(self, x: float, middle: float, size: float, ink: Rgb) -> None:
        points = [(x, middle), (x + 0.35 * size, middle + 0.35 * size), (x + size, middle - 0.4 * size)]
        scaled = [(px * _OVERSAMPLING, py * _OVERSAMPLING) for px, py in points]
        ImageDraw.Draw(self._image).line(scaled, fill=ink, width=round(0.22 * size * _OVERSAMPLING), joint="curve")

    def pixels(self) -> NDArray[np.uint8]:
        return np.asarray(self._image.resize((self.width, self.height), Image.Resampling.BOX))


@lru_cache(maxsize=32)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    if font.getlength(text) <= room:
        return text
    for num_kept in range(len(text) - 1, 0, -1):
        if font.getlength(text[:num_kept].rstrip() + "...") <= room:
            return text[:num_kept].rstrip() + "..."
    return ""
