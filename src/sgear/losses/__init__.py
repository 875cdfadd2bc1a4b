"""The loss terms of anticipation, each masked where a label is unknown."""

from sgear.losses.objective import Objective, ObjectiveConfig

__all__ = ["Objective", "ObjectiveConfig"]
