"""Language and visual prototypes: one vector per action, and the geometry they share."""

from sgear.prototypes.language import LanguagePrototypes, clean_text, encode_taxonomy
from sgear.prototypes.relations import cosine_relations
from sgear.prototypes.visual import VisualPrototypes, class_means

__all__ = [
    "LanguagePrototypes",
    "VisualPrototypes",
    "class_means",
    "clean_text",
    "cosine_relations",
    "encode_taxonomy",
]
