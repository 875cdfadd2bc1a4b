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
from sgear.features.store_index import OF_RUN
from sgear.lineage import Lineage
from sgear.models.encoders import VideoEncoder
from sgear.models.encoders.timm import load_checkpoint, load_vit_weights, published_network
from sgear.models.pretrained import load_model
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
    try:
        module.eval().to(device)
    except (RuntimeError, AssertionError) as err:
        # Torch asserts where it was built without support for a device.
        raise ConfigError(
            f"device {device!r} cannot be used: {str(err).splitlines()[0]}; take cpu, or see what 'sgear doctor' says"
        ) from err

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
        pretrained: Use timm's published weights; they are downloaded on first use. Without them and without `weights`
            the network is drawn by its name: equal wherever and whenever it is built.
        weights: Local checkpoint of the network instead.
        device: Where to run.
        precision: `float32` or `bf16`.

    Raises:
        ConfigError: If timm knows no such model, it gives no vector, or its published weights are not available.
        RunError: If the checkpoint does not fit, or the published weights leave a part of the network as it starts.
    """
    timm = import_timm()
    try:
        # Drawing weights must not move the random numbers of whoever asked for features.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
            if pretrained and weights is None:
                model, _ = published_network(name)
            else:
                model = timm.create_model(name, num_classes=0)
    except (RuntimeError, TypeError) as err:
        raise ConfigError(f"encoder {name!r} cannot be built by timm ({err}); see timm.list_models()") from err
    except OSError as err:
        raise ConfigError(
            f"no published weights of encoder {name!r} ({err}); give a local checkpoint with --weights"
        ) from err
    if weights is not None:
        _load_weights(model, name, weights)
    data = timm.data.resolve_model_data_config(model)
    _, height, width = data["input_size"]
    return FrameEncoder(
        encode=_encode_with(model, model, device, precision),
        name=name,
        weights=weights_digest(model),
        width=_width(model, name, height, width),
        image_height=height,
        image_width=width,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        crop_margin=max(0.0, 1 / data["crop_pct"] - 1),
        precision=precision,
        device=device,
        # A checkpoint at hand may be anybody's, and learnt from anything.
        lineage=None if weights is None else Lineage(gaps=(f"weights {weights.name}",)),
    )


def _load_weights(model: nn.Module, name: str, path: Path) -> None:
    """Load a timm checkpoint into a network without classifier, strictly."""
    if hasattr(model, "num_prefix_tokens"):
        load_vit_weights(model, path)
        return
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    parts = tuple(f"{part}." for part in ([classifier] if isinstance(classifier, str) else classifier))
    load_checkpoint(model, path, classifiers=parts, whose=name, remedy="check --encoder")


def _width(model: nn.Module, name: str, height: int, width: int) -> int:
    """Return the width of what a network makes of a frame; some have a layer more before their classifier."""
    with torch.inference_mode():
        features = model.eval()(torch.zeros(1, 3, height, width))
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(f"encoder {name!r} gives {shape} for a frame, no vector; choose a network that pools")
    return features.shape[1]


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
    if not isinstance(encoder, VideoEncoder):
        raise RunError(f"{run}: its model reads stored features; choose a run that was trained with source.kind=video")
    return FrameEncoder(
        # As a clip of one video, [1 T ...]: encoders read clips, the extraction has frames.
        encode=_encode_with(encoder, lambda frames: encoder(frames[None])[0, :, 0], device, precision),
        name=f"{trained.config.encoder.name}{OF_RUN}{run.name}",
        weights=weights_digest(encoder),
        width=trained.config.width,
        image_height=settings.height,
        image_width=settings.width,
        mean=settings.mean,
        std=settings.std,
        crop_margin=settings.crop_margin,
        reading_margin=settings.reading_margin,
        frames_per_step=settings.frames_per_step,
        step_frames_s=settings.step_frames_s,
        precision=precision,
        device=device,
        lineage=trained.lineage,
    )
