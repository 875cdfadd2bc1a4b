"""Dicts from class id to tensor on disk, as the original release stores them, read without executing anything."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sgear.errors import PrototypeError
from sgear.files import write_whole
from sgear.prototypes.relations import cosine_relations
from sgear.tensor_files import load_plain

_TOLERANCE = 1e-3


def read_tensors(path: Path) -> dict[int, Tensor]:
    """Read a dict from class id to tensor.

    Raises:
        PrototypeError: If the file is missing, truncated, holds anything but that, or would execute code.
    """
    stored = load_plain(path, error=PrototypeError)
    if not isinstance(stored, dict):
        raise PrototypeError(f"{path}: expected a dict from class id to tensor, got {type(stored).__name__}")
    if not stored:
        raise PrototypeError(f"{path}: the dict holds no class")
    for class_id, tensor in stored.items():
        is_id = isinstance(class_id, int) and not isinstance(class_id, bool)
        if not is_id or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            found = f"{type(class_id).__name__} {class_id!r} -> {type(tensor).__name__}"
            raise PrototypeError(f"{path}: expected class ids and tensors of real numbers, got {found[:100]}")
        if not torch.isfinite(tensor).all():
            raise PrototypeError(f"{path}: class {class_id} holds values that are not finite; copy the file again")
    return stored


def write_tensors(path: Path, values: dict[int, Tensor]) -> None:
    """Write a dict from class id to tensor, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    write_whole(path, buffer.getvalue())


def similarity_matrix(path: Path, stored: dict[int, Tensor]) -> Float[Tensor, "A A"]:
    """Return the content of `similarities_*.pth` as a matrix.

    Raises:
        PrototypeError: If a class has not one similarity to each class; names `path`.
    """
    sizes = {tensor.numel() for tensor in stored.values()}
    if sizes != {len(stored)}:
        raise PrototypeError(
            f"{path}: {len(stored)} classes need {len(stored)} similarities each, got {sorted(sizes)[:5]}; is this a "
            "file of encodings?"
        )
    return torch.stack([tensor.float().reshape(-1) for tensor in stored.values()])


def check_cosines(path: Path, stored: dict[int, Tensor], vectors: Float[Tensor, "A D"], similarities: Path) -> None:
    """Refuse similarities that are not the cosines of the encodings.

    Args:
        path: File of the encodings, for messages.
        stored: Its content.
        vectors: Its content, stacked.
        similarities: The other file.

    Raises:
        PrototypeError: If they disagree; gives both values.
    """
    other = read_tensors(similarities)
    if list(other) != list(stored):
        raise PrototypeError(
            f"{similarities}: holds {len(other)} classes, {path.name} holds {len(stored)}, or in another order; they "
            "do not belong together"
        )
    matrix, cosines = similarity_matrix(similarities, other), cosine_relations(vectors)
    difference = (matrix - cosines).abs()
    if float(difference.max()) > _TOLERANCE:
        ids = list(stored)
        row, column = divmod(int(difference.argmax()), len(ids))
        raise PrototypeError(
            f"{similarities}: says {float(matrix[row, column]):.3f} for classes {ids[row]} and {ids[column]}, but the "
            f"cosine of their encodings in {path.name} is {float(cosines[row, column]):.3f}; they do not belong "
            "together"
        )
