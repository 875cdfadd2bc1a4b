"""One modality of RULSTM: a rolling LSTM that sums up what was seen, an unrolling LSTM that looks ahead from each step.

After each step the unrolling LSTM takes over the rolling state and reads that step again and again, once for every
step until the action starts and once more. From an earlier step the way is longer, so one pass answers every horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True)
class BranchStates:
    """States of one branch after each step, in order of time.

    Args:
        hidden: Hidden state of the rolling LSTM [B T H].
        cell: Cell state of the rolling LSTM [B T H].
        anticipated: Hidden state at the end of the unrolling that starts there [B T H].
        scores: Scores of the next action as seen from there [B T A].
    """

    hidden: Float[Tensor, "B T H"]
    cell: Float[Tensor, "B T H"]
    anticipated: Float[Tensor, "B T H"]
    scores: Float[Tensor, "B T A"]


class RulstmBranch(nn.Module):
    """Roll, unroll, classify.

    Args:
        feature_dim: Width F of the features.
        hidden_dim: Width H of the states.
        num_actions: Number of action classes A.
        dropout: Dropout on the features and before the classifier.
        sequence_completion: Unroll over the observed steps that follow, as far as the clip goes.

    Source:
        Furnari and Farinella, Rolling-Unrolling LSTMs, TPAMI 2021 (arXiv:2005.02190), sections 3.2 to 3.4; equals
        fpv-iplab/rulstm RULSTM/models.py (tests/models/test_golden_rulstm.py).
    """

    def __init__(
        self, feature_dim: int, hidden_dim: int, num_actions: int, *, dropout: float, sequence_completion: bool
    ) -> None:
        super().__init__()
        self.sequence_completion = sequence_completion
        self.rolling = nn.LSTMCell(feature_dim, hidden_dim)
        self.unrolling = nn.LSTMCell(feature_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_dim, num_actions)

    def roll(self, clip: Float[Tensor, "T B F"], exists: Bool[Tensor, "T B"]) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state after each step [T B H].

        A step that does not exist leaves the state as it was, so a video that is shorter than the window begins at
        its first step with the zero state.
        """
        hidden = cell = clip.new_zeros(clip.shape[1], self.rolling.hidden_size)
        after_each = []
        for step, is_real in zip(self.dropout(clip), exists[..., None], strict=True):
            new_hidden, new_cell = self.rolling(step, (hidden, cell))
            hidden, cell = torch.where(is_real, new_hidden, hidden), torch.where(is_real, new_cell, cell)
            after_each.append((hidden, cell))
        return torch.stack([hidden for hidden, _ in after_each]), torch.stack([cell for _, cell in after_each])

    def unroll(
        self,
        clip: Float[Tensor, "T B F"],
        hidden: Float[Tensor, "T B H"],
        cell: Float[Tensor, "T B H"],
        *,
        steps_ahead: int,
    ) -> Float[Tensor, "T B H"]:
        """Look ahead from each step: T - t + steps_ahead readings from step t (T - t in sequence completion).

        All unrollings advance together. One that starts later ends earlier, so those under way are always the
        first ones.
        """
        num_steps = len(clip)
        longest = num_steps if self.sequence_completion else num_steps + steps_ahead
        finished = []
        for round_idx in range(longest):
            num_left = min(num_steps, longest - round_idx)
            finished.append(hidden[num_left:])
            hidden, cell = hidden[:num_left], cell[:num_left]
            first = round_idx if self.sequence_completion else 0
            read = self.dropout(clip[first : first + num_left])
            flat_hidden, flat_cell = self.unrolling(read.flatten(0, 1), (hidden.flatten(0, 1), cell.flatten(0, 1)))
            hidden, cell = flat_hidden.unflatten(0, hidden.shape[:2]), flat_cell.unflatten(0, hidden.shape[:2])
        return torch.cat([hidden, *reversed(finished)])

    def forward(self, clip: Float[Tensor, "B T F"], exists: Bool[Tensor, "B T"], *, steps_ahead: int) -> BranchStates:
        """Return states and scores after each step.

        Args:
            clip: Features of this modality.
            exists: Which steps are real.
            steps_ahead: Steps from the last one of the clip to the start of the action, at least 1.
        """
        steps = clip.transpose(0, 1)
        hidden, cell = self.roll(steps, exists.T)
        anticipated = self.unroll(steps, hidden, cell, steps_ahead=steps_ahead).transpose(0, 1)
        scores = self.classifier(self.dropout(anticipated))
        return BranchStates(hidden.transpose(0, 1), cell.transpose(0, 1), anticipated, scores)
