"""The dataclasses a model is built from. They hold values only, so a notebook can build a model in three lines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What turns one frame (or one stored feature) into tokens.

    Args:
        name: Full name of a timm ViT, or `features` for stored features.
        pretrained: Start from timm's published weights. They are downloaded on first use.
        image_height: Height of the input frames in pixels (timm encoders).
        image_width: Width of the input frames in pixels (timm encoders).
        embed_dim: Width of the ViT; 0 keeps the architecture's own.
        depth: Number of ViT blocks; 0 keeps the architecture's own.
        num_heads: Number of attention heads of the ViT; 0 keeps the architecture's own.
        patch_size: Side of a patch in pixels; 0 keeps the architecture's own.
        feature_dim: Width F of stored features (`features` only).
        feature_dropout: Dropout on stored features (`features` only).
        feature_noise: Standard deviation of Gaussian noise on stored features in training, as a share of the
            standard deviation of each feature over the training set (`features` only).
        recogniser: Read the posteriors of a linear recogniser, fitted to the rows of the training videos and then
            frozen, instead of the stored features themselves (`features` only).
        init_gain: Factor on the initial weights of the map from features to width D (`features` only).
    """

    name: str = "features"
    pretrained: bool = False
    image_height: int = 0
    image_width: int = 0
    embed_dim: int = 0
    depth: int = 0
    num_heads: int = 0
    patch_size: int = 0
    feature_dim: int = 0
    feature_dropout: float = 0.0
    feature_noise: float = 0.0
    recogniser: bool = False
    init_gain: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TemporalContextConfig:
    """TCA: `num_blocks` blocks over the tokens of all frames; 0 switches it off.

    Args:
        num_blocks: Number of blocks.
        normalise: Divide the sum of earlier keys and values by the sum of its weights, so that it does not grow
            with the number of frames.
    """

    num_blocks: int = 0
    normalise: bool = True


@dataclass(frozen=True, kw_only=True)
class PrototypeAttentionConfig:
    """PA: each frame attends to the visual prototypes.

    Args:
        enabled: Switch PA on.
        num_heads: Number of attention heads.
        detach_prototypes: Keep PA's gradient away from the prototypes, as the released code does.
        gate: Start value of the fusion gate; sigmoid(gate) is the share that bypasses PA.
    """

    enabled: bool = True
    num_heads: int = 4
    detach_prototypes: bool = True
    gate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The causal transformer that predicts the next feature (a GPT-2 stack without token table).

    Args:
        width: Inner width.
        num_layers: Number of blocks.
        num_heads: Number of attention heads.
        dropout: Dropout of embeddings, attention and residual branches.
        positions: Add a learned vector per position of the window; without it the order of steps is known by the
            causal mask alone.
        init_std: Standard deviation of the initial weights; GPT-2's 0.02 suits widths of several hundred.
    """

    width: int = 2048
    num_layers: int = 6
    num_heads: int = 4
    dropout: float = 0.1
    positions: bool = True
    init_std: float = 0.02


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The classifier.

    Args:
        mix_prototypes: Classify a mix of the predicted feature and its prototype read-out (S-GEAR) instead of the
            feature alone (AVT).
        temperature: Start value of the softmax temperature of the read-out.
        learn_temperature: Train the temperature.
        gate: Start value of the mixing gate; sigmoid(gate) is the share of the feature itself.
        dropout: Dropout before the classifier.
    """

    mix_prototypes: bool = True
    temperature: float = 0.07
    learn_temperature: bool = True
    gate: float = 0.5
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model.

    Args:
        name: `sgear` or `avt`; AVT has no prototypes and ignores nothing: their settings are refused there.
        width: Feature width D between encoder, decoder and head.
        max_steps: Longest clip T that the model can read.
        encoder: Frame encoder.
        temporal_context: TCA.
        prototype_attention: PA.
        decoder: Causal decoder.
        head: Classifier.
    """

    name: str = "sgear"
    width: int = 768
    max_steps: int = 16
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    temporal_context: TemporalContextConfig = field(default_factory=TemporalContextConfig)
    prototype_attention: PrototypeAttentionConfig = field(default_factory=PrototypeAttentionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
