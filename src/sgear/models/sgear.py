"""S-GEAR: frames -> TCA and prototype attention -> causal decoder -> prototype-mixed classifier."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sgear.models.base import AnticipationOutput, hide_absent, register_model
from sgear.models.causal_decoder import CausalDecoder
from sgear.models.config import (
    DecoderConfig,
    EncoderConfig,
    HeadConfig,
    PrototypeAttentionConfig,
    PrototypesConfig,
    TemporalContextConfig,
)
from sgear.models.copying import build_copying, read_tokens
from sgear.models.encoders import SeenActions, build_encoder
from sgear.models.heads import (
    Classified,
    PrototypeMix,
    build_bank,
    build_classifier,
    build_field_classifiers,
    cosine_similarity,
)
from sgear.models.prototype_attention import build_prototype_attention
from sgear.models.stepwise import ObserverState, StepwiseModel, features_for_past
from sgear.models.temporal_context import TemporalContextAggregator


@dataclass(frozen=True, kw_only=True)
class SGearConfig:
    """S-GEAR.

    Args:
        name: `sgear`.
        width: Feature width D between encoder, decoder and head.
        max_steps: Longest clip T that the model can read.
        encoder: Encoder of frames, clips or stored features.
        temporal_context: TCA.
        prototype_attention: PA.
        decoder: Causal decoder.
        head: Classifier.
        prototypes: Composition of the bank and of the classifier.
    """

    name: str = "sgear"
    width: int = 768
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    temporal_context: TemporalContextConfig = field(default_factory=TemporalContextConfig)
    prototype_attention: PrototypeAttentionConfig = field(default_factory=PrototypeAttentionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    prototypes: PrototypesConfig = field(default_factory=PrototypesConfig)


@register_model("sgear")
class SGear(StepwiseModel):
    """Semantically guided anticipation.

    Args:
        config: Sizes and switches.
        num_actions: Number of action classes A.
        num_verbs: Number of verbs V (`head.verb_noun`).
        num_nouns: Number of nouns N (`head.verb_noun`).

    Source:
        Diko et al., Semantically Guided Representation Learning for Action Anticipation, ECCV 2024
        (arXiv:2407.02309).
    """

    Config = SGearConfig
    sources = ("video", "features", "annotations")
    config: SGearConfig

    def __init__(self, config: SGearConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        width, max_steps, attention = config.width, config.max_steps, config.prototype_attention
        sizes = {"num_actions": num_actions, "num_verbs": num_verbs, "num_nouns": num_nouns}
        self.encoder = build_encoder(config.encoder, width=width, **sizes)
        self.temporal_context = TemporalContextAggregator(config.temporal_context, width=width, max_steps=max_steps)
        # One bank for PA, for the head and for the losses: the prototypes move with all of them.
        self.bank = build_bank(config.prototypes, width=width, **sizes)
        self.prototype_attention = (
            build_prototype_attention(attention, width=width, num_actions=num_actions, max_steps=max_steps)
            if attention.enabled
            else None
        )
        self.fusion_gate = nn.Parameter(torch.tensor(attention.gate)) if attention.enabled else None
        self.decoder = CausalDecoder(config.decoder, feature_dim=width, max_steps=max_steps)
        self.prototype_mix = PrototypeMix(config.head) if config.head.mix_prototypes else None
        self.classifier = build_classifier(config.prototypes, width=width, dropout=config.head.dropout, **sizes)
        self.copying = build_copying(config.head, self.encoder, width=width, **sizes)
        self.field_classifiers = build_field_classifiers(
            config.head, width=width, num_verbs=num_verbs, num_nouns=num_nouns
        )

    @property
    def streams_endlessly(self) -> bool:
        """See `StepwiseModel.streams_endlessly`."""
        attention = self.prototype_attention
        return self.temporal_context.streams_endlessly and (attention is None or attention.streams_endlessly)

    def observe(self, clip: Tensor, mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B T D"]:
        """Return the feature of each step: TCA's class token fused with prototype attention."""
        return self._inform(self._encode(clip, mask)[0], mask)

    def _inform(self, tokens: Float[Tensor, "B T N D"], mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B T D"]:
        informed = self.temporal_context(tokens, mask)[:, :, 0]
        if self.prototype_attention is None:
            return informed
        return self._fuse(informed, self.prototype_attention(tokens[:, :, 0], self.bank.visual, mask, informed))

    def _encode(
        self, clip: Tensor, mask: Bool[Tensor, "B T"] | None
    ) -> tuple[Float[Tensor, "B T N D"], SeenActions | None]:
        tokens, seen = read_tokens(self.encoder, hide_absent(clip, mask))
        if not self.config.encoder.standardise:
            return tokens, seen
        # As in the released code, the features' own mean and deviation are not removed first.
        prototypes = self.bank.visual.detach()
        return (tokens - prototypes.mean()) / prototypes.std(), seen

    def observe_step(
        self, frame: Tensor, state: ObserverState | None = None, mask: Bool[Tensor, " B"] | None = None
    ) -> tuple[Float[Tensor, "B D"], ObserverState]:
        """See `StepwiseModel.observe_step`."""
        before = ObserverState() if state is None else state
        # [B ...] -> [B 1 ...]: a stream is read as clips of one step.
        real = None if mask is None else mask[:, None]
        tokens, _ = self._encode(frame[:, None], real)
        informed, context = self.temporal_context.step(tokens[:, 0], before.context or None, mask)
        if self.prototype_attention is None:
            return informed[:, 0], ObserverState(context=context)
        # PA reads the class token before TCA: its choice of prototypes is that of what was seen, frame by frame.
        related, seen = self.prototype_attention.extend(tokens[:, :, 0], self.bank.visual, real, before.seen)
        return self._fuse(informed[:, 0], related[:, 0]), ObserverState(context=context, seen=seen)

    def _fuse(self, informed: Float[Tensor, "*b D"], related: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        assert self.fusion_gate is not None
        # h = g TCA + (1 - g) PA with one learned g for all steps; it starts near 0.62 (gate 0.5).
        gate = self.fusion_gate.sigmoid()
        return gate * informed + (1 - gate) * related

    def classify(self, features: Float[Tensor, "*b D"]) -> Classified:
        """Return scores of features, the classifier's input, and the cosine to each prototype."""
        similarity = self._similarity(features)
        mixed = features
        if self.prototype_mix is not None:
            mixed = self.prototype_mix(features, similarity, self.bank.visual)
        return Classified(self.classifier(mixed), mixed, similarity)

    def _similarity(self, features: Float[Tensor, "*b D"]) -> Float[Tensor, "*b A"]:
        prototypes, head = self.bank.visual, self.config.head
        # Whose gradient is cut here differs between the paths of the released code; see `HeadConfig`.
        return cosine_similarity(
            features.detach() if head.detach_similarity_feature else features,
            prototypes.detach() if head.detach_similarity_prototypes else prototypes,
        )

    def forward(self, clip: Tensor, mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate.

        Args:
            clip: Frames [B T 3 H W] or stored features [B T F], in order of time.
            mask: Which steps are real [B T]. Default: all.

        Returns:
            Named tensors; see `AnticipationOutput`.

        Raises:
            ConfigError: If the clip has another shape than the encoder reads.
            ValueError: If the clip is longer than the model was built for.
        """
        # [B T N D]: the class token of each frame first, then its patches; a stored feature is one token.
        tokens, seen = self._encode(clip, mask)
        # What the decoder reads and what L_feat compares with: one feature per step [B T D].
        observed = self._inform(tokens, mask)
        # Step t predicts the feature of step t + 1; the last step, the action tau_a later.
        predicted = self.decoder(observed, mask)
        next_logits, mixed, similarity = self.classify(predicted)
        if self.copying is not None and seen is not None:
            next_logits = next_logits + self.copying(mixed, seen)
        # L_past judges the feature that was predicted for a step, so recognizing the past trains anticipation too.
        past_logits, _, past_similarity = self.classify(features_for_past(observed, predicted, mask))
        if self.config.head.past_similarity == "encoder":
            past_similarity = self._similarity(tokens[:, :, 0])
        verb_logits, noun_logits = self.classify_fields(mixed[:, -1])
        return AnticipationOutput(
            observed=observed,
            predicted=predicted,
            logits=next_logits[:, -1],
            past_logits=past_logits,
            next_logits=next_logits,
            aggregated=mixed[:, -1],
            prototype_similarity=None if similarity is None else similarity[:, -1],
            past_similarity=past_similarity,
            prototypes=self.bank.visual,
            verb_logits=verb_logits,
            noun_logits=noun_logits,
        )
