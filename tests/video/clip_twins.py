"""The whole way from frames to what a model reads, once more: frame by frame, in float64, with loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sgear.video import ClipTransform
from sgear.video.transforms import View


def triangle_weights(length: int, wanted: int) -> NDArray[np.float64]:
    """Weights [wanted, length] of an antialiased linear resize: triangles as wide as the step, at least one pixel."""
    step = length / wanted
    width = max(step, 1.0)
    weights = np.zeros((wanted, length))
    for out in range(wanted):
        centre = (out + 0.5) * step
        for at in range(length):
            weights[out, at] = max(0.0, 1.0 - abs(at + 0.5 - centre) / width)
        weights[out] /= weights[out].sum()
    return weights


def cut_and_resize(
    frame: NDArray[np.uint8], height: int, width: int, *, margin: float, top: float, left: float
) -> NDArray[np.float64]:
    """Return the crop of a frame [3 H W] as [3 h w], not rounded."""
    video_height, video_width = frame.shape[1:]
    scale = min(video_height / height, video_width / width) / (1 + margin)
    crop_height = min(video_height, max(1, int(np.floor(height * scale + 0.5))))
    crop_width = min(video_width, max(1, int(np.floor(width * scale + 0.5))))
    first_row = min(video_height - crop_height, int(top * (video_height - crop_height + 1)))
    first_column = min(video_width - crop_width, int(left * (video_width - crop_width + 1)))
    rows, columns = triangle_weights(crop_height, height), triangle_weights(crop_width, width)
    result = np.zeros((3, height, width))
    for channel in range(3):
        cut = np.zeros((crop_height, crop_width))
        for row in range(crop_height):
            for column in range(crop_width):
                cut[row, column] = frame[channel, first_row + row, first_column + column]
        result[channel] = rows @ cut @ columns.T
    return result


def slow_train(
    transform: ClipTransform, frames: NDArray[np.uint8], rng: np.random.Generator, *, rounds: bool
) -> NDArray[np.float64]:
    """Return a training clip [T 3 h w]: crop, resize, mirror, gain, contrast around the mean, clamp, normalise.

    `rounds` rounds the resized frames to whole levels, as bytes do.
    """
    top, left, mirror, light, contrast, red, green, blue, scale = (rng.uniform() for _ in range(9))
    low, high = transform.scale_jitter or (transform.crop_margin, transform.crop_margin)
    clip = []
    for frame in frames:
        seen = cut_and_resize(
            frame, transform.height, transform.width, margin=low + (high - low) * scale, top=top, left=left
        )
        seen = np.floor(seen + 0.5) if rounds else seen
        if transform.flip and mirror < 0.5:
            seen = seen[:, :, ::-1]
        clip.append(seen / 255)
    for channel, draw in enumerate((red, green, blue)):
        gain = (1 + transform.brightness * (2 * light - 1)) * (1 + 0.5 * transform.brightness * (2 * draw - 1))
        total = 0.0
        for frame in clip:
            total += (gain * frame[channel]).sum()
        centre = total / (len(clip) * transform.height * transform.width)
        for frame in clip:
            changed = (gain * frame[channel] - centre) * (1 + transform.contrast * (2 * contrast - 1)) + centre
            frame[channel] = (np.clip(changed, 0, 1) - transform.mean[channel]) / transform.std[channel]
    return np.stack(clip)


def slow_evaluate(transform: ClipTransform, frames: NDArray[np.uint8], view: View) -> NDArray[np.float64]:
    """Return one view of a clip [T 3 h w]."""
    clip = []
    for frame in frames:
        is_wide = frame.shape[2] / transform.width >= frame.shape[1] / transform.height
        place = {"top": 0.5, "left": view.place} if is_wide else {"top": view.place, "left": 0.5}
        seen = cut_and_resize(frame, transform.height, transform.width, margin=transform.crop_margin, **place) / 255
        seen = seen[:, :, ::-1] if view.is_mirrored else seen
        for channel in range(3):
            seen[channel] = (seen[channel] - transform.mean[channel]) / transform.std[channel]
        clip.append(seen)
    return np.stack(clip)
