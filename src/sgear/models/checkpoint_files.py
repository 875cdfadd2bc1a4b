"""Published checkpoints -> weights by name. Nothing in a file is ever executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from sgear.errors import RunError
from sgear.models.strict import shorten
from sgear.tensor_files import load_plain

_CONTAINERS = ("model", "state_dict")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the weights of a published checkpoint.

    Args:
        path: A `.safetensors` file, or any file written by torch.save that holds the weights by name, alone or under
            `model` or `state_dict`.

    Returns:
        Name -> tensor on the CPU; a leading `module.`, left by data-parallel training, is removed.

    Raises:
        RunError: If the file is missing, damaged, holds other objects than tensors and numbers, or no weights, or a
            weight is not finite.
    """
    stored = load_plain(path, error=RunError)
    inside = [stored[name] for name in _CONTAINERS if name in stored] if isinstance(stored, dict) else []
    weights = next((part for part in (*inside, stored) if _is_weights(part)), None)
    if weights is None:
        found = shorten([repr(name) for name in stored]) if isinstance(stored, dict) else type(stored).__name__
        raise RunError(
            f"{path}: expected weights by name, alone or under {' or '.join(_CONTAINERS)}; got {found or 'nothing'}"
        )
    bad = [str(name) for name, tensor in weights.items() if not tensor.isfinite().all()]
    if bad:
        raise RunError(
            f"{path}: {len(bad)} tensors have values that are not finite ({shorten(bad)}); did the training fail, or "
            "was the file damaged? Copy it again from its source"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in weights.items()}


def _is_weights(part: Any) -> bool:
    return isinstance(part, dict) and bool(part) and all(isinstance(value, Tensor) for value in part.values())
