"""The vector of a class as a sum of parts: its own, its verb's, its noun's, and a map of its sentence embedding.

Parts are shared: `cut tomato` learns from every `cut` and every `tomato`. A class that training never showed still
has a verb, a noun and a text, which is what open vocabularies and rare classes live on.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sgear.errors import ConfigError, PrototypeError

PARTS = ("free", "verb", "noun", "text")


def parse_composition(composition: str, *, setting: str = "model.prototypes.composition") -> tuple[str, ...]:
    """Return the parts that a setting such as `free+verb+noun` names.

    Raises:
        ConfigError: If a part is unknown or comes twice.
    """
    parts = tuple(part.strip() for part in composition.split("+"))
    unknown = [part for part in parts if part not in PARTS]
    if unknown or len(set(parts)) != len(parts):
        raise ConfigError(
            f"{setting}={composition!r} must name each of its parts once, joined by +; there are {', '.join(PARTS)}"
        )
    return parts


@runtime_checkable
class ClassPart(Protocol):
    """A part of a model that must know what the classes are made of."""

    def set_classes(
        self, verb_of_action: Int[Tensor, " A"], noun_of_action: Int[Tensor, " A"], texts: Float[Tensor, "A E"] | None
    ) -> None:
        """Say what the classes are."""
        ...


class ClassVectors(nn.Module):
    """Vectors of all classes [A D].

    Args:
        composition: Parts, e.g. `free+verb+noun+text`.
        width: Width D.
        num_actions: Number of classes A.
        num_verbs: Number of verbs V (part `verb`).
        num_nouns: Number of nouns N (part `noun`).
        text_dim: Width E of the sentence embeddings (part `text`).
        std: Standard deviation of the numbers of a vector at the start. The free part starts at 0 beside others, so
            that a class departs from its parts only as far as its own samples ask for.

    Raises:
        ConfigError: If a part is unknown, or the number of verbs or nouns that it needs is not given.
    """

    verb: Tensor
    noun: Tensor
    verb_of_action: Tensor
    noun_of_action: Tensor
    texts: Tensor

    def __init__(
        self,
        composition: str,
        *,
        width: int,
        num_actions: int,
        num_verbs: int = 0,
        num_nouns: int = 0,
        text_dim: int = 384,
        std: float = 0.01,
    ) -> None:
        super().__init__()
        self.parts = parse_composition(composition)
        self.num_actions, self.width = num_actions, width
        shared = [part for part in self.parts if part != "free"]
        # Parts are independent: each gets its share of the variance.
        each = std / max(1, len(shared)) ** 0.5
        if "free" in self.parts:
            self.free = nn.Parameter(
                torch.zeros(num_actions, width) if shared else torch.randn(num_actions, width) * std
            )
        for part, size in (("verb", num_verbs), ("noun", num_nouns)):
            if part not in self.parts:
                continue
            if size < 1:
                raise ConfigError(f"a class vector made of a {part} needs the number of {part}s; give num_{part}s")
            setattr(self, part, nn.Parameter(torch.randn(size, width) * each))
            self.register_buffer(f"{part}_of_action", torch.zeros(num_actions, dtype=torch.long))
        if "text" in self.parts:
            # Embeddings of unit length: numbers of size 1 / sqrt(E), a map of size `each` keeps the size of the rest.
            self.text_map = nn.Parameter(torch.randn(text_dim, width) * each)
            self.register_buffer("texts", torch.zeros(num_actions, text_dim))

    def set_classes(
        self,
        verb_of_action: Int[Tensor, " A"],
        noun_of_action: Int[Tensor, " A"],
        texts: Float[Tensor, "A E"] | None,
    ) -> None:
        """Say what the classes are; saved with the weights.

        Args:
            verb_of_action: Verb of each class.
            noun_of_action: Noun of each class.
            texts: Sentence embedding of each class; needed for the part `text`.

        Raises:
            PrototypeError: If embeddings are missing or of another width.
        """
        for part, ids in (("verb", verb_of_action), ("noun", noun_of_action)):
            if part in self.parts:
                getattr(self, f"{part}_of_action").copy_(ids)
        if "text" not in self.parts:
            return
        if texts is None:
            raise PrototypeError(
                "a class vector made of text needs sentence embeddings; set init.language_prototypes to a file of "
                "'sgear prototypes language'"
            )
        if texts.shape != self.texts.shape:
            raise PrototypeError(
                f"sentence embeddings of shape {tuple(texts.shape)} do not fit {self.num_actions} classes and "
                f"model.prototypes.text_dim={self.texts.shape[1]}; set it to {texts.shape[1]}"
            )
        self.texts.copy_(nn.functional.normalize(texts, dim=-1))

    @property
    def shared(self) -> Float[Tensor, "A D"] | None:
        """The vectors without their free part; None where there is nothing else."""
        terms = []
        if "verb" in self.parts:
            terms.append(self.verb[self.verb_of_action])
        if "noun" in self.parts:
            terms.append(self.noun[self.noun_of_action])
        if "text" in self.parts:
            # [A E] @ [E D]: linear, so that near texts stay near and a new text needs nothing but its embedding.
            terms.append(self.texts @ self.text_map)
        return torch.stack(terms).sum(dim=0) if terms else None

    def forward(self) -> Float[Tensor, "A D"]:
        """Return the vectors."""
        shared = self.shared
        if "free" not in self.parts:
            assert shared is not None  # a composition has at least one part
            return shared
        # v_a = f_a + v_verb(a) + v_noun(a) + M e_a: gradients of a class reach all that it shares.
        return self.free if shared is None else self.free + shared


class ComposedClassifier(nn.Module):
    """Dropout and a linear layer whose rows, and biases, are composed.

    Args:
        vectors: Rows of the layer, of width D + 1; the last number of each is the bias of its class.
        dropout: Dropout before the layer.
    """

    def __init__(self, vectors: ClassVectors, dropout: float) -> None:
        super().__init__()
        self.vectors = vectors
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch A"]:
        """Return scores."""
        # Composed anew in each step: parts that are shared move all classes at once. [A D+1]
        rows = self.vectors()
        return nn.functional.linear(self.dropout(features), rows[:, :-1], rows[:, -1])


def describe_classes(
    model: nn.Module,
    verb_of_action: Int[Tensor, " A"],
    noun_of_action: Int[Tensor, " A"],
    texts: Float[Tensor, "A E"] | None = None,
) -> None:
    """Say to all parts of a model that ask what its classes are.

    Raises:
        PrototypeError: See `ClassVectors.set_classes`.
    """
    for module in model.modules():
        if isinstance(module, ClassPart):
            module.set_classes(verb_of_action, noun_of_action, texts)
