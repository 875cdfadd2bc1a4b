"""The longest clip a model was built for, checked in one place; and steps that are not there."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

NO_STREAM = "mode=original reads a clip as a whole, later frames included; choose another mode for streams"
"""What to say where TCA or prototype attention in the form of the released code is asked for single steps."""


def check_num_steps(num_steps: int, max_steps: int, *, what: str = "clip", remedy: str = "") -> None:
    """Raise if a clip or a stream needs more steps than the model has.

    Args:
        num_steps: Steps needed.
        max_steps: Steps there are.
        what: What is too long.
        remedy: What to do. Default: what helps with a clip.

    Raises:
        ValueError: Gives both numbers and the remedy.
    """
    if num_steps > max_steps:
        raise ValueError(
            f"{what} of {num_steps} steps, but this model was built for at most {max_steps}; "
            + (remedy or "shorten tau_o_s * fps or train with a larger model.max_steps")
        )


def require_whole_clip(num_steps: int, expected: int, exists: Bool[Tensor, "_ T"] | None) -> None:
    """Raise unless a clip has the one length that the released code takes, and all its steps are real.

    Raises:
        ValueError: Says what is asked for.
    """
    num_real = num_steps if exists is None else int(exists.sum(dim=1).min())
    if num_steps != expected or num_real != expected:
        raise ValueError(
            f"mode=original reads clips of exactly {expected} real steps, got {num_steps}, of them {num_real} real; "
            "set model.max_steps to the number of steps of a clip, and protocol.short_history=repeat"
        )


def hide_absent(clip: Tensor, exists: Bool[Tensor, "B T"] | None) -> Tensor:
    """Return a clip [B T ...] with zeros where steps do not exist, so that nothing that stands there is ever read.

    A mask on attention alone would not do: it hides numbers, but a NaN times a weight of 0 is a NaN.
    """
    if exists is None:
        return clip
    return clip.masked_fill(~exists.reshape(*exists.shape, *(1,) * (clip.ndim - 2)), 0.0)
