"""Segments x protocol x source -> samples, with the no-future law held at every read.

Randomness of a training sample is drawn from (seed, epoch, index) alone, so it depends neither on workers nor on
where a run was resumed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Literal, TypedDict, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sgear.data.labels import StepLabels
from sgear.data.sources import StepSource
from sgear.errors import ConfigError, FeatureError, FeatureWidthError, SgearError, VideoError
from sgear.segments import UNKNOWN_ACTION, ActionSegment, SegmentTable
from sgear.timing import RecognitionProtocol, WindowProtocol, observable
from sgear.video.transforms import no_colour

OnError = Literal["stop", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
SKIP_EFFECT = "goes on without what cannot be read, lists it in the report, and makes no benchmark number"
SKIP_HINT = f"source.on_error=skip ('sgear evaluate': --on-error skip) {SKIP_EFFECT}"


def checked_on_error(text: str) -> OnError:
    """Return a setting of `source.on_error`.

    Raises:
        ConfigError: If it is neither `stop` nor `skip`.
    """
    for known in ON_ERROR:
        if text == known:
            return known
    raise ConfigError(f"source.on_error={text!r} is unknown; choose {' or '.join(ON_ERROR)}")


def is_unreadable(err: SgearError) -> bool:
    """Return whether an error says that one clip cannot be read, and nothing about all of them."""
    return isinstance(err, VideoError | FeatureError) and not isinstance(err, FeatureWidthError)


def stopping_error(err: SgearError, *, uid: str, video_id: str, instants_s: NDArray[np.float64] | None) -> SgearError:
    """Return the error that ends a run at a clip.

    Args:
        err: Why the clip cannot be read.
        uid: Segment of the clip.
        video_id: Its video.
        instants_s: What was to be read of it [T]; None where that is not known.
    """
    at = "" if instants_s is None or not len(instants_s) else f", {instants_s.min():.3f} to {instants_s.max():.3f} s"
    kind = VideoError if isinstance(err, VideoError) else FeatureError
    return kind(f"segment {uid!r} (video {video_id!r}{at}): {str(err).rstrip('.')}. {SKIP_HINT}")


class Sample(TypedDict):
    """One clip: its steps [T ...], which are real, the action of each and after each, the target, and its row.

    Steps are uint8 frames or float32 features; `colour` says how frames become what a model reads, see
    `sgear.video.transforms.finish_clip`.
    `unreadable` says why the clip could not be read, and is empty otherwise; such a clip has no real step and no label.
    """

    clip: Tensor
    colour: Float32[Tensor, "4 3"]
    mask: Bool[Tensor, " T"]
    step_labels: Int[Tensor, " T"]
    next_labels: Int[Tensor, " T"]
    target: Int[Tensor, ""]
    row: Int[Tensor, ""]
    unreadable: str


class Batch(TypedDict):
    """Stacked samples; `clip` is [B T ...] as it left the loader, `finish_clip` makes it the model's."""

    clip: Tensor
    colour: Float32[Tensor, "B 4 3"]
    mask: Bool[Tensor, "B T"]
    step_labels: Int[Tensor, "B T"]
    next_labels: Int[Tensor, "B T"]
    target: Int[Tensor, " B"]
    row: Int[Tensor, " B"]
    unreadable: list[str]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of equal length."""
    return Batch(
        clip=torch.stack([sample["clip"] for sample in samples]),
        colour=torch.stack([sample["colour"] for sample in samples]),
        mask=torch.stack([sample["mask"] for sample in samples]),
        step_labels=torch.stack([sample["step_labels"] for sample in samples]),
        next_labels=torch.stack([sample["next_labels"] for sample in samples]),
        target=torch.stack([sample["target"] for sample in samples]),
        row=torch.stack([sample["row"] for sample in samples]),
        unreadable=[sample["unreadable"] for sample in samples],
    )


AnyProtocol = TypeVar("AnyProtocol", bound=WindowProtocol | RecognitionProtocol)


class WindowDataset(Dataset[Sample], ABC, Generic[AnyProtocol]):
    """Base of the two data sets: one sample per row of a segment table.

    Args:
        segments: Rows to sample; with the class to predict.
        protocol: Which instants are seen.
        labels: Actions of the observed steps.
        source: Where steps are read.
        seed: Seed of the augmentation; None means evaluation, without any randomness.
        on_error: `stop` raises where a clip cannot be read; `skip` gives a sample without steps and labels, whose
            `unreadable` says why.
    """

    def __init__(
        self,
        segments: SegmentTable,
        protocol: AnyProtocol,
        labels: StepLabels,
        source: StepSource,
        *,
        seed: int | None,
        on_error: OnError = "stop",
    ) -> None:
        self.segments = segments
        self.protocol = protocol
        self.labels = labels
        self.source = source
        self.seed = seed
        self.on_error: OnError = on_error
        self.epoch = 0
        self._rows = list(segments)

    def __len__(self) -> int:
        return len(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation is drawn."""
        self.epoch = epoch

    @property
    def repeats_first(self) -> bool:
        """Whether steps before the video repeat its first one; otherwise they do not exist."""
        return False

    @abstractmethod
    def instants(self, segment: ActionSegment, rng: np.random.Generator | None) -> NDArray[np.float64]:
        """Return the instants to read for a segment [T]; negative ones do not exist."""

    @abstractmethod
    def step_labels(self, segment: ActionSegment, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the action of each instant [T]."""

    def next_labels(self, segment: ActionSegment, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the action that follows each instant [T], -1 where it is not asked for."""
        return np.full(len(instants_s), UNKNOWN_ACTION)

    def check_read(self, segment: ActionSegment, pts_s: NDArray[np.float64]) -> None:
        """Hold what the protocol forbids; called with the times of what was read."""

    def __getitem__(self, index: int) -> Sample:
        """Return one sample; steps that do not exist are zero and marked so in `mask`.

        Raises:
            VideoError: If the clip cannot be read and `on_error` is `stop`; names the segment.
            FeatureError: The same of stored features.
        """
        segment = self._rows[index]
        rng = None if self.seed is None else np.random.default_rng([self.seed, self.epoch, index])
        instants_s = None
        try:
            first_s = self.source.first_s(segment.video_id)
            instants_s = self.instants(segment, rng)
            if self.repeats_first:
                instants_s = np.maximum(instants_s, first_s)
            mask = observable(instants_s, first_s)
            read = self.source.read(segment.video_id, instants_s[mask], rng)
        except SgearError as err:
            if not is_unreadable(err):
                raise
            if self.on_error == "stop":
                raise stopping_error(err, uid=segment.uid, video_id=segment.video_id, instants_s=instants_s) from err
            return self._unreadable(index, str(err))
        self.check_read(segment, read.pts_s)
        clip = self.source.empty(len(instants_s))
        clip[torch.from_numpy(mask)] = read.steps
        return Sample(
            clip=clip,
            colour=read.colour,
            mask=torch.from_numpy(mask),
            step_labels=torch.from_numpy(self.step_labels(segment, instants_s)),
            next_labels=torch.from_numpy(self.next_labels(segment, instants_s)),
            target=torch.tensor(segment.action_id),
            row=torch.tensor(index),
            unreadable="",
        )

    def _unreadable(self, index: int, reason: str) -> Sample:
        num_steps = self.protocol.num_steps
        unknown = torch.full((num_steps,), UNKNOWN_ACTION)
        return Sample(
            clip=self.source.empty(num_steps),
            colour=no_colour(),
            mask=torch.zeros(num_steps, dtype=torch.bool),
            step_labels=unknown,
            next_labels=unknown.clone(),
            target=torch.tensor(UNKNOWN_ACTION),
            row=torch.tensor(index),
            unreadable=reason,
        )


class AnticipationDataset(WindowDataset[WindowProtocol]):
    """What was seen until `tau_a` before each action (before its end, under `VJepaProtocol`).

    Args:
        segments: Actions to anticipate.
        protocol: Which instants may be seen.
        labels: Actions of the observed steps.
        source: Where steps are read.
        seed: Seed of the augmentation; None for evaluation.
        on_error: See `WindowDataset`.
        tau_a_jitter_s: Training lengthens `tau_a` by up to this many seconds, drawn anew in each epoch.
        next_within_s: Each step is asked for the next action too, where that starts within this many seconds.

    Raises:
        ValueError: If a segment starts before anything can be seen; `split_observable` sorts these out.
    """

    def __init__(
        self,
        segments: SegmentTable,
        protocol: WindowProtocol,
        labels: StepLabels,
        source: StepSource,
        *,
        seed: int | None,
        on_error: OnError = "stop",
        tau_a_jitter_s: float = 0.0,
        next_within_s: float = 0.0,
    ) -> None:
        super().__init__(segments, protocol, labels, source, seed=seed, on_error=on_error)
        self.tau_a_jitter_s = tau_a_jitter_s
        self.next_within_s = next_within_s
        blind = (~observable_segments(segments, protocol, source, on_error=on_error)).sum()
        if blind:
            raise ValueError(f"{blind} segments start before anything can be seen; predict them from the class prior")

    @property
    def repeats_first(self) -> bool:
        """Whether the protocol repeats the first frame of a video."""
        return self.protocol.short_history == "repeat"

    def instants(self, segment: ActionSegment, rng: np.random.Generator | None) -> NDArray[np.float64]:
        """Return the window before the action."""
        tau_a_s = self.protocol.tau_a_s
        anchor_s = self.protocol.anchor_s(segment.start_s, segment.stop_s)
        if rng is not None:
            room_s = anchor_s - tau_a_s - self.source.first_s(segment.video_id)
            tau_a_s += rng.uniform(0, max(0.0, min(self.tau_a_jitter_s, room_s)))
        return self.protocol.timestamps(anchor_s, tau_a_s)

    def step_labels(self, segment: ActionSegment, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the annotated action of each instant."""
        return self.labels.at(segment.video_id, instants_s)

    def next_labels(self, segment: ActionSegment, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return what starts between `tau_a` and `next_within_s` after each instant."""
        return self.labels.next_after(
            segment.video_id, instants_s, earliest_s=self.protocol.tau_a_s, latest_s=self.next_within_s
        )

    def check_read(self, segment: ActionSegment, pts_s: NDArray[np.float64]) -> None:
        """Assert that no frame later than the protocol allows was read."""
        self.protocol.assert_no_future(pts_s, self.protocol.anchor_s(segment.start_s, segment.stop_s))


class RecognitionDataset(WindowDataset[RecognitionProtocol]):
    """What is seen during each action, or in a window around its start."""

    def instants(self, segment: ActionSegment, rng: np.random.Generator | None) -> NDArray[np.float64]:
        """Return the instants that the protocol gives, none later than the last annotated one of the video."""
        # A window that ends 1 s after the start of a short action may be longer than its video.
        last_s = max(segment.stop_s, self.labels.last_s(segment.video_id))
        return self.protocol.timestamps(segment.start_s, segment.stop_s, rng, last_s=last_s)

    def step_labels(self, segment: ActionSegment, instants_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the action itself for each instant; in a window, which shows others too, the annotated one."""
        if self.protocol.after_start_s:
            return self.labels.at(segment.video_id, instants_s)
        return np.full(len(instants_s), segment.action_id)


def observable_segments(
    segments: SegmentTable, protocol: WindowProtocol, source: StepSource, *, on_error: OnError = "stop"
) -> NDArray[np.bool_]:
    """Return which segments have at least one step to see [M]; the rest is predicted from the class prior.

    With `skip`, a video that cannot be opened counts as one that could be seen from 0 s on: its segments are asked
    for, and found unreadable.

    Raises:
        VideoError: If a video cannot be opened and `on_error` is `stop`; names its first segment.
        FeatureError: The same of stored features.
    """
    first_s: dict[str, float] = {}
    for segment in segments:
        if segment.video_id in first_s:
            continue
        try:
            first_s[segment.video_id] = source.first_s(segment.video_id)
        except SgearError as err:
            if not is_unreadable(err):
                raise
            if on_error == "stop":
                raise stopping_error(err, uid=segment.uid, video_id=segment.video_id, instants_s=None) from err
            first_s[segment.video_id] = 0.0
    begins = np.array([first_s[segment.video_id] for segment in segments])
    anchors = np.array([protocol.anchor_s(segment.start_s, segment.stop_s) for segment in segments])
    return observable(anchors - protocol.tau_a_s - begins)
