"""The colours of a clip: a straight line per channel that travels beside the bytes and is drawn where the model runs.

Frames leave the loader as uint8 with `colour` [4 3]: gain, shift, mean and std of each channel, for values in [0, 1].
`finish_clip` alone turns both into what a model reads. Training, evaluation, extraction and streaming all call it, so
the same frames give the same bits on one device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor


def plain_colour(mean: Sequence[float], std: Sequence[float]) -> Float32[Tensor, "4 3"]:
    """Return the colour of a clip that is only normalised: gain 1, shift 0.

    Args:
        mean: Mean of each channel, of values in [0, 1].
        std: Standard deviation of each channel.
    """
    return torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [*mean], [*std]])


def no_colour() -> Float32[Tensor, "4 3"]:
    """Return what stands beside a clip of stored features, which `finish_clip` leaves as it is."""
    return plain_colour((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def finish_clip(
    clip: UInt8[Tensor, "B T *F 3 h w"] | Float[Tensor, "B T *step"],
    colour: Float32[Tensor, "B 4 3"],
    exists: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T *step"]:
    """Change and normalise the colours of clips, on the device where they are.

    A value x of a channel becomes (clamp(x / 255 * gain + shift, 0, 1) - mean) / std, in float32 and in this order. A
    clip that is no uint8 holds features: it is returned as it came.

    Args:
        clip: Frames, or features.
        colour: Gain, shift, mean and std of each channel of each clip.
        exists: Which steps are real; the others are exactly zero in the result. Default: all are.

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
    return (
        pixels if exists is None else pixels.masked_fill_(~exists.reshape(*exists.shape, *(1,) * (clip.ndim - 2)), 0.0)
    )
