"""What a model says at one instant: the likeliest actions `tau_a_s` from now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Forecast:
    """The k likeliest next actions, seen from `now_s`.

    Args:
        now_s: Last observed instant in seconds of video time.
        tau_a_s: How far ahead the forecast looks, in seconds.
        top: (action name, probability) pairs, likeliest first.
    """

    now_s: float
    tau_a_s: float
    top: tuple[tuple[str, float], ...]

    def to_dict(self) -> dict[str, object]:
        """Return a plain dict, JSON-ready."""
        return {
            "now_s": round(self.now_s, 3),
            "about_s": round(self.now_s + self.tau_a_s, 3),
            "top": [{"action": name, "probability": round(probability, 5)} for name, probability in self.top],
        }
