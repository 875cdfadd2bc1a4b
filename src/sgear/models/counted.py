"""Counted tables as models: the class frequencies, or what follows the last action. Nothing is learned by gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sgear.errors import ConfigError
from sgear.models.base import AnticipationModel, AnticipationOutput, register_model
from sgear.models.config import CountsConfig

COUNTED_MODELS = ("last_action", "frequency")


@dataclass(frozen=True, kw_only=True)
class CountedConfig:
    """A counted baseline: `frequency`, or `last_action`, which alone reads `counts`."""

    name: str = "frequency"
    max_steps: int = 16
    counts: CountsConfig = field(default_factory=CountsConfig)


@register_model("last_action")
@register_model("frequency")
class CountedActions(AnticipationModel):
    """Look up the scores of the next action in a table: one row (`frequency`), or one for each last action.

    Args:
        config: `name: last_action` or `frequency`.
        num_actions: Number of action classes A.

    Raises:
        ConfigError: If the smoothing is not positive: an action that nothing was ever seen to follow has no scores.
    """

    log_probs: Tensor

    Config = CountedConfig
    sources = ("annotations",)
    config: CountedConfig

    def __init__(self, config: CountedConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        if not config.counts.smoothing > 0:
            raise ConfigError(f"model.counts.smoothing must be positive, got {config.counts.smoothing}")
        num_rows = num_actions + 1 if config.name == "last_action" else 1
        self.register_buffer("log_probs", torch.full((num_rows, num_actions), -math.log(num_actions)))

    def set_counted(self, log_probs: Float[Tensor, "R A"]) -> None:
        """Take over a table; its row 0 is for no action, row a + 1 for action a."""
        self.log_probs.copy_(log_probs)

    def forward(self, clip: Float[Tensor, "B T 1"], exists: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate.

        Args:
            clip: Number of the newest action at each step, from 1; 0 is none. See `sgear.data.AnnotationSource`.
            exists: Which steps are real; the last one always is. Default: all.
        """
        rows = clip[..., 0].long().clamp(max=len(self.log_probs) - 1)
        next_logits = self.log_probs[rows]
        return AnticipationOutput(
            observed=clip,
            predicted=clip,
            logits=next_logits[:, -1],
            next_logits=next_logits,
            aggregated=clip[:, -1],
        )
