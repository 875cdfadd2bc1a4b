"""What a model says at one instant, and the frames that it was shown."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from sgear.video.overlay import draw_forecast

RawFrame = np.ndarray | Tensor | av.VideoFrame
"""One frame as a camera or decoder gives it, upright: RGB bytes [H W 3], or PyAV's own."""


@dataclass(frozen=True)
class LaterStep:
    """The k most likely actions of a further step of a roll-out.

    Args:
        ahead_s: Seconds from the last observed instant.
        top: (action name, probability) pairs, most likely first.
    """

    ahead_s: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Forecast:
    """The k most likely next actions, seen from `now_s`.

    Args:
        now_s: Last observed instant in seconds of video time.
        tau_a_s: How far ahead the forecast looks, in seconds.
        top: (action name, probability) pairs, most likely first.
        later: Predictions for further instants by roll-out, in order of time; empty without one.
    """

    now_s: float
    tau_a_s: float
    top: tuple[tuple[str, float], ...]
    later: tuple[LaterStep, ...] = ()

    @property
    def about_s(self) -> float:
        """The instant that the forecast is about, in seconds of video time."""
        return self.now_s + self.tau_a_s

    def __str__(self) -> str:
        actions = ", ".join(f"{name} {100 * probability:.0f}%" for name, probability in self.top)
        return f"{self.now_s:.2f} s, about {self.about_s:.2f} s: {actions}"

    def plot(self, frame: RawFrame) -> Image.Image:
        """Return a frame with this forecast drawn over it; small frames are enlarged until text is legible."""
        return draw_forecast(as_rgb(frame), self)

    def to_dict(self) -> dict[str, object]:
        """Return a plain dict, JSON-ready."""
        values = {"now_s": round(self.now_s, 3), **_about(self.about_s, self.top)}
        if self.later:
            values["later"] = [_about(self.now_s + step.ahead_s, step.top) for step in self.later]
        return values


def _about(about_s: float, top: tuple[tuple[str, float], ...]) -> dict[str, object]:
    return {
        "about_s": round(about_s, 3),
        "top": [{"action": name, "probability": round(probability, 5)} for name, probability in top],
    }


def as_rgb(frame: RawFrame) -> UInt8[np.ndarray, "H W 3"]:
    """Return a frame as RGB bytes.

    Raises:
        ValueError: If it is no RGB image.
    """
    if isinstance(frame, av.VideoFrame):
        return frame.to_ndarray(format="rgb24")
    image = frame.cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a frame must be uint8 RGB [H W 3], got {image.dtype} {[*image.shape]}")
    return np.ascontiguousarray(image)
