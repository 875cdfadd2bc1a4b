"""Augmentation that treats a clip as one thing: every frame of it gets the same crop, flip and colours.

All randomness comes from the generator that the caller passes, and each call draws the same number of values
whatever the settings, so a clip's augmentation depends on its seed alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

_NUM_DRAWS = 8


@dataclass(frozen=True)
class View:
    """Which part of a frame is seen at test time.

    Args:
        place: Where the crop stands along the side in which the film is longer: 0 left or top, 1 right or bottom.
        is_mirrored: Whether left and right change places.
    """

    place: float = 0.5
    is_mirrored: bool = False


_THREE = tuple(View(place) for place in (0.0, 0.5, 1.0))
VIEWS: dict[str, tuple[View, ...]] = {
    "centre": (View(),),
    "three-crop": _THREE,
    "three-crop-flip": (*_THREE, *(View(view.place, is_mirrored=True) for view in _THREE)),
}
"""The views of each `AnticipationProtocol.views`."""


@dataclass(frozen=True)
class ClipTransform:
    """Crop, resize, jitter and normalise the frames of a clip.

    The crop has the shape of the result, so nothing is distorted: of a wider film the sides are cut. It is
    smaller than the largest such crop by `crop_margin`, and training moves it; cutting before resizing equals
    resizing slightly larger and cutting then, for less work.

    Args:
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        mean: Mean of each colour channel, of values in [0, 1].
        std: Standard deviation of each colour channel. > 0.
        crop_margin: Share by which the picture is larger than the crop, in [0, 1]. 0.14 is 256 to 224.
        flip: Whether training mirrors half of the clips.
        brightness: Largest relative change of brightness, in [0, 1); each colour's gain varies by half of it.
        contrast: Largest relative change of contrast around the clip's mean, in [0, 1).

    Raises:
        ValueError: If a value is out of range.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_margin: float = field(kw_only=True)
    flip: bool = field(kw_only=True)
    brightness: float = field(kw_only=True)
    contrast: float = field(kw_only=True)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ValueError(f"height and width must be at least 1, got {self.height} and {self.width}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std must have three values, std above 0; got {self.mean} and {self.std}")
        if not 0 <= self.crop_margin <= 1:
            raise ValueError(f"crop_margin must be in [0, 1], got {self.crop_margin}")
        if not (0 <= self.brightness < 1 and 0 <= self.contrast < 1):
            raise ValueError(f"brightness and contrast must be in [0, 1), got {self.brightness} and {self.contrast}")

    def train(self, frames: UInt8[Tensor, "T 3 H W"], rng: np.random.Generator) -> Float32[Tensor, "T 3 h w"]:
        """Return the clip with one random crop, flip and colour change for all of its frames."""
        draws = rng.uniform(0.0, 1.0, _NUM_DRAWS)
        clip = self._crop(frames, top=draws[0], left=draws[1])
        if self.flip and draws[2] < 0.5:
            clip = clip.flip(-1)
        signed = 2 * draws[3:] - 1
        gains = (1 + self.brightness * signed[0]) * (1 + 0.5 * self.brightness * signed[2:])
        gain = torch.tensor(gains, dtype=torch.float32).view(1, 3, 1, 1)
        clip = clip * gain
        centre = clip.mean(dim=(0, 2, 3), keepdim=True)
        clip = (clip - centre) * (1 + self.contrast * signed[1]) + centre
        return self._normalise(clip.clamp(0, 1))

    def evaluate(self, frames: UInt8[Tensor, "T 3 H W"], view: View = VIEWS["centre"][0]) -> Float32[Tensor, "T 3 h w"]:
        """Return one view of the clip with unchanged colours."""
        is_wide = frames.shape[-1] * self.height >= frames.shape[-2] * self.width
        top, left = (0.5, view.place) if is_wide else (view.place, 0.5)
        clip = self._crop(frames, top=top, left=left)
        return self._normalise(clip.flip(-1) if view.is_mirrored else clip)

    def _crop(self, frames: Tensor, *, top: float, left: float) -> Tensor:
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 [T 3 H W], got {frames.dtype} {[*frames.shape]}")
        film_height, film_width = frames.shape[-2:]
        scale = min(film_height / self.height, film_width / self.width) / (1 + self.crop_margin)
        crop_height = min(film_height, max(1, math.floor(self.height * scale + 0.5)))
        crop_width = min(film_width, max(1, math.floor(self.width * scale + 0.5)))
        # round() with a uniform draw would give the two outermost places half of their share.
        top_px = min(film_height - crop_height, math.floor(top * (film_height - crop_height + 1)))
        left_px = min(film_width - crop_width, math.floor(left * (film_width - crop_width + 1)))
        cut = frames[:, :, top_px : top_px + crop_height, left_px : left_px + crop_width].float() / 255
        if (crop_height, crop_width) == (self.height, self.width):
            return cut
        size = (self.height, self.width)
        return functional.interpolate(cut, size, mode="bilinear", antialias=True, align_corners=False)

    def _normalise(self, clip: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        return ((clip - mean) / std).contiguous()
