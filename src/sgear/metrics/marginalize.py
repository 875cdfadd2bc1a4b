"""Verb and noun probabilities from action probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def marginalize(
    action_probs: NDArray[np.floating], part_of_action: NDArray[np.int64], num_parts: int
) -> NDArray[np.float64]:
    """Sum the probabilities of all actions that share a verb (or noun); a part without any action gets 0.

    Args:
        action_probs: Probabilities [M A].
        part_of_action: Verb (or noun) id of each action [A].
        num_parts: Number of verbs (or nouns).

    Returns:
        Probabilities [M num_parts]; each row has the sum of the row of `action_probs`.

    Raises:
        ValueError: If the number of actions differs.

    Source:
        RULSTM's rule (fpv-iplab/rulstm, utils.py), without its gift of P(action 0) to parts that have no action.
    """
    if action_probs.shape[1] != len(part_of_action):
        raise ValueError(f"{action_probs.shape[1]} action scores but {len(part_of_action)} actions in the taxonomy")
    member = np.zeros((len(part_of_action), num_parts))
    member[np.arange(len(part_of_action)), part_of_action] = 1.0
    return action_probs.astype(np.float64) @ member
