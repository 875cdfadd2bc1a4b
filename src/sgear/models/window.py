"""The longest clip a model was built for, checked in one place."""

from __future__ import annotations


def check_num_steps(num_steps: int, max_steps: int) -> None:
    """Raise if a clip, a stream or a roll-out needs more steps than the model has.

    Raises:
        ValueError: Gives both numbers and the remedy.
    """
    if num_steps > max_steps:
        raise ValueError(
            f"clip of {num_steps} steps, but this model was built for at most {max_steps}; "
            "shorten tau_o_s * fps or train with a larger model.max_steps"
        )
