"""Prototype files: safetensors with a header that ties the vectors to one vocabulary.

The header carries the whole vocabulary, so that a file can be read on its own, and a file of another vocabulary can be
told apart by name and not by number only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sgear.errors import AnnotationError, PrototypeError
from sgear.files import require_regular_file, write_whole
from sgear.taxonomy import Taxonomy

Kind = Literal["language", "visual"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SETTINGS: dict[Kind, str] = {
    "language": "init.language_prototypes (with init.language_as_visual=true it starts the bank, too)",
    "visual": "init.visual_prototypes",
}
"""Where a file of each kind goes."""


def _format_of(kind: str) -> str:
    return f"sgear-{kind}-prototypes-1"


def write_prototypes(
    path: Path, kind: Kind, vectors: Float[Tensor, "A D"], taxonomy: Taxonomy, header: Mapping[str, object]
) -> None:
    """Write vectors and a JSON header, whole or not at all.

    Digest and names of the vocabulary go into the header, too.

    Raises:
        PrototypeError: If number of vectors and of actions differ, or a vector is zero or not finite.
        WriteError: If the file cannot be written.
    """
    _check_vectors(str(path), vectors, taxonomy)
    full = {**header, "taxonomy": taxonomy.digest, "vocabulary": taxonomy.to_dict()}
    metadata = {"format": _format_of(kind), "header": json.dumps(full)}
    write_whole(path, save({"vectors": vectors.detach().float().cpu().contiguous()}, metadata=metadata))


def kind_of_file(path: Path) -> Kind:
    """Return which kind of prototypes a file holds.

    Raises:
        PrototypeError: If it is missing, damaged, or no file of prototypes.
    """
    found = _read_metadata(path, "language|visual")["format"]
    for kind in KINDS:
        if found == _format_of(kind):
            return kind
    raise PrototypeError(
        f"{path}: expected a file of 'sgear prototypes language' or 'visual', got format {found!r}; write one, or name "
        "a run whose learned prototypes are meant with --run, beside a file"
    )


def read_prototypes(path: Path, kind: Kind, taxonomy: Taxonomy | None) -> tuple[Tensor, dict[str, Any], Taxonomy]:
    """Read a file written by `write_prototypes`.

    Without a taxonomy that of the file is taken. Language prototypes belong to every vocabulary with the same actions
    in the same order, whatever it calls its verbs and nouns.

    Returns:
        Vectors [A D], header, and vocabulary.

    Raises:
        PrototypeError: If the file is missing, damaged, of another kind, or of another vocabulary.
    """
    metadata = _read_metadata(path, kind)
    found = metadata["format"]
    if found != _format_of(kind):
        content = f"a safetensors file of something else (format {found!r}); write one with 'sgear prototypes {kind}'"
        for other in KINDS:
            if found == _format_of(other):
                content = (
                    f"{other} prototypes (format {found!r}); give this file as {_SETTINGS[other]}, and one of 'sgear "
                    f"prototypes {kind}' as {_SETTINGS[kind]}"
                )
        raise PrototypeError(f"{path}: expected {kind} prototypes, got {content}")
    try:
        with safe_open(path, framework="pt") as file:
            vectors = file.get_tensor("vectors")
        header: dict[str, Any] = json.loads(metadata["header"])
        digest = str(header["taxonomy"])
        own = Taxonomy.from_dict(header["vocabulary"]) if "vocabulary" in header else None
    except (SafetensorError, AnnotationError, KeyError, ValueError, TypeError, AttributeError) as err:
        raise PrototypeError(f"{path}: damaged file ({err}); write it again with 'sgear prototypes {kind}'") from err
    if own is not None and own.digest != digest:
        raise PrototypeError(f"{path}: damaged file (its names have digest {own.digest}, not {digest}); write it again")
    if taxonomy is None:
        if own is None:
            raise PrototypeError(f"{path}: written before names were kept in the file; name the data set, or write it")
        taxonomy = own
    has_same_actions = kind == "language" and own is not None and own.action_names == taxonomy.action_names
    if not (digest == taxonomy.digest or has_same_actions) or len(vectors) != taxonomy.num_actions:
        raise PrototypeError(
            f"{path}: made for {len(vectors)} actions (digest {digest}), but the data has {taxonomy.num_actions} "
            f"actions (digest {taxonomy.digest}){_difference(own, taxonomy)}; write it again for this data set with "
            f"'sgear prototypes {kind}'"
        )
    _check_vectors(str(path), vectors, taxonomy)
    return vectors, header, taxonomy


def _read_metadata(path: Path, kind: str) -> dict[str, str]:
    if not path.exists():
        raise PrototypeError(f"{path}: no such file; write it with 'sgear prototypes {kind}'")
    require_regular_file(path, PrototypeError)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as err:
        raise PrototypeError(
            f"{path}: damaged, or not a safetensors file ({err}); write it again, or read an original .pth file with "
            "'sgear prototypes language --original'"
        ) from err
    return {"format": "none", "header": "{}", **metadata}


def _check_vectors(where: str, vectors: Tensor, taxonomy: Taxonomy) -> None:
    if vectors.ndim != 2 or len(vectors) != taxonomy.num_actions:
        raise PrototypeError(
            f"{where}: expected {taxonomy.num_actions} vectors of one width, got {tuple(vectors.shape)}"
        )
    if not torch.isfinite(vectors).all():
        raise PrototypeError(f"{where}: holds values that are not finite; make the prototypes again")
    zero = torch.nonzero(~vectors.any(dim=1)).flatten().tolist()
    if zero:
        names = [taxonomy.action_names[action] for action in zero[:3]]
        raise PrototypeError(
            f"{where}: {len(zero)} of {len(vectors)} vectors are zero, first {names}; they have no direction and so no "
            "cosine. Make the prototypes again"
        )


def _difference(stored: Taxonomy | None, wanted: Taxonomy) -> str:
    """Say in names how two vocabularies differ."""
    if stored is None:
        return ""
    theirs, ours = stored.action_names, wanted.action_names
    only_theirs = [name for name in theirs if name not in set(ours)]
    only_ours = [name for name in ours if name not in set(theirs)]
    if only_theirs or only_ours:
        return f"; only in the file: {only_theirs[:3]}, only in the data: {only_ours[:3]}"
    for action, (there, here) in enumerate(zip(theirs, ours, strict=True)):
        if there != here:
            return f"; same names in another order: action {action} is {there!r} in the file, {here!r} in the data"
    return "; same actions, but made of other verbs and nouns"
