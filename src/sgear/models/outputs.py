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
        next_logits: Scores of the action that follows each step [B T A]; the last step's are `logits`.
        aggregated: Input of the classifier for the next action [B D]; its class means are visual prototypes.
        past_logits: Scores of the action of each observed step [B T A], made from the feature that was predicted
            for it (from its own feature where nothing precedes it); None where a model does not recognise.
        horizon_logits: Scores of the next action as seen from each of the last S steps [B S A]; the last step's are
            `logits`. None where a model does not look ahead from earlier steps.
        prototype_similarity: Cosine of the anticipated feature to each visual prototype [B A]; None without
            prototypes.
        past_similarity: The same of the features behind `past_logits`, or of the class tokens of the observed frames
            (`head.past_similarity`) [B T A]; None without prototypes.
        prototypes: Visual prototypes [A D]; None without prototypes.
        verb_logits: Scores of the verb of the next action [B V]; None without a verb classifier.
        noun_logits: Scores of the noun of the next action [B N]; None without a noun classifier.
    """

    observed: Float[Tensor, "B T D"]
    predicted: Float[Tensor, "B T D"]
    logits: Float[Tensor, "B A"]
    next_logits: Float[Tensor, "B T A"]
    aggregated: Float[Tensor, "B D"]
    past_logits: Float[Tensor, "B T A"] | None = None
    horizon_logits: Float[Tensor, "B S A"] | None = None
    prototype_similarity: Float[Tensor, "B A"] | None = None
    past_similarity: Float[Tensor, "B T A"] | None = None
    prototypes: Float[Tensor, "A D"] | None = None
    verb_logits: Float[Tensor, "B V"] | None = None
    noun_logits: Float[Tensor, "B N"] | None = None
