"""Which instants of a video a model may see, in seconds.

`AnticipationProtocol` is part of what a number means: it travels with weights, predictions and reports, and it cannot
express a look into the action. Recognition pre-training, which must look into the action, is a different class, so
no anticipation number can come from it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

TIME_TOLERANCE_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class AnticipationProtocol:
    """Observe `tau_o_s` seconds that end `tau_a_s` before the action, at `fps` steps per second.

    Args:
        tau_a_s: Anticipation time in seconds: from the last observed instant to the start of the action. > 0.
        tau_o_s: Observation time in seconds: length of the observed window. > 0.
        fps: Steps per second of the observed window. > 0.

    Raises:
        ValueError: If a value is not positive and finite, or the window holds no step.
    """

    tau_a_s: float
    tau_o_s: float
    fps: float
    kind: ClassVar[str] = "anticipation"

    def __post_init__(self) -> None:
        for name in ("tau_a_s", "tau_o_s", "fps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.num_steps < 1:
            raise ValueError(f"a window of {self.tau_o_s} s at {self.fps} fps holds no step; raise tau_o_s or fps")

    @property
    def num_steps(self) -> int:
        """Number of steps T of a full window."""
        return round(self.tau_o_s * self.fps)

    def timestamps(self, start_s: float, tau_a_s: float | None = None) -> NDArray[np.float64]:
        """Return the instants of the window before an action that starts at `start_s`.

        Args:
            start_s: Start of the action in seconds.
            tau_a_s: A longer anticipation time, for training with a varied horizon. Default: the protocol's.

        Returns:
            Array [T], ascending; the last is `start_s - tau_a_s`. Instants before 0 s are negative: they do not
            exist in the video, and `observable` says which do.

        Raises:
            ValueError: If `tau_a_s` is shorter than the protocol's, which would be a look into the future.
        """
        gap_s = self.tau_a_s if tau_a_s is None else tau_a_s
        if gap_s < self.tau_a_s:
            raise ValueError(f"tau_a_s={gap_s} is shorter than the protocol's {self.tau_a_s}")
        return (start_s - gap_s) - np.arange(self.num_steps - 1, -1, -1, dtype=np.float64) / self.fps

    def assert_no_future(self, pts_s: NDArray[np.float64], start_s: float) -> None:
        """Hold the sampling law: nothing later than `start_s - tau_a_s` was read.

        Args:
            pts_s: Presentation times in seconds of what was really read.
            start_s: Start of the action in seconds.

        Raises:
            AssertionError: If a read frame is later than the last allowed instant.
        """
        limit_s = start_s - self.tau_a_s
        latest_s = float(np.max(pts_s, initial=-math.inf))
        assert latest_s <= limit_s + TIME_TOLERANCE_S, f"frame at {latest_s} s seen, only {limit_s} s is allowed"

    def to_dict(self) -> dict[str, float | str]:
        """Return a plain dict with the protocol's kind, as it is stamped into files."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class RecognitionProtocol:
    """Observe `num_steps` instants spread over the action itself; for recognition pre-training only.

    Args:
        num_steps: Number of steps T.
        jitter: Share of the distance between two steps by which training moves each instant, in [0, 1].

    Raises:
        ValueError: If a value is out of range.
    """

    num_steps: int
    jitter: float = 0.0
    kind: ClassVar[str] = "recognition"

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be in [0, 1], got {self.jitter}")

    def timestamps(self, start_s: float, stop_s: float, rng: np.random.Generator | None = None) -> NDArray[np.float64]:
        """Return the centres of T equal parts of the action, moved within their parts where `rng` is given."""
        width_s = (stop_s - start_s) / self.num_steps
        offsets = np.full(self.num_steps, 0.5)
        if rng is not None:
            offsets = offsets + self.jitter * rng.uniform(-0.5, 0.5, self.num_steps)
        return np.asarray(start_s + (np.arange(self.num_steps) + offsets) * width_s, dtype=np.float64)

    def to_dict(self) -> dict[str, float | str]:
        """Return a plain dict with the protocol's kind, as it is stamped into files."""
        return {"kind": self.kind, **asdict(self)}


def observable(timestamps_s: NDArray[np.float64], first_s: float = 0.0) -> NDArray[np.bool_]:
    """Return which instants exist in a video that begins at `first_s`."""
    return timestamps_s >= first_s - TIME_TOLERANCE_S


def protocol_from_dict(values: dict[str, float | str]) -> AnticipationProtocol | RecognitionProtocol:
    """Rebuild a protocol from `to_dict`.

    Raises:
        ValueError: If the kind is unknown.
    """
    fields = dict(values)
    match fields.pop("kind", None):
        case AnticipationProtocol.kind:
            return AnticipationProtocol(**{name: float(value) for name, value in fields.items()})
        case RecognitionProtocol.kind:
            return RecognitionProtocol(num_steps=int(fields["num_steps"]), jitter=float(fields["jitter"]))
        case other:
            raise ValueError(f"unknown protocol kind {other!r}; known: anticipation, recognition")
