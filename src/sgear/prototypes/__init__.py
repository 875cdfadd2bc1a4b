"""Language and visual prototypes: one vector per action, and the geometry they share."""

from sgear.prototypes.geometry import cosine_relations
from sgear.prototypes.language import (
    OFFLINE_ENCODER,
    PAPER_ENCODER,
    UNIT_ENCODER,
    LanguagePrototypes,
    action_texts,
    clean_text,
    encode_taxonomy,
)
from sgear.prototypes.visual import VisualPrototypes, choose_exemplars, class_means, class_means_of_features

__all__ = [
    "LanguagePrototypes",
    "OFFLINE_ENCODER",
    "PAPER_ENCODER",
    "UNIT_ENCODER",
    "VisualPrototypes",
    "action_texts",
    "choose_exemplars",
    "class_means",
    "class_means_of_features",
    "clean_text",
    "cosine_relations",
    "encode_taxonomy",
]
