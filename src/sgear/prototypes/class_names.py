"""Which class an id means: lists of class names with their ids.

A list without ids is refused. 50 Salads alone comes with two lists of the same 17 names in different orders, and a
guess between them gives every class the vector of another one.
"""

from __future__ import annotations

import csv
from pathlib import Path

from sgear.errors import PrototypeError
from sgear.files import require_regular_file
from sgear.prototypes.texts import name_key


def read_class_names(path: Path) -> dict[int, str]:
    """Read names by class id.

    Three layouts are known: lines `ID NAME` (`mapping.txt` of 50 Salads), lines `ID, ..., NAME` (`actions.csv` of
    EGTEA in RULSTM), and a csv file with the columns `id` and `action` (RULSTM's EPIC-KITCHENS).

    Args:
        path: The list.

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
