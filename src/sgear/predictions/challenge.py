"""What the two EPIC-KITCHENS anticipation servers ask of a submission file."""

from __future__ import annotations

from dataclasses import dataclass

NUM_ACTIONS = 100
"""Scored actions per segment, exactly."""
SLS_NAMES = ("sls_pt", "sls_tl", "sls_td")
"""Supervision levels, 0 to 5 each: pre-training, training labels, training data."""
MAX_SLS = 5


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One challenge.

    Args:
        name: Name of the data set, as `sgear.datasets` calls it.
        version: Value of the file's `version`.
        splits: Test splits; each is one file `SPLIT.json` in a flat zip.
        num_verbs: Verb classes, all of which get a score.
        num_nouns: Noun classes, all of which get a score.
        has_sls: Whether the file states supervision levels.
        min_tau_a_s: Nothing later than this many seconds before the action may have been seen.
    """

    name: str
    version: str
    splits: tuple[str, ...]
    num_verbs: int
    num_nouns: int
    has_sls: bool
    min_tau_a_s: float = 1.0
    task: str = "action_anticipation"

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the files in the zip."""
        return tuple(f"{split}.json" for split in self.splits)


EPIC100 = Challenge(name="epic100", version="0.2", splits=("test",), num_verbs=97, num_nouns=300, has_sls=True)
"""EPIC-KITCHENS-100. Source: evaluate_anticipation_json_ek100.py of epic-kitchens/C3-Action-Anticipation."""

EPIC55 = Challenge(name="epic55", version="0.1", splits=("seen", "unseen"), num_verbs=125, num_nouns=352, has_sls=False)
"""EPIC-KITCHENS-55. Source: the challenge's submission page, and RULSTM main.py of fpv-iplab/rulstm (mode test)."""

CHALLENGES = {challenge.name: challenge for challenge in (EPIC100, EPIC55)}
