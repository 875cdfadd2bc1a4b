"""Files of tensors that others wrote, read without executing anything in them.

Authors save with torch.save, often together with an optimiser and numpy numbers. The weights-only reader of torch
builds tensors and plain containers alone; numpy numbers are allowed beside them, any other object is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from sgear.errors import SgearError
from sgear.files import require_regular_file

_DTYPES = frozenset(
    (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
)
_LONGEST_REASON = 160
_WORDLESS = (UnpicklingError, LookupError, AttributeError, TypeError, AssertionError)
"""Errors whose words tell the reader of a message nothing about the file."""


def load_plain(path: Path, *, error: type[SgearError]) -> Any:
    """Return what a file of tensors holds: tensors on the CPU in dicts and lists, and numbers beside them.

    Args:
        path: `.safetensors`, or any file written by torch.save.
        error: Class of the error to raise.

    Raises:
        SgearError: Of class `error`, if the file is missing, damaged or of another kind, names anything but tensors and
            numbers, or holds tensors without plain values of their own (sparse, quantised, complex, on no device, or
            larger than their storage).
    """
    require_regular_file(path, error)
    if path.suffix == ".npz":
        raise error(
            f"{path}: a .npz file, such as the JAX weights of Google's ViT, is not read; set "
            "model.encoder.pretrained=true, or load it into timm's model and save the state dict with safetensors"
        )
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else _load_pickled(path)
    except Exception as err:
        # Bytes that are no such file make the readers raise errors of every kind.
        raise error(
            f"{path}: not a whole, plain file of tensors ({reason_of(err)}); nothing in it was executed. Copy it again "
            "from its source; where you trust its author, save its tensors alone with safetensors, in a sandbox"
        ) from err
    for tensor in _tensors_in(stored):
        if fault := _fault_of(tensor):
            raise error(f"{path}: holds a tensor {fault}; save plain tensors of numbers")
    return stored


def reason_of(err: Exception) -> str:
    """Return why a file could not be read, in one short line.

    Torch advises to switch its protection off (`weights_only`); that advice is never repeated.
    """
    text = " ".join(str(err).split())
    if named := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it names {named[1]}, which is no tensor"
    if isinstance(err, _WORDLESS) or "weights_only" in text or not text:
        return f"damaged, or of another kind: {type(err).__name__}"
    short = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON].rstrip()}..."
    return f"{type(err).__name__}: {short}"


def _load_pickled(path: Path) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_numbers()):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _numpy_numbers() -> list[Any]:
    """Return what a pickled numpy number is made of, under the names of numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)}
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]


def _tensors_in(stored: Any) -> Iterator[Tensor]:
    pending, seen = [stored], set()
    while pending:
        part = pending.pop()
        if isinstance(part, Tensor):
            yield part
        # A damaged file can hold a list that holds itself.
        elif isinstance(part, dict | list | tuple | set) and id(part) not in seen:
            seen.add(id(part))
            pending += part.values() if isinstance(part, dict) else part


def _fault_of(tensor: Tensor) -> str:
    """Return what is not plain about a tensor; empty for a plain one."""
    if tensor.is_meta or tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
        return f"without plain values ({tensor.layout}, {tensor.dtype}, on {tensor.device})"
    if tensor.dtype not in _DTYPES:
        return f"of {tensor.dtype}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)}, larger than the bytes behind it"
    return ""
