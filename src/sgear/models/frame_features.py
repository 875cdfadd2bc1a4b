"""Encoders for `sgear features extract`: any network of timm by name, or the frame encoder of a trained run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sgear.errors import ConfigError, RunError
from sgear.features.extract import FrameEncoder
from sgear.models.encoders import TimmEncoder
from sgear.models.pretrained import load_model
from sgear.models.vit_weights import load_vit_weights
from sgear.torchvision_guard import import_timm

PRECISIONS = ("float32", "bf16")


def weights_digest(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that any change of a weight changes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
    return digest.hexdigest()[:16]


def _encode_with(module: nn.Module, read_out: Callable[[Tensor], Tensor], device: str, precision: str) -> Callable:
    if precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    module.eval().to(device)

    def encode(frames: Tensor) -> Tensor:
        lower = torch.autocast(torch.device(device).type, torch.bfloat16) if precision == "bf16" else nullcontext()
        with lower:
            return read_out(frames)

    return encode


def timm_frame_encoder(
    name: str, *, pretrained: bool = True, weights: Path | None = None, device: str = "cpu", precision: str = "float32"
) -> FrameEncoder:
    """Return a network of timm without its classifier: one pooled vector per frame.

    Args:
        name: Full name of the model.
        pretrained: Use timm's published weights; they are downloaded on first use.
        weights: Local checkpoint of a ViT instead.
        device: Where to run.
        precision: `float32` or `bf16`.

    Raises:
        ConfigError: If timm knows no such model, or its published weights cannot be had.
        RunError: If the checkpoint does not fit.
    """
    timm = import_timm()
    try:
        model = timm.create_model(name, pretrained=pretrained and weights is None, num_classes=0)
    except (RuntimeError, TypeError) as err:
        raise ConfigError(f"encoder {name!r} cannot be built by timm ({err}); see timm.list_models()") from err
    except OSError as err:
        raise ConfigError(
            f"the published weights of encoder {name!r} cannot be had ({err}); give a local checkpoint with --weights"
        ) from err
    if weights is not None:
        load_vit_weights(model, weights)
    data = timm.data.resolve_model_data_config(model)
    _, height, width = data["input_size"]
    return FrameEncoder(
        encode=_encode_with(model, model, device, precision),
        name=name,
        weights=weights_digest(model),
        width=model.num_features,
        image_height=height,
        image_width=width,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        crop_margin=max(0.0, 1 / data["crop_pct"] - 1),
        precision=precision,
        device=device,
    )


def run_frame_encoder(run: Path, *, device: str = "cpu", precision: str = "float32") -> FrameEncoder:
    """Return the frame encoder of a run that was trained on pixels: the class token of each frame, before TCA.

    Args:
        run: Run directory.
        device: Where to run.
        precision: `float32` or `bf16`.

    Raises:
        RunError: If the run holds no model, or one that reads stored features.
    """
    trained = load_model(run / "model")
    encoder, settings = getattr(trained.model, "encoder", None), trained.preprocessing
    if not isinstance(encoder, TimmEncoder):
        raise RunError(f"{run}: its model reads stored features; choose a run that was trained with source.kind=video")
    return FrameEncoder(
        encode=_encode_with(encoder, lambda frames: encoder(frames[None])[0, :, 0], device, precision),
        name=f"{trained.config.encoder.name} of run {run.name}",
        weights=weights_digest(encoder),
        width=trained.config.width,
        image_height=settings.height,
        image_width=settings.width,
        mean=settings.mean,
        std=settings.std,
        crop_margin=settings.crop_margin,
        reading_margin=settings.reading_margin,
        precision=precision,
        device=device,
    )
