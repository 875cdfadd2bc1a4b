"""Published checkpoints -> plain tensors. Nothing in a file is ever executed.

Authors save with torch.save, often together with an optimiser and numpy numbers. The weights-only reader of torch
builds tensors and plain containers alone; numpy numbers are allowed beside them, any other object is refused.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sgear.errors import RunError

_CONTAINERS = ("model", "state_dict")


def _numpy_numbers() -> list[Any]:
    """Return what a pickled numpy number is made of, under the names of numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]


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
        raise RunError(f"{path}: no such checkpoint")
    stored: Any
    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            with torch.serialization.safe_globals(_numpy_numbers()):
                stored = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as err:
        raise RunError(
            f"{path}: not a plain file of weights, and nothing in it was executed ({err}). Where you trust its author, "
            "load it in a sandbox and save its state dict alone with safetensors"
        ) from err
    for name in _CONTAINERS:
        if isinstance(stored, dict) and isinstance(stored.get(name), dict):
            stored = stored[name]
            break
    if not isinstance(stored, dict) or not stored or not all(isinstance(value, Tensor) for value in stored.values()):
        raise RunError(
            f"{path}: expected weights by name, alone or under {' or '.join(_CONTAINERS)}; got "
            f"{sorted(stored) if isinstance(stored, dict) else type(stored).__name__}"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in stored.items()}
