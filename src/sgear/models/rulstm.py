"""RULSTM: one rolling-unrolling branch per modality, fused by modality attention (MATT).

The clip holds the modalities side by side on its last axis, so the model reads what every other model on stored
features reads. Unlike AVT and S-GEAR it answers a whole range of horizons from one clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.base import AnticipationModel, AnticipationOutput, check_num_steps, hide_absent, register_model
from sgear.models.config import EncoderConfig, RulstmConfig
from sgear.models.encoders import FEATURES


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

    def roll(self, clip: Float[Tensor, "T B F"], mask: Bool[Tensor, "T B"]) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state after each step [T B H].

        A step that does not exist leaves the state as it was, so a video that is shorter than the window begins at
        its first step with the zero state.
        """
        # The zero state is what a video begins with, in training and on a stream alike.
        hidden = cell = clip.new_zeros(clip.shape[1], self.rolling.hidden_size)
        after_each = []
        # One call for the whole clip draws anew for each step all the same: the mask has the shape of the clip.
        for step, is_real in zip(self.dropout(clip), mask[..., None], strict=True):
            # h_t, c_t = LSTM(x_t, h_(t-1), c_(t-1)), and as they were where the step is not there.
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
            # Step t has T - t + steps_ahead rounds; the one that has none left is the last of those under way.
            finished.append(hidden[num_left:])
            hidden, cell = hidden[:num_left], cell[:num_left]
            first = round_idx if self.sequence_completion else 0
            # The unrolling LSTM reads x_t again and again; in sequence completion, x_t, x_{t+1}, ...
            read = self.dropout(clip[first : first + num_left])
            flat_hidden, flat_cell = self.unrolling(read.flatten(0, 1), (hidden.flatten(0, 1), cell.flatten(0, 1)))
            hidden, cell = flat_hidden.unflatten(0, hidden.shape[:2]), flat_cell.unflatten(0, hidden.shape[:2])
        return torch.cat([hidden, *reversed(finished)])

    def forward(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"], *, steps_ahead: int) -> BranchStates:
        """Return states and scores after each step.

        Args:
            clip: Features of this modality.
            mask: Which steps are real.
            steps_ahead: Steps from the last one of the clip to the start of the action, at least 1.
        """
        steps = clip.transpose(0, 1)
        hidden, cell = self.roll(steps, mask.T)
        anticipated = self.unroll(steps, hidden, cell, steps_ahead=steps_ahead).transpose(0, 1)
        scores = self.classifier(self.dropout(anticipated))
        return BranchStates(hidden.transpose(0, 1), cell.transpose(0, 1), anticipated, scores)


ATTENTION_VARIANTS = ("released", "paper")


def steps_until_action(settings: RulstmConfig, tau_a_s: float) -> int:
    """Return the number of steps from the last one of a clip, `tau_a_s` before the action, to the action.

    Raises:
        ConfigError: If that is no whole number from 1 to `anticipation_steps`.
    """
    exact = tau_a_s / settings.step_s
    if abs(exact - round(exact)) > 1e-6 or not 1 <= round(exact) <= settings.anticipation_steps:
        raise ConfigError(
            f"RULSTM looks ahead by 1 to model.rulstm.anticipation_steps={settings.anticipation_steps} whole steps of "
            f"{settings.step_s} s (step_s); tau_a_s={tau_a_s} would be {exact:g} steps"
        )
    return round(exact)


class ModalityAttention(nn.Module):
    """MATT: weigh the modalities at each step by the states of their branches.

    Args:
        num_modalities: Number of branches.
        hidden_dim: Width H of their states.
        variant: `released` or `paper`; see `RulstmConfig.attention`.
        dropout: Dropout after each hidden layer.

    Source:
        arXiv:2005.02190, section 3.5: hidden and cell states of the rolling LSTMs. The released branch overwrites its
        rolling hidden states before it hands them on, so the published weights know the unrolled ones. The hidden
        layers have a quarter and an eighth of the input's width.
    """

    def __init__(self, num_modalities: int, hidden_dim: int, *, variant: str, dropout: float) -> None:
        super().__init__()
        if variant not in ATTENTION_VARIANTS:
            raise ConfigError(f"model.rulstm.attention={variant!r} is unknown; choose {', '.join(ATTENTION_VARIANTS)}")
        self.reads_unrolled = variant == "released"
        # Hidden and cell state of each branch.
        width = 2 * num_modalities * hidden_dim
        self.layers = nn.Sequential(
            nn.Linear(width, width // 4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width // 4, width // 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width // 8, num_modalities),
        )

    def forward(self, branches: list[BranchStates]) -> Float[Tensor, "B T M"]:
        """Return the share of each modality at each step; shares sum to 1."""
        parts = []
        for states in branches:
            # [B T 2 M H]: two states of each branch side by side.
            parts += [states.anticipated if self.reads_unrolled else states.hidden, states.cell]
        return self.layers(torch.cat(parts, dim=-1)).softmax(dim=-1)


@dataclass(frozen=True, kw_only=True)
class RulstmModelConfig:
    """RULSTM.

    Args:
        name: `rulstm`.
        max_steps: Longest clip T that the model can read.
        encoder: Of the stored features, `feature_dim` is read.
        rulstm: Modalities, horizons and sizes.
    """

    name: str = "rulstm"
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    rulstm: RulstmConfig = field(default_factory=RulstmConfig)


@register_model("rulstm")
class Rulstm(AnticipationModel):
    """Rolling-unrolling LSTMs over one or several modalities.

    Args:
        config: Sizes; `encoder.feature_dim`, `max_steps` and `rulstm` are read.
        num_actions: Number of action classes A.

    Raises:
        ConfigError: If a setting is out of range, or the modalities do not add up to the width of the features.

    Source:
        Furnari and Farinella, arXiv:2005.02190; fpv-iplab/rulstm. Where a video is shorter than the window, the
        release repeats its first frame (protocol.short_history=repeat); by default those steps do not exist here.
    """

    Config = RulstmModelConfig
    sources = ("features",)
    config: RulstmModelConfig

    def __init__(self, config: RulstmModelConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        settings = config.rulstm
        if config.encoder.name != FEATURES:
            raise ConfigError(f"model.name=rulstm reads stored features, not pixels of {config.encoder.name!r}")
        if not settings.modalities or sum(settings.modalities) != config.encoder.feature_dim:
            raise ConfigError(
                f"model.rulstm.modalities={list(settings.modalities)} adds up to {sum(settings.modalities)}, but "
                f"model.encoder.feature_dim={config.encoder.feature_dim}; list the width of each modality in the order "
                "of the features"
            )
        # Modalities lie side by side in one clip, so that one loader serves one or several.
        self.widths = tuple(settings.modalities)
        self.max_steps = config.max_steps
        self.steps_ahead = steps_until_action(settings, settings.tau_a_s)
        self.branches = nn.ModuleList(
            RulstmBranch(
                width,
                settings.hidden_dim,
                num_actions,
                dropout=settings.dropout,
                sequence_completion=settings.sequence_completion,
            )
            for width in self.widths
        )
        self.modality_attention = (
            ModalityAttention(
                len(self.widths), settings.hidden_dim, variant=settings.attention, dropout=settings.dropout
            )
            if len(self.widths) > 1
            else None
        )

    def _check(self, clip: Tensor) -> None:
        if clip.ndim != 3 or clip.shape[-1] != sum(self.widths):
            raise ConfigError(
                f"this model reads modalities of widths {self.widths}, {sum(self.widths)} in all, got a clip of shape "
                f"{tuple(clip.shape)}; check source.features and model.rulstm.modalities"
            )
        check_num_steps(clip.shape[1], self.max_steps)

    def set_tau_a(self, tau_a_s: float) -> None:
        """Tell the model that clips end `tau_a_s` before the action from now on.

        Nothing that is learned depends on it: the unrolling LSTM makes as many steps as are left.

        Raises:
            ConfigError: If that is no whole number of steps, or further than it was trained to look.
        """
        self.steps_ahead = steps_until_action(self.config.rulstm, tau_a_s)

    def horizons_s(self, num_steps: int) -> list[float]:
        """Return how long before the action each of the last S steps of a clip lies, in seconds, descending."""
        settings = self.config.rulstm
        # The last step is `steps_ahead` steps before the action; none further than S_ant predicts.
        num_horizons = min(num_steps, settings.anticipation_steps - self.steps_ahead + 1)
        return [(self.steps_ahead + later) * settings.step_s for later in reversed(range(num_horizons))]

    def horizon_logits(self, clip: Tensor, mask: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B S A"]:
        """Return the scores of the next action at each horizon of `horizons_s`, from what was seen until then alone.

        Where the step of a horizon does not exist, its scores mean nothing.

        Raises:
            ConfigError: If the model is set to sequence completion, where earlier steps read later ones.
        """
        if self.config.rulstm.sequence_completion:
            raise ConfigError(
                "in sequence completion an earlier step reads later ones, which is no anticipation; train with "
                "model.rulstm.sequence_completion=false, starting from this run"
            )
        logits = self(clip, mask).horizon_logits
        assert logits is not None
        return logits

    def forward(self, clip: Float[Tensor, "B T F"], mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate.

        Args:
            clip: Stored features [B T F] in order of time, all modalities side by side.
            mask: Which steps are real [B T]. Default: all. Steps before the first real one change nothing.

        Returns:
            Named tensors with D = H times the number of modalities: `observed` holds the rolling states, `predicted`
            the ends of the unrollings, `next_logits` the scores of the action after the clip as seen from each step.
        """
        self._check(clip)
        # The rolling loop has one form for clips with and without absent steps.
        if mask is None:
            mask = torch.ones(clip.shape[:2], dtype=torch.bool, device=clip.device)
        parts = hide_absent(clip, mask).split(self.widths, dim=-1)
        states: list[BranchStates] = [
            branch(part, mask, steps_ahead=self.steps_ahead) for branch, part in zip(self.branches, parts, strict=True)
        ]
        if self.modality_attention is None:
            logits = states[0].scores
        else:
            scores = torch.stack([state.scores for state in states])
            # sum_m a_m s_m: scores, not probabilities, are fused, as in the release.
            logits = torch.einsum("B T M, M B T A -> B T A", self.modality_attention(states), scores)
        predicted = torch.cat([state.anticipated for state in states], dim=-1)
        return AnticipationOutput(
            observed=torch.cat([state.hidden for state in states], dim=-1),
            predicted=predicted,
            logits=logits[:, -1],
            next_logits=logits,
            aggregated=predicted[:, -1],
            horizon_logits=logits[:, -len(self.horizons_s(clip.shape[1])) :],
        )
