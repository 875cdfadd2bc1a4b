"""Import of the encodings that the original release stored: a dict from class id to tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch

from sgear.errors import PrototypeError
from sgear.prototypes.language import LanguagePrototypes, clean_text
from sgear.taxonomy import Taxonomy


def import_original_encodings(path: Path, class_names: Sequence[str], taxonomy: Taxonomy) -> LanguagePrototypes:
    """Read `encodings_*.pth` and put it into the order of `taxonomy`.

    The file is read with `weights_only=True`: it can hold tensors and plain containers, no code.

    Args:
        path: The file.
        class_names: Name of each class id of the file; a name that `taxonomy` lacks is left out.
        taxonomy: Vocabulary wanted.

    Raises:
        PrototypeError: If the file is damaged or lacks a class.
    """
    if not path.is_file():
        raise PrototypeError(f"{path}: no such file")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as err:
        raise PrototypeError(f"{path}: not a plain file of tensors ({err}); it was not executed") from err
    if not isinstance(stored, dict):
        raise PrototypeError(f"{path}: expected a dict from class id to tensor, got {type(stored).__name__}")
    by_name = {}
    for class_id, vector in stored.items():
        if not 0 <= int(class_id) < len(class_names):
            raise PrototypeError(f"{path}: class id {class_id} has no name; {len(class_names)} names were given")
        by_name[clean_text(class_names[int(class_id)])] = torch.as_tensor(vector).float().reshape(-1)
    texts = tuple(clean_text(name) for name in taxonomy.action_names)
    missing = [text for text in texts if text not in by_name]
    if missing:
        raise PrototypeError(f"{path}: no encoding of {missing[:5]} ({len(missing)} actions); is this the right file?")
    return LanguagePrototypes(
        vectors=torch.stack([by_name[text] for text in texts]),
        texts=texts,
        encoder=f"original release, {path.name}",
        taxonomy_digest=taxonomy.digest,
    )
