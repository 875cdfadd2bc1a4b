"""AVT, the Anticipative Video Transformer: frame encoder, causal decoder, linear classifier."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor, nn

from sgear.models.causal_decoder import CausalDecoder
from sgear.models.config import ModelConfig
from sgear.models.encoders import build_encoder
from sgear.models.heads import ActionClassifier
from sgear.models.outputs import AnticipationOutput
from sgear.models.past import features_for_past


class Avt(nn.Module):
    """Anticipate with the predicted feature alone.

    Args:
        config: Sizes; the prototype parts are not used.
        num_actions: Number of action classes A.

    Source:
        Girdhar and Grauman, Anticipative Video Transformer, ICCV 2021 (arXiv:2106.02036).
    """

    def __init__(self, config: ModelConfig, *, num_actions: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, width=config.width, num_actions=num_actions)
        self.decoder = CausalDecoder(config.decoder, feature_dim=config.width, max_steps=config.max_steps)
        self.classifier = ActionClassifier(config.width, num_actions, config.head.dropout)

    def forward(self, clip: Tensor, exists: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate; see `SGear.forward`."""
        observed = self.encoder(clip)[:, :, 0]
        predicted = self.decoder(observed, exists)
        next_logits = self.classifier(predicted)
        return AnticipationOutput(
            observed=observed,
            predicted=predicted,
            logits=next_logits[:, -1],
            past_logits=self.classifier(features_for_past(observed, predicted, exists)),
            next_logits=next_logits,
            aggregated=predicted[:, -1],
        )
