"""Published checkpoints -> weights by name. Nothing in a file is ever executed."""

from __future__ import annotations

from pathlib import Path

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
        RunError: If the file is missing, damaged, holds other objects than tensors and numbers, or no weights.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such checkpoint; give the path of a file of weights")
    stored = load_plain(path, error=RunError)
    for name in _CONTAINERS:
        if isinstance(stored, dict) and isinstance(stored.get(name), dict):
            stored = stored[name]
            break
    if not isinstance(stored, dict) or not stored or not all(isinstance(value, Tensor) for value in stored.values()):
        found = shorten([repr(name) for name in stored]) if isinstance(stored, dict) else type(stored).__name__
        raise RunError(
            f"{path}: expected weights by name, alone or under {' or '.join(_CONTAINERS)}; got {found or 'nothing'}"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in stored.items()}
