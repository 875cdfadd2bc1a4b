"""The features of a kitchen that was made with or without films, as a table."""

from __future__ import annotations

from pathlib import Path

from sgear.features import FeatureTable, VideoFeatures
from sgear.kitchen.build import read_config
from sgear.kitchen.features import step_features
from sgear.kitchen.world import make_world


def load_kitchen_features(root: Path) -> FeatureTable:
    """Return features of all films of the kitchen in a folder; they are made, not read, in well under a second.

    Raises:
        ConfigError: If the folder holds no kitchen.
    """
    world = make_world(read_config(root))
    return FeatureTable(
        {
            film.video_id: VideoFeatures(*step_features(world, film.video_id), f"{root}, film {film.video_id}")
            for film in world.films
        }
    )
