"""Verb and noun probabilities from action probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sgear.metrics.arrays import takes_tensors

_SCORES_AT_ONCE = 1 << 17


def membership(part_of_action: NDArray[np.int64], num_parts: int) -> csr_matrix:
    """Return the sparse matrix [num_parts A] that is 1 where an action has the part; its product sums over actions."""
    num_actions = len(part_of_action)
    ones = np.ones(num_actions)
    return csr_matrix((ones, (part_of_action, np.arange(num_actions))), shape=(num_parts, num_actions))


@takes_tensors
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
    member = membership(part_of_action, num_parts)
    sums = np.empty((len(action_probs), num_parts))
    num_rows = max(1, _SCORES_AT_ONCE // len(part_of_action))
    for start in range(0, len(sums), num_rows):
        rows = slice(start, start + num_rows)
        # Actions first: each sum then adds whole rows, which stand together in memory.
        sums[rows] = (member @ np.ascontiguousarray(action_probs[rows].T, dtype=np.float64)).T
    return sums
