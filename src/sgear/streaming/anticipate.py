"""A trained model over a whole film: one forecast per instant, each from the past alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sgear.errors import RunError
from sgear.models.pretrained import TrainedModel
from sgear.models.stepwise import StepwiseModel
from sgear.streaming.forecast import Forecast, LaterStep
from sgear.timing import TIME_TOLERANCE_S, AnticipationProtocol, observable
from sgear.video.colours import finish_clip
from sgear.video.film import Film
from sgear.video.sizes import ReadingSize, open_for_model
from sgear.video.transforms import ClipTransform

_WINDOWS_PER_BATCH = 16


class _SeenFrames:
    """Frames of the film that a window may still need, cut and resized once each."""

    def __init__(self, reader: Film, transform: ClipTransform) -> None:
        self._reader = reader
        self._transform = transform
        self._frames: dict[float, Tensor] = {}

    def clip(self, timestamps_s: NDArray[np.float64]) -> Tensor:
        """Return the uint8 frames played at the instants [T 3 h w]."""
        return torch.stack([self._frames[t_s] for t_s in timestamps_s.tolist()])

    def load(self, timestamps_s: NDArray[np.float64]) -> None:
        """Read what is not there yet and forget what is older than the first instant."""
        wanted = sorted(set(timestamps_s.tolist()))
        self._frames = {t_s: frame for t_s, frame in self._frames.items() if t_s >= wanted[0]}
        new = [t_s for t_s in wanted if t_s not in self._frames]
        if new:
            batch = self._reader.frames_played_at(new)
            self._frames |= dict(zip(new, self._transform.evaluate(batch.frames), strict=True))


def anticipate_video(
    trained: TrainedModel,
    video: Path,
    *,
    every_s: float = 1.0,
    top_k: int = 5,
    device: str = "cpu",
    frame_fps: float | None = None,
    steps_ahead: int = 1,
) -> Iterator[Forecast]:
    """Forecast the next action at regular instants of a film.

    Args:
        trained: A model trained on pixels for anticipation.
        video: Any film; see `open_film`.
        every_s: Seconds between two forecasts.
        top_k: Number of actions in a forecast.
        device: Where to run.
        frame_fps: Rate at which pictures were numbered; needed for a film that is made of them.
        steps_ahead: Number of predicted steps: the next action, and by roll-out what comes 1 / fps, 2 / fps, ...
            seconds after it, fps being that of the model's protocol.

    Yields:
        One forecast at 0, every_s, 2 every_s, ... seconds, as long as the last frame is shown.

    Raises:
        RunError: If the model reads stored features, was trained for recognition, or is to look several steps ahead
            and cannot be rolled out.
        VideoError: If the film cannot be read.
        ValueError: If `every_s` is not positive, or `steps_ahead` below 1.
    """
    if not every_s > 0:
        raise ValueError(f"every_s must be positive, got {every_s}")
    if steps_ahead < 1:
        raise ValueError(f"steps_ahead must be at least 1, got {steps_ahead}")
    protocol, settings = trained.protocol, trained.preprocessing
    if settings.kind != "video":
        raise RunError(
            "this model reads stored features, not films; choose a run that was trained with source.kind=video"
        )
    if not isinstance(protocol, AnticipationProtocol):
        raise RunError(f"this run was trained for {protocol.kind}; choose an anticipation run")
    transform = ClipTransform(
        settings.height,
        settings.width,
        settings.mean,
        settings.std,
        crop_margin=settings.crop_margin,
        flip=False,
        brightness=0.0,
        contrast=0.0,
    )
    model, colour = trained.model.to(device), transform.colour.to(device)
    if steps_ahead > 1 and not isinstance(model, StepwiseModel):
        raise RunError("this model predicts one step; to look further ahead, choose a run of S-GEAR or AVT")
    names = trained.taxonomy.action_names
    size = ReadingSize(settings.height, settings.width, settings.reading_margin)
    with open_for_model(video, size, frame_fps=frame_fps) as reader:
        nows_s = np.arange(0.0, reader.end_s - TIME_TOLERANCE_S, every_s)
        seen = _SeenFrames(reader, transform)
        for first in range(0, len(nows_s), _WINDOWS_PER_BATCH):
            chunk_s = nows_s[first : first + _WINDOWS_PER_BATCH]
            # The window that ends at `now` is the window before an action that would start at now + tau_a. Rounding
            # to microseconds lets windows share the frames they have in common.
            windows_s = np.stack([protocol.timestamps(now_s + protocol.tau_a_s).round(6) for now_s in chunk_s])
            if protocol.short_history == "repeat":
                windows_s = np.maximum(windows_s, 0.0)
            exists = observable(windows_s)
            seen.load(np.maximum(windows_s[exists], 0.0))
            clips = torch.zeros(*windows_s.shape, 3, settings.height, settings.width, dtype=torch.uint8)
            for row, (window_s, real) in enumerate(zip(windows_s, exists, strict=True)):
                clips[row, torch.from_numpy(real)] = seen.clip(np.maximum(window_s[real], 0.0))
            with torch.inference_mode():
                is_real = torch.from_numpy(exists).to(device)
                output = model(finish_clip(clips.to(device), colour.expand(len(clips), -1, -1), is_real), is_real)
                steps = output.logits[:, None]
                if steps_ahead > 1 and isinstance(model, StepwiseModel):
                    # The first step is the one that `forward` gave, to the bit.
                    further = model.rollout(output.observed, steps_ahead, is_real).logits[:, 1:]
                    steps = torch.cat([steps, further], dim=1)
            for now_s, (top, *later) in zip(chunk_s, _likeliest(steps, names, top_k), strict=True):
                following = tuple(
                    LaterStep(protocol.tau_a_s + step / protocol.fps, likeliest)
                    for step, likeliest in enumerate(later, start=1)
                )
                yield Forecast(now_s=float(now_s), tau_a_s=protocol.tau_a_s, top=top, later=following)


def _likeliest(
    logits: Float[Tensor, "B S A"], names: Sequence[str], top_k: int
) -> list[list[tuple[tuple[str, float], ...]]]:
    """Return the (name, probability) pairs of each step of each window, likeliest first."""
    best = logits.float().softmax(dim=-1).cpu().topk(min(top_k, logits.shape[-1]))

    def named(window: int, step: int) -> tuple[tuple[str, float], ...]:
        pairs = zip(best.indices[window, step], best.values[window, step], strict=True)
        return tuple((names[int(action)], float(value)) for action, value in pairs)

    num_windows, num_steps = logits.shape[:2]
    return [[named(window, step) for step in range(num_steps)] for window in range(num_windows)]
