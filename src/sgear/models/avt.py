"""AVT, the Anticipative Video Transformer: frame encoder, causal decoder, linear classifier."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from sgear.models.base import AnticipationOutput, hide_absent, register_model
from sgear.models.causal_decoder import CausalDecoder
from sgear.models.config import DecoderConfig, EncoderConfig, HeadConfig, PrototypesConfig
from sgear.models.copying import build_copying, read_tokens
from sgear.models.encoders import build_encoder
from sgear.models.heads import Classified, build_classifier, build_field_classifiers
from sgear.models.stepwise import ObserverState, StepwiseModel, features_for_past


@dataclass(frozen=True, kw_only=True)
class AvtConfig:
    """AVT.

    Args:
        name: `avt`.
        width: Feature width D between encoder, decoder and head.
        max_steps: Longest clip T that the model can read.
        encoder: Encoder of frames, clips or stored features.
        decoder: Causal decoder.
        head: Classifier; its prototype parts are not used.
        prototypes: Composition of the classifier.
    """

    name: str = "avt"
    width: int = 768
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    prototypes: PrototypesConfig = field(default_factory=PrototypesConfig)


@register_model("avt")
class Avt(StepwiseModel):
    """Anticipate with the predicted feature alone.

    Args:
        config: Sizes.
        num_actions: Number of action classes A.
        num_verbs: Number of verbs V (`head.verb_noun`).
        num_nouns: Number of nouns N (`head.verb_noun`).

    Source:
        Girdhar and Grauman, Anticipative Video Transformer, ICCV 2021 (arXiv:2106.02036).
    """

    Config = AvtConfig
    sources = ("video", "features", "annotations")
    config: AvtConfig

    def __init__(self, config: AvtConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        sizes = {"num_actions": num_actions, "num_verbs": num_verbs, "num_nouns": num_nouns}
        self.encoder = build_encoder(config.encoder, width=config.width, **sizes)
        self.decoder = CausalDecoder(config.decoder, feature_dim=config.width, max_steps=config.max_steps)
        self.classifier = build_classifier(config.prototypes, width=config.width, dropout=config.head.dropout, **sizes)
        self.copying = build_copying(config.head, self.encoder, width=config.width, **sizes)
        self.field_classifiers = build_field_classifiers(
            config.head, width=config.width, num_verbs=num_verbs, num_nouns=num_nouns
        )

    def observe_step(
        self, frame: Tensor, state: ObserverState | None = None, mask: Bool[Tensor, " B"] | None = None
    ) -> tuple[Float[Tensor, "B D"], ObserverState]:
        """Return the class token; AVT's frames know nothing of each other."""
        # [B ...] -> [B 1 ...]: a stream is read as clips of one step.
        clip = hide_absent(frame[:, None], None if mask is None else mask[:, None])
        return self.encoder(clip)[:, 0, 0], ObserverState()

    def classify(self, features: Float[Tensor, "*b D"]) -> Classified:
        """Return scores of features."""
        return Classified(self.classifier(features), features, None)

    def forward(self, clip: Tensor, mask: Bool[Tensor, "B T"] | None = None) -> AnticipationOutput:
        """Anticipate; see `SGear.forward`."""
        # [B T N D] -> [B T D]: the class token stands for its frame.
        tokens, seen = read_tokens(self.encoder, hide_absent(clip, mask))
        observed = tokens[:, :, 0]
        predicted = self.decoder(observed, mask)
        # The classifier reads the feature that is predicted for the action, never one that was seen.
        next_logits, mixed, _ = self.classify(predicted)
        if self.copying is not None and seen is not None:
            next_logits = next_logits + self.copying(mixed, seen)
        # Shifted by one step: what was predicted for a step, not what was seen at it, is to be recognized.
        past_logits, _, _ = self.classify(features_for_past(observed, predicted, mask))
        verb_logits, noun_logits = self.classify_fields(mixed[:, -1])
        return AnticipationOutput(
            observed=observed,
            predicted=predicted,
            logits=next_logits[:, -1],
            past_logits=past_logits,
            next_logits=next_logits,
            aggregated=mixed[:, -1],
            verb_logits=verb_logits,
            noun_logits=noun_logits,
        )
