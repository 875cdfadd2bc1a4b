"""What a model says at one instant: the likeliest actions `tau_a_s` from now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LaterStep:
    """The k likeliest actions of a further step of a roll-out.

    Args:
        ahead_s: Seconds from the last observed instant.
        top: (action name, probability) pairs, likeliest first.
    """

    ahead_s: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Forecast:
    """The k likeliest next actions, seen from `now_s`.

    Args:
        now_s: Last observed instant in seconds of video time.
        tau_a_s: How far ahead the forecast looks, in seconds.
        top: (action name, probability) pairs, likeliest first.
        later: What the roll-out says of further instants, in order of time; empty without one.
    """

    now_s: float
    tau_a_s: float
    top: tuple[tuple[str, float], ...]
    later: tuple[LaterStep, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return a plain dict, JSON-ready."""
        told = {"now_s": round(self.now_s, 3), **_about(self.now_s + self.tau_a_s, self.top)}
        if self.later:
            told["later"] = [_about(self.now_s + step.ahead_s, step.top) for step in self.later]
        return told


def _about(about_s: float, top: tuple[tuple[str, float], ...]) -> dict[str, object]:
    return {
        "about_s": round(about_s, 3),
        "top": [{"action": name, "probability": round(probability, 5)} for name, probability in top],
    }
