"""The files of the original release, both ways: `encodings_*.pth` and `similarities_*.pth`, dicts from class id.

An encoding is a float32 tensor [D]; a similarity is [1, A], the cosines of one class to all, in the order of the dict.
Files are read with `weights_only=True`: they can hold tensors and plain containers, no code. Classes are joined by
name and never by position.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sgear.datasets import TextRules
from sgear.errors import PrototypeError
from sgear.files import require_regular_file, write_whole
from sgear.prototypes.geometry import cosine_relations, vectors_of_relations
from sgear.prototypes.language import LanguagePrototypes, action_texts, digest_of_file, name_key
from sgear.taxonomy import Taxonomy
from sgear.tensor_files import load_plain

_TOLERANCE = 1e-3


def read_class_names(path: Path) -> dict[int, str]:
    """Read names by class id.

    Three layouts are known: lines `ID NAME` (`mapping.txt` of 50 Salads), lines `ID, ..., NAME` (`actions.csv` of
    EGTEA in RULSTM), and a csv file with the columns `id` and `action` (RULSTM's EPIC-KITCHENS).

    Raises:
        PrototypeError: If the file is missing or empty, a line has no id, or an id or a name repeats.
    """
    require_regular_file(path, PrototypeError, "Expected a list of class names.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as err:
        raise PrototypeError(f"{path}: not a text file ({err}); expected lines 'ID NAME'") from err
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise PrototypeError(f"{path}: the list is empty; expected lines 'ID NAME'")
    id_column, name_column, first = 0, -1, 0
    header = [field.strip().lower() for field in rows[0][1].split(",")]
    if "id" in header and "action" in header:
        id_column, name_column, first = header.index("id"), header.index("action"), 1
    names: dict[int, str] = {}
    line_of_key: dict[str, int] = {}
    for number, line in rows[first:]:
        fields = next(csv.reader([line])) if "," in line else line.split(maxsplit=1)
        where = f"{path}, line {number}"
        if len(fields) < 2 or len(fields) <= max(id_column, name_column) or not fields[id_column].strip().isdigit():
            raise PrototypeError(
                f"{where}: expected 'ID NAME', got {line.strip()!r}; a list without ids does not say which class is "
                "which. Give the list whose ids the file uses (50 Salads: mapping.txt, EGTEA and EPIC: actions.csv)"
            )
        class_id, name = int(fields[id_column]), fields[name_column].strip()
        if class_id in names:
            raise PrototypeError(f"{where}: id {class_id} is both {names[class_id]!r} and {name!r}; ids must be unique")
        key = name_key(name)
        if key in line_of_key:
            raise PrototypeError(f"{where}: {name!r} already stands in line {line_of_key[key]}; names must be unique")
        names[class_id], line_of_key[key] = name, number
    return names


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


def _check_cosines(path: Path, stored: dict[int, Tensor], vectors: Float[Tensor, "A D"], similarities: Path) -> None:
    """Refuse similarities that are not the cosines of the encodings; gives both values."""
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


def names_without_action(class_names: Mapping[int, str], taxonomy: Taxonomy) -> list[str]:
    """Return the names of a list that are no action of a vocabulary, such as start and end of 50 Salads."""
    keys = {name_key(name) for name in taxonomy.action_names}
    return [name for _, name in sorted(class_names.items()) if name_key(name) not in keys]


def import_original_encodings(
    path: Path,
    class_names: Mapping[int, str],
    taxonomy: Taxonomy,
    *,
    similarities: Path | None = None,
    rules: TextRules | None = None,
) -> LanguagePrototypes:
    """Read `encodings_*.pth` and put it into the order of `taxonomy`.

    Args:
        path: The file.
        class_names: Name of each class id of the file; a name that `taxonomy` lacks is left out.
        taxonomy: Vocabulary wanted.
        similarities: `similarities_*.pth` of the same classes; they must be the cosines of the encodings.
        rules: How the data set writes its names; they concern the texts kept in the file alone. Default: plainly.

    Raises:
        PrototypeError: If a file is damaged, lacks a class, holds a zero vector, or contradicts the other one.
    """
    stored = read_tensors(path)
    widths = {tensor.numel() for tensor in stored.values()}
    if len(widths) != 1 or 0 in widths:
        raise PrototypeError(f"{path}: encodings must have one width above 0, got {sorted(widths)}")
    vectors = torch.stack([tensor.float().reshape(-1) for tensor in stored.values()])
    zero = [class_id for class_id, vector in zip(stored, vectors, strict=True) if not vector.any()]
    if zero:
        raise PrototypeError(
            f"{path}: the encodings of {len(zero)} classes are zero, first ids {zero[:3]}; they have no direction and "
            "so no cosine. Make the file again"
        )
    if similarities is not None:
        _check_cosines(path, stored, vectors, similarities)
    rows = _rows_of_actions(path, list(stored), class_names, taxonomy)
    return LanguagePrototypes(
        vectors=vectors[rows],
        texts=action_texts(taxonomy, rules),
        encoder=f"original release, {path.name}",
        taxonomy=taxonomy,
        revision=digest_of_file(path),
    )


def import_original_similarities(
    path: Path, class_names: Mapping[int, str], taxonomy: Taxonomy, *, rules: TextRules | None = None
) -> LanguagePrototypes:
    """Read `similarities_*.pth` alone: vectors [A A] with the stored cosines, all that the semantic loss needs.

    Args:
        path: The file.
        class_names: Name of each class id of the file; a name that `taxonomy` lacks is left out.
        taxonomy: Vocabulary wanted.
        rules: See `import_original_encodings`.

    Raises:
        PrototypeError: If the file is damaged, lacks a class, or holds no cosines.
    """
    stored = read_tensors(path)
    matrix = similarity_matrix(path, stored)
    rows = _rows_of_actions(path, list(stored), class_names, taxonomy)
    try:
        vectors = vectors_of_relations(matrix[rows][:, rows])
    except PrototypeError as err:
        raise PrototypeError(f"{path}: {err}; is this the right file?") from err
    return LanguagePrototypes(
        vectors=vectors,
        texts=action_texts(taxonomy, rules),
        encoder=f"original release, {path.name}: cosines alone",
        taxonomy=taxonomy,
        revision=digest_of_file(path),
    )


def export_original(
    prototypes: LanguagePrototypes,
    *,
    encodings: Path | None = None,
    similarities: Path | None = None,
    class_names: Mapping[int, str] | None = None,
) -> int:
    """Write prototypes in the layout of the original release, readable with `torch.load(weights_only=True)`.

    Args:
        prototypes: What to write.
        encodings: File of the vectors, a dict from class id to float32 [D].
        similarities: File of their cosines, a dict from class id to float32 [1, A].
        class_names: Names of the ids to write; the ids after the last known name may be unknown, such as start and
            end of 50 Salads. Default: the ids of the vocabulary.

    Returns:
        Number of classes written.

    Raises:
        PrototypeError: If an action has no id, or the ids written are not 0, 1, 2, ...: the original code stacks the
            values of the dict and takes positions for ids.
    """
    names = prototypes.taxonomy.action_names
    row_of_key = {name_key(name): row for row, name in enumerate(names)}
    wanted = dict(enumerate(names)) if class_names is None else class_names
    row_of_id = {i: row_of_key[name_key(name)] for i, name in sorted(wanted.items()) if name_key(name) in row_of_key}
    without_id = [name for row, name in enumerate(names) if row not in set(row_of_id.values())]
    if without_id:
        raise PrototypeError(f"the list of class names has no id for {without_id[:5]} ({len(without_id)} actions)")
    holes = [i for position, i in enumerate(row_of_id) if i != position]
    if holes:
        unknown = [name for i, name in sorted(wanted.items()) if i < holes[0] and i not in row_of_id]
        raise PrototypeError(
            f"class ids must be 0, 1, 2, ... without a hole, but {unknown[:5]} come before id {holes[0]} and have no "
            f"prototype among {len(names)} actions"
        )
    rows = list(row_of_id.values())
    relations = cosine_relations(prototypes.vectors[rows])
    for path, values in (
        (encodings, {i: prototypes.vectors[row].float().clone() for i, row in row_of_id.items()}),
        (similarities, {i: relations[i : i + 1].clone() for i in row_of_id}),
    ):
        if path is not None:
            buffer = io.BytesIO()
            torch.save(values, buffer)
            write_whole(path, buffer.getvalue())
    return len(rows)


def _rows_of_actions(path: Path, ids: list[int], class_names: Mapping[int, str], taxonomy: Taxonomy) -> list[int]:
    """Return the position in the file of each action of the vocabulary."""
    row_of_key: dict[str, int] = {}
    for row, class_id in enumerate(ids):
        if class_id not in class_names:
            raise PrototypeError(
                f"{path}: class id {class_id} has no name; the file holds {len(ids)} classes, and "
                f"{len(class_names)} names were given. Give the list of names that belongs to the file"
            )
        key = name_key(class_names[class_id])
        if key in row_of_key:
            raise PrototypeError(f"{path}: two class ids are called {class_names[class_id]!r}; names must be unique")
        row_of_key[key] = row
    keys = [name_key(name) for name in taxonomy.action_names]
    missing = [key for key in keys if key not in row_of_key]
    if missing:
        raise PrototypeError(
            f"{path}: nothing for {missing[:5]} ({len(missing)} of {len(keys)} actions of the data set); the file "
            f"holds {len(ids)} classes such as {list(row_of_key)[:3]}. Is this the right file, and the right data set?"
        )
    return [row_of_key[key] for key in keys]
