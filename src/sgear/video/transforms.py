"""Augmentation that treats a clip as one thing: every frame of it gets the same crop, flip and colours.

A clip stays uint8 here: it is cut, resized and mirrored, and the change of its colours is a line per channel that
`finish_clip` draws where the model runs. All randomness comes from the generator that the caller
passes, and each call draws the same number of values whatever the settings, so a clip's augmentation depends on its
seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn import functional

_NUM_DRAWS = 9


@dataclass(frozen=True)
class View:
    """Which part of a frame is seen at test time.

    Args:
        place: Where the crop stands along the side in which the video is longer: 0 left or top, 1 right or bottom.
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
    """Crop, resize and mirror the frames of a clip, and say how their colours change.

    The crop has the shape of the result, so nothing is distorted: of a wider video the sides are cut. It is
    smaller than the largest such crop by a margin, and training moves it; cutting before resizing equals
    resizing slightly larger and cutting then, for less work.

    A crop of another size is resized by triangles with antialiasing, in integers: each direction is rounded to uint8,
    so a value lies within about one level of the exact one, and the frames beside it change nothing.

    Args:
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        mean: Mean of each colour channel, of values in [0, 1].
        std: Standard deviation of each colour channel. > 0.
        crop_margin: Share by which the image is larger than the crop, in [0, 1]. 0.14 is 256 to 224.
        scale_jitter: Training draws the margin of each clip between these two, in [0, 1]; None takes `crop_margin`. A
            short side of 384 to 425 pixels around a crop of 384 is (0, 0.1068).
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
    scale_jitter: tuple[float, float] | None = field(kw_only=True, default=None)
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
        if self.scale_jitter is not None and not 0 <= self.scale_jitter[0] <= self.scale_jitter[1] <= 1:
            raise ValueError(f"scale_jitter must be two ascending margins in [0, 1], got {self.scale_jitter}")
        if not (0 <= self.brightness < 1 and 0 <= self.contrast < 1):
            raise ValueError(f"brightness and contrast must be in [0, 1), got {self.brightness} and {self.contrast}")

    @property
    def colour(self) -> Float32[Tensor, "4 3"]:
        """The colour of clips that are only normalised; see `finish_clip`."""
        return plain_colour(self.mean, self.std)

    @property
    def reading_margin(self) -> float:
        """The margin at which a video is read so that no crop needs enlarging."""
        return max((self.crop_margin, *(self.scale_jitter or ())))

    def train(
        self, frames: UInt8[Tensor, "T 3 H W"], rng: np.random.Generator
    ) -> tuple[UInt8[Tensor, "T 3 h w"], Float32[Tensor, "4 3"]]:
        """Return the clip with one random crop and flip for all of its frames, and its colour."""
        draws = rng.uniform(0.0, 1.0, _NUM_DRAWS)
        low, high = self.scale_jitter or (self.crop_margin, self.crop_margin)
        clip = self._crop(frames, margin=low + (high - low) * draws[8], top=draws[0], left=draws[1])
        if self.flip and draws[2] < 0.5:
            clip = clip.flip(-1)
        signed = 2 * draws[3:8] - 1
        gain = (1 + self.brightness * signed[0]) * (1 + 0.5 * self.brightness * signed[2:])
        colour = self.colour
        if self.contrast:
            # c + k (gain x - c) with c the mean of gain x, as one line: contrast acts before the values are clamped.
            contrast = 1 + self.contrast * signed[1]
            colour[1] = torch.from_numpy((1 - contrast) * gain * _channel_means(clip))
            gain = contrast * gain
        colour[0] = torch.from_numpy(gain)
        return clip, colour

    def evaluate(self, frames: UInt8[Tensor, "T 3 H W"], view: View = VIEWS["centre"][0]) -> UInt8[Tensor, "T 3 h w"]:
        """Return one view of the clip; its colour is `colour`."""
        is_wide = frames.shape[-1] * self.height >= frames.shape[-2] * self.width
        top, left = (0.5, view.place) if is_wide else (view.place, 0.5)
        clip = self._crop(frames, margin=self.crop_margin, top=top, left=left)
        return clip.flip(-1) if view.is_mirrored else clip

    def _crop(self, frames: Tensor, *, margin: float, top: float, left: float) -> Tensor:
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 [T 3 H W], got {frames.dtype} {[*frames.shape]}")
        video_height, video_width = frames.shape[-2:]
        scale = min(video_height / self.height, video_width / self.width) / (1 + margin)
        crop_height = min(video_height, max(1, math.floor(self.height * scale + 0.5)))
        crop_width = min(video_width, max(1, math.floor(self.width * scale + 0.5)))
        # round() with a uniform draw would give the two outermost places half of their share.
        top_px = min(video_height - crop_height, math.floor(top * (video_height - crop_height + 1)))
        left_px = min(video_width - crop_width, math.floor(left * (video_width - crop_width + 1)))
        cut = frames[:, :, top_px : top_px + crop_height, left_px : left_px + crop_width]
        if (crop_height, crop_width) != (self.height, self.width):
            size = (self.height, self.width)
            cut = functional.interpolate(cut, size, mode="bilinear", antialias=True, align_corners=False)
        # Decoded frames are channels-last; a network fed with both layouts would round in two ways.
        return cut.clone(memory_format=torch.contiguous_format)


def _channel_means(clip: Tensor) -> np.ndarray:
    """Return the mean of each channel, of values in [0, 1]; summed as integers, so no order of summing matters."""
    # One frame fits into 32 bits, and 64 take four times as long.
    sums = clip.sum(dim=(2, 3), dtype=torch.int32).sum(dim=0)
    return sums.cpu().numpy() / (255 * clip[:, 0].numel())


def plain_colour(mean: Sequence[float], std: Sequence[float]) -> Float32[Tensor, "4 3"]:
    """Return the colour of a clip that is only normalised, by the mean and std of each channel: gain 1, shift 0."""
    return torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [*mean], [*std]])


def no_colour() -> Float32[Tensor, "4 3"]:
    """Return what stands beside a clip of stored features, which `finish_clip` leaves as it is."""
    return plain_colour((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def finish_clip(
    clip: UInt8[Tensor, "B T *F 3 h w"] | Float[Tensor, "B T *step"],
    colour: Float32[Tensor, "B 4 3"],
    mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T *step"]:
    """Change and normalise the colours of clips, on the device where they are.

    A value x of a channel becomes (clamp(x / 255 * gain + shift, 0, 1) - mean) / std, in float32 and in this order. A
    clip that is no uint8 holds features: it is returned as it came.

    Args:
        clip: Frames, or features.
        colour: Gain, shift, mean and std of each channel of each clip.
        mask: Which steps are real; the others are exactly zero in the result. Default: all are.

    Returns:
        What a model reads.
    """
    if clip.dtype != torch.uint8:
        return clip
    # [B 1 ... 3 1 1]: one line per clip and channel, whatever axes of steps and frames lie between.
    lines = colour.reshape(len(colour), 4, *(1,) * (clip.ndim - 4), 3, 1, 1)
    gain, shift, mean, std = lines.unbind(dim=1)
    pixels = clip.to(torch.float32).div_(255)
    pixels.mul_(gain).add_(shift).clamp_(0, 1).sub_(mean).div_(std)
    if mask is None:
        return pixels
    return pixels.masked_fill_(~mask.reshape(*mask.shape, *(1,) * (clip.ndim - 2)), 0.0)
