"""A kitchen that makes its own films: the data set that needs no download.

Its films are real H.264 files with annotations in the format of EPIC-KITCHENS-100, its actions follow a known law,
and so the best possible anticipation, the Bayes ceiling, is known exactly.
"""

from sgear.kitchen.annotations import world_benchmark, write_annotations
from sgear.kitchen.build import build_kitchen, film_path
from sgear.kitchen.ceiling import (
    KitchenScores,
    bayes_ceiling,
    bayes_scores,
    frequency_baseline,
    recall_ranking,
)
from sgear.kitchen.features import step_features
from sgear.kitchen.law import KitchenLaw, kitchen_law
from sgear.kitchen.render import FilmRenderer, render_film
from sgear.kitchen.world import KitchenConfig, KitchenFilm, KitchenSegment, KitchenWorld, make_world

__all__ = [
    "FilmRenderer",
    "KitchenConfig",
    "KitchenFilm",
    "KitchenLaw",
    "KitchenScores",
    "KitchenSegment",
    "KitchenWorld",
    "bayes_ceiling",
    "bayes_scores",
    "build_kitchen",
    "film_path",
    "frequency_baseline",
    "kitchen_law",
    "make_world",
    "recall_ranking",
    "render_film",
    "step_features",
    "world_benchmark",
    "write_annotations",
]
