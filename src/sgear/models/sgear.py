"""S-GEAR: frames -> TCA and prototype attention -> causal decoder -> prototype-mixed classifier."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.models.causal_decoder import CausalDecoder
from sgear.models.config import ModelConfig
from sgear.models.encoders import build_encoder
from sgear.models.heads import ActionClassifier, PrototypeMix, cosine_similarity
from sgear.models.outputs import AnticipationOutput
from sgear.models.past import features_for_past
from sgear.models.prototype_attention import PrototypeAttention
from sgear.models.prototype_bank import PrototypeBank
from sgear.models.temporal_context import TemporalContextAggregator


class SGear(nn.Module):
    """Semantically guided anticipation.

    Args:
        config: Sizes and switches.
        num_actions: Number of action classes A.

    Source:
        Diko et al., Semantically Guided Representation Learning for Action Anticipation, ECCV 2024
        (arXiv:2407.02309).
    """

    def __init__(self, config: ModelConfig, *, num_actions: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, width=config.width, num_actions=num_actions)
        self.temporal_context = TemporalContextAggregator(
            config.temporal_context, width=config.width, max_steps=config.max_steps
        )
        self.bank = PrototypeBank(num_actions, config.width)
        has_attention = config.prototype_attention.enabled
        self.prototype_attention = (
            PrototypeAttention(config.prototype_attention, width=config.width) if has_attention else None
        )
        self.fusion_gate = nn.Parameter(torch.tensor(config.prototype_attention.gate)) if has_attention else None
        self.decoder = CausalDecoder(config.decoder, feature_dim=config.width, max_steps=config.max_steps)
        self.prototype_mix = PrototypeMix(config.head) if config.head.mix_prototypes else None
        self.classifier = ActionClassifier(config.width, num_actions, config.head.dropout)

    def observe(self, clip: Tensor, exists: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B T D"]:
        """Return the feature of each step: TCA's class token fused with prototype attention."""
        tokens = self.encoder(clip)
        informed = self.temporal_context(tokens, exists)[:, :, 0]
        if self.prototype_attention is None or self.fusion_gate is None:
            return informed
        related = self.prototype_attention(tokens[:, :, 0], self.bank.visual)
        gate = self.fusion_gate.sigmoid()
        return gate * informed + (1 - gate) * related

    def classify(self, features: Float[Tensor, "*b D"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, classifier input, and cosine to each prototype."""
        similarity = cosine_similarity(features, self.bank.visual)
        mixed = features
        if self.prototype_mix is not None:
            mixed = self.prototype_mix(features, similarity, self.bank.visual)
        return self.classifier(mixed), mixed, similarity

    def forward(self, clip: Tensor, exists: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate.

        Args:
            clip: Frames [B T 3 H W] or stored features [B T F], in order of time.
            exists: Which steps are real [B T]. Default: all.

        Returns:
            Named tensors; see `AnticipationOutput`.
        """
        observed = self.observe(clip, exists)
        predicted = self.decoder(observed, exists)
        next_logits, aggregated, similarity = self.classify(predicted)
        past_logits, _, past_similarity = self.classify(features_for_past(observed, predicted, exists))
        return AnticipationOutput(
            observed=observed,
            predicted=predicted,
            logits=next_logits[:, -1],
            past_logits=past_logits,
            next_logits=next_logits,
            aggregated=aggregated[:, -1],
            prototype_similarity=similarity[:, -1],
            past_similarity=past_similarity,
            prototypes=self.bank.visual,
        )
