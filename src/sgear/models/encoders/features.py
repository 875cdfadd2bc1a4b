"""The encoder of stored features: a linear map, of the features or of the posteriors of a frozen frame classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.features.frame_classes import FrameClassifier
from sgear.models.config import EncoderConfig

FEATURES = "features"


def require_feature_dim(config: EncoderConfig) -> int:
    """Return the width of the stored features that a model reads.

    Raises:
        ConfigError: If it is not set.
    """
    if config.feature_dim < 1:
        raise ConfigError("model.encoder.feature_dim must be set to the width of the stored features")
    return config.feature_dim


class FrozenFrameClassifier(nn.Module):
    """A frozen `FrameClassifier`: posteriors of the actions and of "no action". Its numbers travel with the weights.

    Standardised features are limited to 6 standard deviations: a sensor that strikes out would decide alone.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, feature_dim: int, num_actions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(feature_dim))
        self.register_buffer("weight", torch.zeros(num_actions + 1, feature_dim))
        self.register_buffer("bias", torch.zeros(num_actions + 1))

    def set_fitted(self, fitted: FrameClassifier) -> None:
        """Take over what was fitted."""
        for name in ("mean", "scale", "weight", "bias"):
            getattr(self, name).copy_(torch.from_numpy(getattr(fitted, name)))

    def forward(self, clip: Float[Tensor, "B T F"]) -> Float[Tensor, "B T K"]:
        """Return posteriors of A + 1 classes."""
        # x' = clip((x - mu_f) / s_f, -6, 6), with the statistics of the training rows.
        standard = ((clip - self.mean) / self.scale).clamp(-6.0, 6.0)
        return F.linear(standard, self.weight, self.bias).softmax(dim=-1)


class FeatureEncoder(nn.Module):
    """Map stored features [B T F] to one token per step [B T 1 D].

    In training, noise and dropout act on the features; `feature_scale` holds the standard deviation of each feature
    over the training set, so that one number sets the noise of all. With `recogniser`, the map reads the posteriors
    of a frozen frame classifier. Without `map`, features that are D wide pass as they are.

    Raises:
        ConfigError: If the width of the features is not set, or there is no map where one is needed.
    """

    feature_scale: Tensor

    def __init__(self, config: EncoderConfig, *, width: int, num_actions: int) -> None:
        super().__init__()
        require_feature_dim(config)
        self.noise = config.feature_noise
        self.dropout = nn.Dropout(config.feature_dropout)
        self.feature_dim = config.feature_dim
        # The attribute names weights of stored runs, so it keeps the name of its setting.
        self.recogniser = FrozenFrameClassifier(config.feature_dim, num_actions) if config.recogniser else None
        # Posteriors: one number for each action, and one for no action.
        num_read = num_actions + 1 if config.recogniser else config.feature_dim
        if not config.map and num_read != width:
            raise ConfigError(
                f"model.encoder.map=false hands on {num_read} numbers per step as they are, but model.width={width}; "
                f"set model.width={num_read}, or model.encoder.map=true"
            )
        self.project = nn.Identity() if not config.map else nn.Linear(num_read, width, bias=False)
        if isinstance(self.project, nn.Linear):
            with torch.no_grad():
                self.project.weight.mul_(config.init_gain)
        self.register_buffer("feature_scale", torch.ones(config.feature_dim))

    def forward(self, clip: Float[Tensor, "B T F"]) -> Float[Tensor, "B T 1 D"]:
        """Return one token per step."""
        if clip.ndim != 3 or clip.shape[-1] != self.feature_dim:
            raise ConfigError(
                f"this model reads features of width {self.feature_dim}, got a clip of shape "
                f"{tuple(clip.shape)}; check source.features and model.encoder.feature_dim"
            )
        if self.training and self.noise > 0:
            # x + s sigma_f e, with e ~ N(0, 1): the noise follows the scale of each feature.
            clip = clip + self.noise * self.feature_scale * torch.randn_like(clip)
        # Before the map: behind it each number holds a bit of all features.
        clip = self.dropout(clip)
        if self.recogniser is not None:
            clip = self.recogniser(clip)
        return self.project(clip)[:, :, None]
