"""What every anticipation model returns."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class AnticipationOutput:
    """Named tensors of one forward pass; B clips, T steps, D width, A actions.

    Args:
        observed: Feature of each step as the decoder reads it [B T D].
        predicted: Decoder output [B T D]; step t predicts the feature of step t + 1, the last step the action
            `tau_a` later.
        logits: Scores of the next action [B A].
        past_logits: Scores of the action of each observed step [B T A], made from the feature that was predicted
            for it (from its own feature where nothing precedes it).
        next_logits: Scores of the action that follows each step [B T A]; the last step's are `logits`.
        aggregated: Input of the classifier for the next action [B D]; its class means are visual prototypes.
        prototype_similarity: Cosine of the anticipated feature to each visual prototype [B A]; None without
            prototypes.
        past_similarity: The same of the features behind `past_logits` [B T A]; None without prototypes.
        prototypes: Visual prototypes [A D]; None without prototypes.
    """

    observed: Float[Tensor, "B T D"]
    predicted: Float[Tensor, "B T D"]
    logits: Float[Tensor, "B A"]
    past_logits: Float[Tensor, "B T A"]
    next_logits: Float[Tensor, "B T A"]
    aggregated: Float[Tensor, "B D"]
    prototype_similarity: Float[Tensor, "B A"] | None = None
    past_similarity: Float[Tensor, "B T A"] | None = None
    prototypes: Float[Tensor, "A D"] | None = None
