"""Which instants of a video a model may see, in seconds.

`AnticipationProtocol` is part of what a number means: it travels with weights, predictions and reports, and it cannot
express a look into the action. What must or does look into the action is a class of its own, so no anticipation number
can come from it: recognition pre-training, and the end-anchored evaluation that some published numbers use.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

TIME_TOLERANCE_S = 1e-6

ShortHistory = Literal["mask", "repeat"]
"""What stands for steps before the video: nothing at all, or the first frame again and again."""
Views = Literal["centre", "three-crop", "three-crop-flip"]
"""Which parts of each frame a model sees at test time; what it says of several views is averaged."""
ViewMean = Literal["probabilities", "logits"]
"""What is averaged over several views: probabilities, or scores before the softmax, as AVT and S-GEAR do."""


@dataclass(frozen=True, kw_only=True)
class _WindowProtocol:
    """A window of `tau_o_s` seconds that ends `tau_a_s` before an anchor, at `fps` steps per second."""

    tau_a_s: float
    tau_o_s: float
    fps: float
    short_history: ShortHistory = "mask"
    views: Views = "centre"
    view_mean: ViewMean = "probabilities"
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("tau_a_s", "tau_o_s", "fps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name, kind in (("short_history", ShortHistory), ("views", Views), ("view_mean", ViewMean)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if self.views == "centre":
            # One view has no mean: protocols that read and count the same must be equal.
            object.__setattr__(self, "view_mean", "probabilities")
        if self.num_steps < 1:
            raise ValueError(f"a window of {self.tau_o_s} s at {self.fps} fps holds no step; raise tau_o_s or fps")

    @property
    def num_steps(self) -> int:
        """Number of steps T of a full window."""
        return round(self.tau_o_s * self.fps)

    def anchor_s(self, start_s: float, stop_s: float) -> float:
        """Return the instant from which `tau_a_s` counts back."""
        raise NotImplementedError

    def timestamps(self, anchor_s: float, tau_a_s: float | None = None) -> NDArray[np.float64]:
        """Return the instants of the window.

        Args:
            anchor_s: The instant that `anchor_s()` gives for an action, in seconds.
            tau_a_s: A longer anticipation time, for training with a varied horizon. Default: the protocol's.

        Returns:
            Array [T], ascending; the last is `anchor_s - tau_a_s`. Instants before 0 s are negative: they do not
            exist in the video, and `observable` says which do.

        Raises:
            ValueError: If `tau_a_s` is shorter than the protocol's, which would be a look into the future.
        """
        gap_s = self.tau_a_s if tau_a_s is None else tau_a_s
        if gap_s < self.tau_a_s:
            raise ValueError(f"tau_a_s={gap_s} is shorter than the protocol's {self.tau_a_s}")
        return (anchor_s - gap_s) - np.arange(self.num_steps - 1, -1, -1, dtype=np.float64) / self.fps

    def assert_no_future(self, pts_s: NDArray[np.float64], anchor_s: float) -> None:
        """Hold the sampling law: nothing later than `anchor_s - tau_a_s` was read.

        Args:
            pts_s: Presentation times in seconds of what was really read.
            anchor_s: The instant that `anchor_s()` gives for the action, in seconds.

        Raises:
            AssertionError: If a read frame is later than the last allowed instant.
        """
        limit_s = anchor_s - self.tau_a_s
        latest_s = float(np.max(pts_s, initial=-math.inf))
        assert latest_s <= limit_s + TIME_TOLERANCE_S, f"frame at {latest_s} s seen, only {limit_s} s is allowed"

    def to_dict(self) -> dict[str, float | str]:
        """Return a plain dict with the protocol's kind, as it is stamped into files."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class AnticipationProtocol(_WindowProtocol):
    """Observe `tau_o_s` seconds that end `tau_a_s` before the action *starts*, at `fps` steps per second.

    Args:
        tau_a_s: Anticipation time in seconds: from the last observed instant to the start of the action. > 0.
        tau_o_s: Observation time in seconds: length of the observed window. > 0.
        fps: Steps per second of the observed window. > 0.
        short_history: Steps before the video are masked, or repeat its first frame. An action before which nothing can
            be seen is predicted from the class prior under either rule.
        views: Parts of each frame that are seen at test time.
        view_mean: What is averaged over several views; always `probabilities` for one.

    Raises:
        ValueError: If a value is out of range, or the window holds no step.
    """

    kind: ClassVar[str] = "anticipation"

    def anchor_s(self, start_s: float, stop_s: float) -> float:
        """Return the start of the action."""
        return start_s

    def at_tau_a(self, tau_a_s: float, *, keeps_start: bool = False) -> AnticipationProtocol:
        """Return the protocol of another anticipation time.

        Args:
            tau_a_s: Anticipation time in seconds.
            keeps_start: The window begins at the same instant, so it has fewer steps where it ends earlier: what a
                model sees that answers all anticipation times on its way through one window. By default it keeps
                its length and moves as a whole.

        Raises:
            ValueError: If `tau_a_s` is not positive, or it is no step of the window that is kept.
        """
        if not keeps_start:
            return replace(self, tau_a_s=tau_a_s)
        num_left = (self.tau_o_s + self.tau_a_s - tau_a_s) * self.fps
        if round(num_left) < 1 or abs(num_left - round(num_left)) > TIME_TOLERANCE_S:
            first_s = self.tau_a_s + (self.num_steps - 1) / self.fps
            raise ValueError(
                f"the steps of the window lie {first_s:g} s to {self.tau_a_s:g} s before the action, "
                f"{1 / self.fps:g} s apart; {tau_a_s:g} s is none of them"
            )
        return replace(self, tau_a_s=tau_a_s, tau_o_s=round(num_left) / self.fps)


@dataclass(frozen=True, kw_only=True)
class VJepaProtocol(_WindowProtocol):
    """Observe `tau_o_s` seconds that end `tau_a_s` before the action *ends*; the challenge does not allow that.

    It exists to check published numbers only. Four of five actions of EPIC-KITCHENS-100 last longer than a second, so
    the model usually sees the action that it is asked for; and actions that never occur in training are left out of
    the score. `CAVEAT` is printed with each number.

    Args:
        tau_a_s: From the last observed instant to the end of the action, in seconds. > 0.
        tau_o_s: Observation time in seconds. > 0.
        fps: Steps per second. > 0.
        short_history: See `AnticipationProtocol`; the published evaluation repeats the first frame.
        views: See `AnticipationProtocol`.
        view_mean: See `AnticipationProtocol`.

    Source:
        facebookresearch/vjepa2, evals/action_anticipation_frozen/epickitchens.py; asked about in its issue 173.
    """

    short_history: ShortHistory = "repeat"
    kind: ClassVar[str] = "vjepa"

    CAVEAT: ClassVar[str] = (
        "the vjepa protocol ends the clip 1 s before the action ENDS, so the action is usually seen, and leaves out "
        "classes without training segments; its numbers must not stand beside anticipation numbers"
    )

    def anchor_s(self, start_s: float, stop_s: float) -> float:
        """Return the end of the action."""
        return stop_s


WindowProtocol = AnticipationProtocol | VJepaProtocol


@dataclass(frozen=True, kw_only=True)
class RecognitionProtocol:
    """Observe `num_steps` instants of the action itself; for recognition pre-training only.

    They are spread over the action or, with `after_start_s`, lie `1 / fps` apart and end that long after its start,
    whatever its length: 10 steps at 2 fps until 1 s after the start are the window [t_s - 4 s, t_s + 1 s] of the
    released S-GEAR.

    Args:
        num_steps: Number of steps T.
        jitter: Share of the distance between two spread steps by which training moves each instant, in [0, 1].
        after_start_s: Seconds from the start of the action to the last step; 0 spreads the steps.
        fps: Steps per second, > 0 (`after_start_s`).

    Raises:
        ValueError: If a value is out of range.
    """

    num_steps: int
    jitter: float = 0.0
    after_start_s: float = 0.0
    fps: float = 0.0
    kind: ClassVar[str] = "recognition"

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be in [0, 1], got {self.jitter}")
        if not 0 <= self.after_start_s < math.inf or not 0 <= self.fps < math.inf:
            raise ValueError(f"after_start_s and fps must be at least 0, got {self.after_start_s} and {self.fps}")
        if bool(self.after_start_s) != bool(self.fps) or (self.fps and self.jitter):
            raise ValueError(
                "after_start_s and fps make a window together, and its steps are not moved, got "
                f"after_start_s={self.after_start_s}, fps={self.fps}, jitter={self.jitter}"
            )

    def timestamps(
        self, start_s: float, stop_s: float, rng: np.random.Generator | None = None, *, last_s: float = math.inf
    ) -> NDArray[np.float64]:
        """Return the instants to see of an action.

        Args:
            start_s: Start of the action in seconds.
            stop_s: End of the action in seconds.
            rng: Moves spread steps within their parts. Default: they are the centers of T equal parts.
            last_s: Instant up to which the video surely goes; a window that would end later ends there.

        Returns:
            Array [T], ascending. Instants of a window may be negative, see `observable`.
        """
        if self.after_start_s:
            end_s = min(start_s + self.after_start_s, last_s)
            return end_s - np.arange(self.num_steps - 1, -1, -1, dtype=np.float64) / self.fps
        width_s = (stop_s - start_s) / self.num_steps
        offsets = np.full(self.num_steps, 0.5)
        if rng is not None:
            offsets = offsets + self.jitter * rng.uniform(-0.5, 0.5, self.num_steps)
        return np.asarray(start_s + (np.arange(self.num_steps) + offsets) * width_s, dtype=np.float64)

    def to_dict(self) -> dict[str, float | str]:
        """Return a plain dict with the protocol's kind and what it reads, as it is stamped into files."""
        unread = ("jitter",) if self.after_start_s else ("after_start_s", "fps")
        return {"kind": self.kind, **{name: value for name, value in asdict(self).items() if name not in unread}}


def observable(timestamps_s: NDArray[np.float64], first_s: float = 0.0) -> NDArray[np.bool_]:
    """Return which instants exist in a video that begins at `first_s`."""
    return timestamps_s >= first_s - TIME_TOLERANCE_S


def frames_of_steps(
    instants_s: NDArray[np.float64], *, frames_per_step: int, step_frames_s: float, first_s: float = 0.0
) -> NDArray[np.float64]:
    """Return the instants of the frames that stand for each step [... F], in order of time.

    They reach back from the instant of the step, which is the last of them: no step shows what comes after it. What
    would lie before the video is its first frame.

    Args:
        instants_s: Instants of the steps [...].
        frames_per_step: Number F of frames.
        step_frames_s: Seconds between two of them.
        first_s: Time of the first frame of the video.
    """
    back_s = step_frames_s * np.arange(frames_per_step - 1, -1, -1)
    last_s = instants_s[..., None]
    return np.maximum(last_s - back_s, np.minimum(first_s, last_s))


def protocol_from_dict(values: dict[str, float | str]) -> WindowProtocol | RecognitionProtocol:
    """Rebuild a protocol from `to_dict`.

    Raises:
        ValueError: If the kind or a name is unknown, or a value is wrong.
    """
    fields = dict(values)
    kind = fields.pop("kind", None)
    known = {each.kind: each for each in (AnticipationProtocol, VJepaProtocol, RecognitionProtocol)}
    if kind not in known:
        raise ValueError(f"unknown protocol kind {kind!r}; known: {', '.join(known)}")
    text = {"short_history", "views", "view_mean"}
    try:
        typed: dict[str, Any] = {name: str(value) if name in text else float(value) for name, value in fields.items()}
        if kind == RecognitionProtocol.kind:
            return RecognitionProtocol(**(typed | {"num_steps": int(typed["num_steps"])}))
        return known[kind](**typed)
    except (TypeError, KeyError) as err:
        raise ValueError(f"protocol {values} cannot be read: {err}") from err
