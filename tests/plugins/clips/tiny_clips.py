"""A package that somebody else might write: an encoder of short clips, and a model with settings of its own."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sgear.models import (
    AnticipationModel,
    AnticipationOutput,
    EncoderConfig,
    FrameInput,
    HeadConfig,
    VideoEncoder,
    register_encoder,
    register_model,
)
from sgear.models.encoders import build_encoder


@register_encoder("tiny3d")
class Tiny3d(VideoEncoder):
    """Two 3-D convolutions over 4 frames, 0.25 s apart."""

    @classmethod
    def frame_input(cls, config: EncoderConfig) -> FrameInput:
        """Four small frames."""
        size = (config.image_height or 32, config.image_width or 48)
        return FrameInput(size=size, std=(0.25, 0.25, 0.25), frames_per_step=4, step_frames_s=0.25)

    def __init__(self, config: EncoderConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        self.layers = nn.Sequential(
            nn.Conv3d(3, 16, (2, 4, 4), stride=(2, 4, 4)),
            nn.GELU(),
            nn.Conv3d(16, width, (2, 4, 4), stride=(2, 4, 4)),
        )

    def forward(self, clip: Tensor) -> Tensor:
        """Return the mean token, then one per place."""
        num_clips, num_steps = clip.shape[:2]
        maps = self.layers(clip.flatten(0, 1).transpose(1, 2))
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        return tokens.unflatten(0, (num_clips, num_steps))


@dataclass(frozen=True, kw_only=True)
class LastStepConfig:
    """What the model below reads."""

    name: str = "last-step"
    width: int = 32
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)


@register_model("last-step")
class LastStep(AnticipationModel):
    """Classify each step by itself."""

    Config = LastStepConfig
    sources = ("video", "features")

    def __init__(self, config: LastStepConfig, *, num_actions: int, num_verbs: int = 0, num_nouns: int = 0) -> None:
        super().__init__(config, num_actions=num_actions)
        self.encoder = build_encoder(config.encoder, width=config.width, num_actions=num_actions)
        self.classifier = nn.Linear(config.width, num_actions)

    def forward(self, clip: Tensor, mask: Tensor | None = None) -> AnticipationOutput:
        """Anticipate."""
        observed = self.encoder(clip)[:, :, 0]
        logits = self.classifier(observed)
        return AnticipationOutput(
            observed=observed,
            predicted=observed,
            logits=logits[:, -1],
            next_logits=logits,
            past_logits=logits,
            aggregated=observed[:, -1],
        )
