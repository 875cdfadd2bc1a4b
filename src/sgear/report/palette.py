"""A small PNG that keeps some colours exactly: those that a scale gives a meaning."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

_MOST = 256
_BYTES = np.array([1 << 16, 1 << 8, 1])


def png_with_palette(sheet: Image.Image, kept: NDArray[np.uint8]) -> bytes:
    """Return a PNG of 256 colours: a third of the space of one with all of them.

    Args:
        sheet: Image in RGB.
        kept: Colours that pixels keep [K 3], up to 200. The others take the nearest of 256.
    """
    codes, where = np.unique(np.asarray(sheet).astype(np.int64) @ _BYTES, return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
    others = colours[~np.isin(codes, kept.astype(np.int64) @ _BYTES)]
    palette = np.concatenate([kept, _spread(others, _MOST - len(kept))])
    nearest = np.asarray(KDTree(palette.astype(np.float64)).query(colours.astype(np.float64))[1], dtype=np.uint8)
    drawn = Image.fromarray(nearest[where].reshape(sheet.height, sheet.width))
    drawn.putpalette(palette.tobytes())
    out = io.BytesIO()
    drawn.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _spread(colours: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Return up to `number` of the colours, of every hue some: by coverage, not by how often they are drawn."""
    if len(colours) <= number:
        return colours
    line = Image.fromarray(colours.reshape(1, -1, 3))
    quantised = line.quantize(number, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return np.unique(np.asarray(quantised.convert("RGB")).reshape(-1, 3), axis=0)
