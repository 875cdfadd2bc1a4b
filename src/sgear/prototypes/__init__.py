"""Language and visual prototypes: one vector per action, and the geometry they share."""

from sgear.prototypes.encoders import OFFLINE_ENCODER, PAPER_ENCODER, UNIT_ENCODER
from sgear.prototypes.exemplars import choose_exemplars, class_means_of_features
from sgear.prototypes.language import LanguagePrototypes, encode_taxonomy
from sgear.prototypes.relations import cosine_relations
from sgear.prototypes.texts import action_texts, clean_text
from sgear.prototypes.visual import VisualPrototypes, class_means

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
