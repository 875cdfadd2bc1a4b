"""Where the steps of a clip come from: stored features, frames of videos, the annotated past; never from later on."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from sgear.data.confusion import ActionConfusion
from sgear.data.frames import FrameReader
from sgear.data.labels import StepLabels
from sgear.features.frame_classes import ClassConfusion
from sgear.features.table import StoredFeatures, VideoFeatures, pool_rows
from sgear.timing import frames_of_steps
from sgear.video.base import SLACK_S
from sgear.video.transforms import VIEWS, ClipTransform, View, no_colour


class Reading(NamedTuple):
    """What a source read.

    Args:
        steps: uint8 frames [T 3 h w] or clips [T F 3 h w], or features [T F].
        pts_s: Latest time in seconds that each step shows [T].
        colour: How frames become what a model reads; see `sgear.video.transforms`.
    """

    steps: Tensor
    pts_s: NDArray[np.float64]
    colour: Float32[Tensor, "4 3"]


@runtime_checkable
class StepSource(Protocol):
    """Reads steps of a video at given instants."""

    def first_s(self, video_id: str) -> float:
        """Return the first instant that can be read."""
        ...

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return a step for each instant.

        `rng` is given in training only; it drives augmentation.
        """
        ...

    def empty(self, num_steps: int) -> Tensor:
        """Return a clip [T ...] of zeros with the shape and dtype of what is read."""
        ...


class FeatureSource:
    """Steps from stored features.

    Args:
        table: Features of the videos, in memory or read as they are asked for.
        pool_s: Average the rows of the last `pool_s` seconds of each step; 0 takes the newest row alone.
        confusion: Corrupts the rows of training videos before they are averaged, in training only.
    """

    def __init__(self, table: StoredFeatures, *, pool_s: float = 0.0, confusion: ClassConfusion | None = None) -> None:
        self.table = table
        self.pool_s = pool_s
        self.confusion = confusion
        # One for all clips: making it anew would take as long as reading the rows of a window from a store.
        self._colour = no_colour()

    def first_s(self, video_id: str) -> float:
        """Return the time of the first row."""
        return self.table[video_id].first_s

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return features [T F] and the time of the newest row of each."""
        video = self.table[video_id]
        if rng is None or self.confusion is None:
            features, pts_s = video.read(timestamps_s, self.pool_s)
            return Reading(torch.from_numpy(features), pts_s, self._colour)
        assert isinstance(video, VideoFeatures), "class confusion is only built on features in memory"
        begin, last = video.spans(timestamps_s, self.pool_s)
        first = int(begin.min())
        rows = self.confusion.rows(video_id, first, int(last.max()) + 1, rng)
        pooled = torch.from_numpy(pool_rows(rows, begin - first, last - first))
        return Reading(pooled, video.times_s[last], self._colour)

    def empty(self, num_steps: int) -> Tensor:
        """Return zeros [T F]."""
        return torch.zeros(num_steps, self.table.width)


class VideoSource:
    """Steps from frames of videos, transformed as one clip.

    Args:
        frames: Reads the frames, at a size that leaves room for the crop.
        transform: Crop, augmentation, normalisation.
        view: Part of each frame that evaluation sees.
        frames_per_step: Number F of frames that stand for each step; with 1 the steps have no axis of frames.
        step_frames_s: Seconds between two of them.
    """

    def __init__(
        self,
        frames: FrameReader,
        transform: ClipTransform,
        view: View = VIEWS["centre"][0],
        *,
        frames_per_step: int = 1,
        step_frames_s: float = 0.0,
    ) -> None:
        self.frames = frames
        self.transform = transform
        self.view = view
        self.frames_per_step = frames_per_step
        self.step_frames_s = step_frames_s

    def first_s(self, video_id: str) -> float:
        """Return 0: times of a video count from its first frame."""
        return 0.0

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return uint8 frames [T 3 h w] or clips [T F 3 h w], the latest time of each step, and their colour."""
        batch = self.frames.frames_played_at(video_id, self._frames_of(video_id, timestamps_s).reshape(-1))
        if rng is None:
            frames, colour = self.transform.evaluate(batch.frames, self.view), self.transform.colour
        else:
            # One crop, flip and change of colours for all frames of all steps.
            frames, colour = self.transform.train(batch.frames, rng)
        pts_s = batch.pts_s.reshape(-1, self.frames_per_step).max(axis=1)
        return Reading(frames.unflatten(0, self._axes(len(timestamps_s))), pts_s, colour)

    def _axes(self, num_steps: int) -> tuple[int, ...]:
        return (num_steps,) if self.frames_per_step == 1 else (num_steps, self.frames_per_step)

    def _frames_of(self, video_id: str, timestamps_s: NDArray[np.float64]) -> NDArray[np.float64]:
        reach_s = (self.frames_per_step - 1) * self.step_frames_s
        # Where the video begins is asked only where a step reaches back to it.
        is_near = self.frames_per_step > 1 and len(timestamps_s) > 0 and timestamps_s.min() - reach_s < SLACK_S
        first_s = self.frames.span_s(video_id)[0] if is_near else 0.0
        return frames_of_steps(
            timestamps_s, frames_per_step=self.frames_per_step, step_frames_s=self.step_frames_s, first_s=first_s
        )

    def empty(self, num_steps: int) -> Tensor:
        """Return black frames [T 3 H W] or clips [T F 3 H W]; no step of theirs exists."""
        return torch.zeros(*self._axes(num_steps), 3, self.transform.height, self.transform.width, dtype=torch.uint8)


NO_ACTION = 0


class AnnotationSource:
    """Each step is the number of the action that started last by its instant, as annotated.

    Numbers count from 1; 0 is no action. An action that had ended before the window began is forgotten.

    Args:
        labels: What happens when.
        num_steps: Steps of a full window; with fewer, the window was cut by the start of the video.
        is_read: Whether anything is said; otherwise each step is 0, for a model that looks at nothing.
    """

    def __init__(self, labels: StepLabels, *, num_steps: int, is_read: bool = True) -> None:
        self.labels = labels
        self.num_steps = num_steps
        self.is_read = is_read

    def first_s(self, video_id: str) -> float:
        """Return 0: annotations count from the first frame."""
        return 0.0

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return numbers of actions [T 1]."""
        steps = self.empty(len(timestamps_s))
        if self.is_read:
            first_s = float(timestamps_s[0]) if len(timestamps_s) == self.num_steps else 0.0
            newest = [self.labels.newest(video_id, first_s=first_s, last_s=float(each_s)) for each_s in timestamps_s]
            steps[:, 0] = torch.tensor(newest) + 1
        return Reading(steps, timestamps_s, no_colour())

    def empty(self, num_steps: int) -> Tensor:
        """Return steps without action [T 1]."""
        return torch.full((num_steps, 1), float(NO_ACTION))


RECORD = 3
"""Numbers that stand for an action of the past: number, age in seconds, seconds of it that have passed."""


class PastSource:
    """Each step is the annotated past up to its instant: its newest actions, as records of `RECORD` numbers.

    Actions are numbered from 1. 0 is no action; A + 1 is the beginning of the video, which stands before the first one
    where the past is shorter than `history`.

    Args:
        labels: What happens when.
        num_actions: Number of actions A.
        history: Number K of records of a step.
        counts_from: An action counts from its `start` or its `end`.
        drop: Share of the actions that are left out in training.
        confusion: What a frame classifier would say instead of each action; None for what is annotated.
    """

    def __init__(
        self,
        labels: StepLabels,
        *,
        num_actions: int,
        history: int,
        counts_from: str = "start",
        drop: float = 0.0,
        confusion: ActionConfusion | None = None,
    ) -> None:
        self.labels = labels
        self.num_actions = num_actions
        self.history = history
        self.is_over = counts_from == "end"
        self.drop = drop
        self.confusion = confusion

    def first_s(self, video_id: str) -> float:
        """Return 0: annotations count from the first frame."""
        return 0.0

    def read(self, video_id: str, timestamps_s: NDArray[np.float64], rng: np.random.Generator | None) -> Reading:
        """Return records [T K 3], oldest first, right-aligned."""
        steps = np.zeros((len(timestamps_s), self.history, RECORD), dtype=np.float32)
        for step, at_s in zip(steps, timestamps_s, strict=True):
            past = self.labels.history(video_id, at_s, length=self.history, is_over=self.is_over)
            # An action outside the vocabulary is none that could be named or confused.
            known = past[:, 0] >= 0
            if self.confusion is not None and known.any():
                starts_s = at_s - past[known, 1]
                past[known, 0] = self.confusion.of(past[known, 0].astype(np.int64), video_id, starts_s, rng)
            past[:, 0] += 1
            if len(past) < self.history:
                past = np.concatenate([[[self.num_actions + 1, at_s, 0.0]], past])
            if rng is not None and self.drop > 0:
                past[rng.random(len(past)) < self.drop] = NO_ACTION
            step[len(step) - len(past) :] = past
        return Reading(torch.from_numpy(steps), timestamps_s, self._colour)

    def empty(self, num_steps: int) -> Tensor:
        """Return steps without action [T K 3]."""
        return torch.full((num_steps, self.history, RECORD), float(NO_ACTION))

    _colour = no_colour()
