"""Weights of a timm ViT from a local file, strictly: read without executing code, and fitted by timm's own rules."""

from __future__ import annotations

import importlib
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sgear.errors import RunError
from sgear.models.strict import describe_mismatch

_WRAPPERS = ("state_dict", "model")
_CLASSIFIERS = ("head.", "head_dist.")


def load_vit_weights(vit: nn.Module, path: Path) -> str:
    """Load a timm checkpoint into a ViT without classifier.

    Where the grid of patches or the patch size differs, timm's own function resizes the positional embedding and the
    patch embedding.

    Args:
        vit: A ViT made by timm with `num_classes=0`.
        path: `.safetensors`, or a `.pth`-like file, which may wrap the tensors in `state_dict` or `model`.

    Returns:
        One line that says what was loaded, resized and left out.

    Raises:
        RunError: If the file is missing, damaged, or of another architecture.
    """
    stored = _read(path)
    if not stored or not all(isinstance(tensor, Tensor) for tensor in stored.values()):
        raise RunError(f"{path}: holds no plain dict of tensors; give the checkpoint of a timm ViT")
    try:
        convert = importlib.import_module(type(vit).__module__).checkpoint_filter_fn
        fitted = {name.removeprefix("module."): tensor for name, tensor in convert(stored, vit).items()}
    except (RuntimeError, ValueError, KeyError, AttributeError) as err:
        raise RunError(f"{path}: does not fit the ViT of model.encoder ({err})") from err
    classifier = [name for name in fitted if name.startswith(_CLASSIFIERS)]
    body = {name: tensor for name, tensor in fitted.items() if name not in classifier}
    problem = describe_mismatch(vit.state_dict(), body)
    if problem:
        raise RunError(f"{path}: not the weights of this ViT: {problem}; check model.encoder.name and its sizes")
    vit.load_state_dict(body, strict=True)
    resized = [name for name, tensor in body.items() if name in stored and tensor.shape != stored[name].shape]
    parts = [f"encoder: {len(body)} tensors from {path}"]
    parts += [f"{name} resized from {tuple(stored[name].shape)} to {tuple(body[name].shape)}" for name in resized]
    if classifier:
        parts.append(f"left out {', '.join(classifier)}")
    return "; ".join(parts)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise RunError(f"{path}: no such file; set model.encoder.weights to a checkpoint of a timm ViT")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as err:
        raise RunError(f"{path}: not a plain file of tensors ({err}); it was not executed") from err
    for name in _WRAPPERS:
        if isinstance(stored, dict) and isinstance(stored.get(name), dict):
            stored = stored[name]
    return stored if isinstance(stored, dict) else {}
