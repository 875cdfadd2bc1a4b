"""The class vocabulary: verbs, nouns, actions, and which verb and noun make each action.

Names and ids live here once. A digest of the names travels with prototypes, weights and predictions, so that files
of two vocabularies cannot be mixed by accident.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sgear.errors import AnnotationError

Field = Literal["verb", "noun", "action"]
FIELDS: tuple[Field, ...] = ("verb", "noun", "action")
"""What a label has: a verb, a noun, and the two together."""


@dataclass(frozen=True)
class Taxonomy:
    """Ids are positions: `verbs[i]`, `nouns[j]`; action `a` is the pair `action_pairs[a] = (i, j)`.

    Args:
        verbs: Verb names, unique.
        nouns: Noun names, unique. Empty names are not allowed; data sets without nouns use one noun per action.
        action_pairs: (verb id, noun id) of each action, unique.
        action_names: Text of each action, unique. Default: "verb noun".

    Raises:
        AnnotationError: If names repeat or an action points to an unknown verb or noun.
    """

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    action_pairs: tuple[tuple[int, int], ...]
    action_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for action_id, (verb_id, noun_id) in enumerate(self.action_pairs):
            if not (0 <= verb_id < len(self.verbs) and 0 <= noun_id < len(self.nouns)):
                raise AnnotationError(
                    f"action {action_id} is (verb {verb_id}, noun {noun_id}), but there are "
                    f"{len(self.verbs)} verbs and {len(self.nouns)} nouns"
                )
        if not self.action_names:
            names = tuple(f"{self.verbs[v]} {self.nouns[n]}" for v, n in self.action_pairs)
            object.__setattr__(self, "action_names", names)
        for kind, values in (
            ("verb", self.verbs),
            ("noun", self.nouns),
            ("action pair", self.action_pairs),
            ("action", self.action_names),
        ):
            if len(set(values)) != len(values):
                twice = sorted(str(value) for value, count in Counter(values).items() if count > 1)
                raise AnnotationError(f"{kind} names must be unique, these repeat: {twice[:5]}")
        if len(self.action_names) != len(self.action_pairs):
            raise AnnotationError(f"{len(self.action_pairs)} actions but {len(self.action_names)} action names")

    @property
    def num_actions(self) -> int:
        """Number of action classes A."""
        return len(self.action_pairs)

    @cached_property
    def verb_of_action(self) -> NDArray[np.int64]:
        """Verb id of each action, [A]."""
        return np.array([verb for verb, _ in self.action_pairs], dtype=np.int64)

    @cached_property
    def noun_of_action(self) -> NDArray[np.int64]:
        """Noun id of each action, [A]."""
        return np.array([noun for _, noun in self.action_pairs], dtype=np.int64)

    def names(self, field: Field) -> tuple[str, ...]:
        """Return the class names of a field, in the order of their ids."""
        return {"verb": self.verbs, "noun": self.nouns, "action": self.action_names}[field]

    def ids_of_action(self, field: Field) -> NDArray[np.int64]:
        """Return the class of each action in a field, [A]; for `action` that is the action itself."""
        match field:
            case "verb":
                return self.verb_of_action
            case "noun":
                return self.noun_of_action
            case "action":
                return np.arange(self.num_actions)

    @cached_property
    def action_of_pair(self) -> dict[tuple[int, int], int]:
        """Action id of each (verb id, noun id) that exists."""
        return {pair: action for action, pair in enumerate(self.action_pairs)}

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of all names in order."""
        text = json.dumps([self.verbs, self.nouns, self.action_pairs, self.action_names])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, list]:
        """Return a plain dict, JSON-ready."""
        return {
            "verbs": list(self.verbs),
            "nouns": list(self.nouns),
            "action_pairs": [list(pair) for pair in self.action_pairs],
            "action_names": list(self.action_names),
        }

    @classmethod
    def from_dict(cls, values: dict[str, list]) -> Taxonomy:
        """Rebuild a taxonomy from `to_dict`."""
        return cls(
            verbs=tuple(values["verbs"]),
            nouns=tuple(values["nouns"]),
            action_pairs=tuple((int(verb), int(noun)) for verb, noun in values["action_pairs"]),
            action_names=tuple(values["action_names"]),
        )

    @classmethod
    def from_labels(cls, labels: list[str]) -> Taxonomy:
        """Make a taxonomy of plain labels such as `cut_tomato`: first word = verb, the rest = noun.

        A label of one word gets itself as noun. Underscores become spaces in the names.
        """
        texts = [label.replace("_", " ").strip() for label in labels]
        split = [[*text.split(" ", 1), text][:2] for text in texts]
        verbs = tuple(dict.fromkeys(verb for verb, _ in split))
        nouns = tuple(dict.fromkeys(noun for _, noun in split))
        verb_ids, noun_ids = ({name: idx for idx, name in enumerate(names)} for names in (verbs, nouns))
        pairs = tuple((verb_ids[verb], noun_ids[noun]) for verb, noun in split)
        return cls(verbs=verbs, nouns=nouns, action_pairs=pairs, action_names=tuple(texts))
