"""Prototype files: safetensors with a header that ties the vectors to one vocabulary."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sgear.errors import PrototypeError
from sgear.taxonomy import Taxonomy


def write_prototypes(path: Path, kind: str, vectors: Tensor, header: dict[str, object]) -> None:
    """Write vectors [A D] and a JSON header, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    metadata = {"format": f"sgear-{kind}-prototypes-1", "header": json.dumps(header)}
    save_file({"vectors": vectors.float().contiguous()}, part, metadata=metadata)
    os.replace(part, path)


def read_prototypes(path: Path, kind: str, taxonomy: Taxonomy) -> tuple[Tensor, dict]:
    """Read vectors [A D] and header, and check that they belong to `taxonomy`.

    Raises:
        PrototypeError: If the file is missing, damaged, of another kind, or of another vocabulary.
    """
    if not path.is_file():
        raise PrototypeError(f"{path}: no such file; write it with 'sgear prototypes {kind}'")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != f"sgear-{kind}-prototypes-1":
                raise PrototypeError(f"{path}: expected {kind} prototypes, got format {metadata.get('format')!r}")
            vectors = file.get_tensor("vectors")
        header = json.loads(metadata["header"])
    except (SafetensorError, KeyError, ValueError) as err:
        raise PrototypeError(f"{path}: damaged file ({err}); write it again") from err
    if header["taxonomy"] != taxonomy.digest or len(vectors) != taxonomy.num_actions:
        raise PrototypeError(
            f"{path}: made for a vocabulary of {len(vectors)} actions (digest {header['taxonomy']}), but the data has "
            f"{taxonomy.num_actions} actions (digest {taxonomy.digest}); write it again for this data set"
        )
    if not torch.isfinite(vectors).all():
        raise PrototypeError(f"{path}: holds values that are not finite; write it again")
    return vectors, header
