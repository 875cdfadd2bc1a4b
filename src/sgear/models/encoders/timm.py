"""A timm ViT as the encoder of single frames, and its weights: listed key by key, and never loaded in part."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from jaxtyping import Float
from torch import Tensor, nn

from sgear.errors import ConfigError, RunError
from sgear.models.config import EncoderConfig
from sgear.models.conversion import Loading, describe_mismatch, read_checkpoint, shorten
from sgear.models.encoders.base import FrameInput, VideoEncoder
from sgear.tensor_files import reason_of
from sgear.torchvision_guard import import_timm

_CLASSIFIERS = ("head.", "head_dist.")
_TIMM_LOG = "timm.models._builder"
_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 10.0


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
        ConfigError: If timm knows no such model, it is no plain ViT, or its published weights are not available.
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
        # Widths that agree need no map: the ViT of the release hands on its 768 numbers as they are.
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
        # [(B T) N D]; a pooled feature stands in front where others have a class token.
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
            f"the published weights of model.encoder.name={config.name!r} are not available ({err}); give a local file "
            "as model.encoder.weights instead of model.encoder.pretrained"
        ) from err
    if not (hasattr(vit, "num_prefix_tokens") and hasattr(vit, "patch_embed")):
        raise ConfigError(
            f"model.encoder.name={config.name!r} is no plain ViT; S-GEAR reads the tokens of a ViT with one grid of "
            "patches, such as vit_base_patch16_384 (naflexvit_* and networks of convolutions have none)"
        )
    return vit, loading


def load_vit_weights(vit: nn.Module, path: Path) -> Loading:
    """Load a timm checkpoint into a ViT without classifier.

    Where the grid of patches or the patch size differs, timm's own function resizes the positional embedding and the
    patch embedding.

    Args:
        vit: A ViT made by timm with `num_classes=0`.
        path: `.safetensors`, or a `.pth`-like file, which may wrap the tensors in `state_dict` or `model`.

    Returns:
        What was loaded, resized and left out.

    Raises:
        RunError: If the file is missing, damaged, or of another architecture.
    """
    return load_checkpoint(
        vit, path, classifiers=_CLASSIFIERS, whose="this ViT", remedy="check model.encoder.name and its sizes"
    )


def load_checkpoint(
    network: nn.Module, path: Path, *, classifiers: tuple[str, ...], whose: str, remedy: str
) -> Loading:
    """Load a timm checkpoint into a network of timm without classifier, fitted by timm's own rules, strictly.

    Args:
        network: The network.
        path: See `read_checkpoint`.
        classifiers: What the names of a classifier begin with.
        whose: How messages call the network.
        remedy: What to do if the file does not fit.

    Raises:
        RunError: If the file is missing, damaged, or of another architecture.
    """
    stored = read_checkpoint(path)
    fit = getattr(importlib.import_module(type(network).__module__), "checkpoint_filter_fn", None)
    try:
        fitted = stored if fit is None else fit(stored, network)
    except Exception as err:
        # Tensors of another architecture make timm's function fail in every way.
        raise RunError(f"{path}: does not fit {whose} ({reason_of(err)}); {remedy}") from err
    classifier = [name for name in fitted if name.startswith(classifiers)]
    body = {name: tensor for name, tensor in fitted.items() if name not in classifier}
    if problem := describe_mismatch(network.state_dict(), body):
        raise RunError(f"{path}: not the weights of {whose}: {problem}; {remedy}")
    network.load_state_dict(body, strict=True)
    resized = [name for name, tensor in body.items() if name in stored and tensor.shape != stored[name].shape]
    return Loading(
        loaded=tuple(body),
        unexpected=tuple(classifier),
        notes=tuple(
            f"{name} resized from {tuple(stored[name].shape)} to {tuple(body[name].shape)}" for name in resized
        ),
    )


def published_network(name: str, **sizes: Any) -> tuple[Any, Loading]:
    """Build a network of timm without its classifier, with the weights that timm publishes for it.

    Args:
        name: Full name of the model.
        sizes: Arguments of `timm.create_model`.

    Returns:
        The network, and what was loaded and left out.

    Raises:
        RunError: If the published weights leave a tensor of the network at its start value; timm allows that.
        OSError: If they are not available.
        RuntimeError: If timm knows no such model or weights, or they have other sizes.
    """
    timm = import_timm()
    with _keys_in_timms_log() as keys:
        network = timm.create_model(name, pretrained=True, num_classes=0, **sizes)
    missing = keys["Missing"]
    if missing:
        raise RunError(
            f"timm's published weights of {name!r} have nothing for {len(missing)} tensors of the network "
            f"({shorten(missing)}); remove model.encoder.depth and the other sizes if set, or start without them"
        )
    return network, Loading(loaded=tuple(network.state_dict()), unexpected=tuple(keys["Unexpected"]))


@contextmanager
def _keys_in_timms_log() -> Iterator[dict[str, list[str]]]:
    """Collect the keys that timm leaves out: it loads published weights loosely and only logs it."""
    keys: dict[str, list[str]] = {"Missing": [], "Unexpected": []}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for kind, names in re.findall(r"(Missing|Unexpected) keys \((.*?)\)", record.getMessage()):
                keys[kind] += names.split(", ")

    log, collector = logging.getLogger(_TIMM_LOG), Collector()
    level, propagates = log.level, log.propagate
    log.addHandler(collector)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield keys
    finally:
        log.removeHandler(collector)
        log.setLevel(level)
        log.propagate = propagates


def require_published_weights(name: str) -> None:
    """Check that the published weights of a timm model are on this machine, or that their hub can be reached.

    It asks once. The download itself tries for a minute before it gives up.

    Args:
        name: Full name of the model.

    Raises:
        ConfigError: If they are not here and the hub does not answer; says where they are and how to give a file.
    """
    published = import_timm().models.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        return
    repo, _, revision = published.hf_hub_id.partition("@")
    files = (published.hf_hub_filename,) if published.hf_hub_filename else _FILES
    if any(isinstance(try_to_load_from_cache(repo, file, revision=revision or None), str) for file in files):
        return
    url = hf_hub_url(repo, files[0], revision=revision or None)
    try:
        get_hf_file_metadata(url, timeout=_TIMEOUT_S)
    except HfHubHTTPError:
        # The hub answers; what is wrong there, the download says better.
        return
    except Exception as err:
        # Which error a dead connection gives depends on the library that the hub uses.
        raise ConfigError(
            f"model.encoder.pretrained=true needs the published weights of {name}, which are not on this machine, and "
            f"the hub cannot be reached ({err}). Fetch {url} elsewhere and give the file: "
            "model.encoder.pretrained=false model.encoder.weights=FILE"
        ) from err
