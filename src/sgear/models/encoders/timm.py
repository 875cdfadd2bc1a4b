"""A timm ViT as the encoder of single frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import ConfigError
from sgear.models.config import EncoderConfig
from sgear.models.encoders.base import FrameInput, VideoEncoder
from sgear.models.encoders.timm_weights import load_vit_weights, published_network
from sgear.models.loading import Loading
from sgear.torchvision_guard import import_timm


def frame_statistics(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the channel means and standard deviations of the frames that a timm model expects; 0.5 if it says none."""
    published = import_timm().models.get_pretrained_cfg(name)
    if published is None:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    return published.mean, published.std


def frame_size(config: EncoderConfig) -> tuple[int, int]:
    """Return height and width of the frames that a timm encoder reads, in pixels.

    Raises:
        ConfigError: If one of both is set alone, or neither is and timm says no size.
    """
    height, width = config.image_height, config.image_width
    if bool(height) != bool(width):
        raise ConfigError(
            f"model.encoder.image_height={height} and image_width={width}: set both, or neither for timm's own size"
        )
    if height:
        return height, width
    published = import_timm().models.get_pretrained_cfg(config.name)
    if published is None:
        raise ConfigError(
            f"model.encoder.image_height and image_width must be set: timm says no size for {config.name!r}"
        )
    return published.input_size[-2], published.input_size[-1]


class TimmEncoder(VideoEncoder):
    """A timm ViT on each frame [B T 3 H W], with a linear map where its width is not D.

    A ViT without class token gets its pooled feature in the place of one.

    Of the preprocessing that timm names for a model, means, standard deviations and, where none is set, the size of the
    frames are taken. Its interpolation and its crop are not: frames are shrunk by area averages as they are read and
    cut with the margin of `source.crop_margin`, for every model alike.

    Args:
        config: Name, sizes, and where the weights come from.
        width: Width D of the tokens returned.

    Raises:
        ConfigError: If timm knows no such model, it is no plain ViT, or its published weights is not available.
        RunError: If the file of `config.weights`, or what timm publishes, does not fit.
    """

    def __init__(self, config: EncoderConfig, *, width: int) -> None:
        super().__init__(config, width=width)
        sizes = {name: getattr(config, name) for name in ("embed_dim", "depth", "num_heads", "patch_size")}
        overrides: dict[str, Any] = {name: value for name, value in sizes.items() if value}
        if config.image_height or config.image_width:
            overrides["img_size"] = frame_size(config)
        self.vit, loading = _build_vit(config, overrides)
        self.has_class_token = getattr(self.vit, "cls_token", None) is not None
        self.image_size = getattr(self.vit.patch_embed, "img_size", None)
        source = f"timm's published weights of {config.name}"
        if config.weights:
            source, loading = config.weights, load_vit_weights(self.vit, Path(config.weights))
        has_map = self.vit.num_features != width
        self.project = nn.Linear(self.vit.num_features, width) if has_map else nn.Identity()
        unknown = [f"encoder.project.{name}" for name in self.project.state_dict()]
        self.loaded = loading.inside("encoder.vit", missing=unknown).lines(source) if loading else []

    @classmethod
    def frame_input(cls, config: EncoderConfig) -> FrameInput:
        """See `VideoEncoder.frame_input`."""
        mean, std = frame_statistics(config.name)
        return FrameInput(size=frame_size(config), mean=mean, std=std)

    def forward(self, clip: Float[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T N D"]:
        """Return all tokens of each frame, class token first.

        Raises:
            ConfigError: If the clip is not made of frames of the size that the ViT was built for.
        """
        if clip.ndim != 5 or (self.image_size is not None and tuple(clip.shape[-2:]) != tuple(self.image_size)):
            raise ConfigError(
                f"this model reads frames of size {self.image_size}, got a clip of shape {tuple(clip.shape)}, not "
                "[B T 3 H W]; check source.kind, model.encoder.image_height and image_width"
            )
        tokens = self.vit.forward_features(rearrange(clip, "B T C H W -> (B T) C H W"))
        if not self.has_class_token:
            tokens = torch.cat([self.vit.forward_head(tokens, pre_logits=True)[:, None], tokens], dim=1)
        return rearrange(self.project(tokens), "(B T) N D -> B T N D", B=clip.shape[0])


def _build_vit(config: EncoderConfig, overrides: dict[str, Any]) -> tuple[Any, Loading | None]:
    try:
        if config.pretrained:
            vit, loading = published_network(config.name, **overrides)
        else:
            vit, loading = import_timm().create_model(config.name, num_classes=0, **overrides), None
    except (RuntimeError, TypeError) as err:
        raise ConfigError(
            f"model.encoder.name={config.name!r} cannot be built by timm ({err}); "
            "list names with: python -c \"import timm; print(timm.list_models('vit*'))\""
        ) from err
    except OSError as err:
        raise ConfigError(
            f"the published weights of model.encoder.name={config.name!r} is not available ({err}); give a local file "
            "as model.encoder.weights instead of model.encoder.pretrained"
        ) from err
    if not (hasattr(vit, "num_prefix_tokens") and hasattr(vit, "patch_embed")):
        raise ConfigError(
            f"model.encoder.name={config.name!r} is no plain ViT; S-GEAR reads the tokens of a ViT with one grid of "
            "patches, such as vit_base_patch16_384 (naflexvit_* and networks of convolutions have none)"
        )
    return vit, loading
