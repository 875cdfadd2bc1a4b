"""Class names -> the words that a sentence encoder reads.

An action is "verb noun" in lower case. Underscores, dashes and colons become blanks; of `Divide/Pull Apart` the first
synonym stays. EPIC-KITCHENS writes compound nouns head first, `board:chopping` for a chopping board, and the words
are put in their natural order; EGTEA Gaze+ writes `cutting:board`, and the order stays.
"""

from __future__ import annotations

import re
from collections import Counter

from sgear.taxonomy import Taxonomy

PHASES = ("prep", "core", "post")
"""Thirds of an action in the finest labels of 50 Salads."""


def writes_head_first(dataset: str) -> bool:
    """Return whether a data set writes compound nouns head first: `epic55`, `epic100`, `rulstm-ek100` do."""
    return re.match(r"(rulstm-)?(epic|ek)\d", dataset) is not None


def name_key(name: str) -> str:
    """Return the words of a class name, whatever separates them: names of two files are joined by it."""
    return " ".join(word for word in re.split(r"[\s_:/\-]+", name.lower()) if word)


def clean_text(phrase: str, *, head_first: bool = False) -> str:
    """Turn a verb, a noun or a plain label into words.

    Args:
        phrase: Name as the data set writes it.
        head_first: `a:b` means "b a"; otherwise it means "a b".

    Source:
        generate_lang_prototypes.py of ADiko1997/S-GEAR@adb288e, which keeps upper case and dashes, and loses the
        middle of `machine:sous:vide`.

    Example:
        >>> clean_text("Divide/Pull Apart"), clean_text("board:chopping", head_first=True)
        ('divide', 'chopping board')
    """
    words = []
    for word in re.split(r"[\s_\-]+", phrase.split("/")[0].lower()):
        parts = word.split(":")
        words += [*parts[1:], parts[0]] if head_first else parts
    return " ".join(word for word in words if word)


def action_texts(taxonomy: Taxonomy, *, head_first: bool = False) -> tuple[str, ...]:
    """Return the text of each action [A].

    Verb and noun are cleaned apart, as only their border tells where the synonyms of a verb end. A label that is not
    "verb noun" is cleaned whole. Where labels differ in their phase alone (`cut tomato prep`, `cut tomato core`), the
    phase is dropped: those classes share a text.

    Args:
        taxonomy: Vocabulary.
        head_first: See `clean_text`.

    Example:
        >>> action_texts(Taxonomy.from_labels(["cut_tomato_prep", "cut_tomato_core", "add_oil"]))
        ('cut tomato', 'cut tomato', 'add oil')
    """
    texts = []
    for name, (verb_id, noun_id) in zip(taxonomy.action_names, taxonomy.action_pairs, strict=True):
        verb, noun = taxonomy.verbs[verb_id], taxonomy.nouns[noun_id]
        is_pair = name_key(name) == name_key(f"{verb} {noun}")
        parts = (verb, noun) if is_pair else (name,)
        texts.append(" ".join(clean_text(part, head_first=head_first) for part in parts))
    num_phases = Counter(_without_phase(text) for text in texts if text != _without_phase(text))
    return tuple(_without_phase(text) if num_phases[_without_phase(text)] > 1 else text for text in texts)


def _without_phase(text: str) -> str:
    words = text.split()
    return " ".join(words[:-1]) if len(words) > 1 and words[-1] in PHASES else text
