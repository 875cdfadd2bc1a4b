"""Class names -> the words that a sentence encoder reads.

An action is "verb noun" in lower case. Underscores, dashes and colons become blanks; of synonyms joined by a slash the
first stays. EPIC-KITCHENS writes compound nouns head first, `board:chopping` for a chopping board, and the words are
put in their natural order; EGTEA Gaze+ writes `cutting:board`, and the order stays.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from sgear.datasets import TextRules
from sgear.errors import PrototypeError
from sgear.files import require_regular_file
from sgear.taxonomy import Taxonomy


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


PHASES = ("prep", "core", "post")
"""Thirds of an action in the finest labels of 50 Salads."""


def name_key(name: str) -> str:
    """Return the words of a class name, whatever separates them: names of two files are joined by it."""
    return " ".join(word for word in re.split(r"[\s_:/\-]+", name.lower()) if word)


def clean_text(phrase: str, *, head_first: bool = False, is_verb: bool = False) -> str:
    """Turn a verb, a noun or a plain label into words.

    Args:
        phrase: Name as the data set writes it.
        head_first: See `TextRules`.
        is_verb: Synonyms of a verb are whole phrases, so that `Divide/Pull Apart` is "divide". Elsewhere a slash joins
            single words, and `knife/fork into drawer` is "knife into drawer".

    Source:
        generate_lang_prototypes.py of ADiko1997/S-GEAR@adb288e, which keeps upper case and dashes, cuts a phrase at its
        first slash, and loses the middle of `machine:sous:vide`.

    Example:
        >>> clean_text("Divide/Pull Apart", is_verb=True), clean_text("board:chopping", head_first=True)
        ('divide', 'chopping board')
    """
    if is_verb:
        phrase = _first_synonym(phrase)
    words = []
    for word in re.split(r"[\s_\-]+", re.sub(r"\s*/\s*", "/", phrase.lower())):
        parts = _first_synonym(word).split(":")
        words += [*parts[1:], parts[0]] if head_first else parts
    return " ".join(word for word in words if word)


def _first_synonym(text: str) -> str:
    return next((synonym for synonym in text.split("/") if name_key(synonym)), "")


def action_texts(taxonomy: Taxonomy, rules: TextRules | None = None) -> tuple[str, ...]:
    """Return the text of each action [A].

    Verb and noun are cleaned apart, as only their border tells where the synonyms of a verb end. A label that is not
    "verb noun" is cleaned whole. With `drops_phases`, where labels differ in their phase alone (`cut tomato prep`,
    `cut tomato core`), the phase is dropped: those classes share a text.

    Args:
        taxonomy: Vocabulary.
        rules: How it writes its names. Default: plainly.

    Raises:
        PrototypeError: If a name holds no word.

    Example:
        >>> action_texts(Taxonomy.from_labels(["cut_tomato_prep", "cut_tomato_core"]), TextRules(drops_phases=True))
        ('cut tomato', 'cut tomato')
    """
    rules = rules or TextRules()
    texts = []
    for name, (verb_id, noun_id) in zip(taxonomy.action_names, taxonomy.action_pairs, strict=True):
        verb, noun = taxonomy.verbs[verb_id], taxonomy.nouns[noun_id]
        if name_key(name) == name_key(f"{verb} {noun}"):
            parts = [
                clean_text(verb, head_first=rules.head_first, is_verb=True),
                clean_text(noun, head_first=rules.head_first),
            ]
        else:
            parts = [clean_text(name, head_first=rules.head_first)]
        texts.append(" ".join(part for part in parts if part))
    empty = [name for name, text in zip(taxonomy.action_names, texts, strict=True) if not text]
    if empty:
        raise PrototypeError(
            f"the names of {len(empty)} actions hold no word to embed: {empty[:3]}; give these classes names"
        )
    return _without_phases(texts) if rules.drops_phases else tuple(texts)


def _without_phases(texts: list[str]) -> tuple[str, ...]:
    """Drop the phase of texts that differ in it alone."""
    bare = [_without_phase(text) for text in texts]
    num_phases = Counter(short for text, short in zip(texts, bare, strict=True) if text != short)
    return tuple(short if num_phases[short] > 1 else text for text, short in zip(texts, bare, strict=True))


def _without_phase(text: str) -> str:
    words = text.split()
    return " ".join(words[:-1]) if len(words) > 1 and words[-1] in PHASES else text
