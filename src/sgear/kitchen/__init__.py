"""A kitchen that makes its own videos: the data set that needs no download.

Its videos are real H.264 files with annotations in the format of EPIC-KITCHENS-100, its actions follow a known law,
and so the best possible anticipation, the Bayes ceiling, is known exactly.
"""

from sgear.kitchen.law import (
    KitchenLaw,
    KitchenScores,
    bayes_ceiling,
    bayes_scores,
    frequency_baseline,
    kitchen_law,
    recall_ranking,
)
from sgear.kitchen.render import VideoRenderer, build_kitchen, render_video
from sgear.kitchen.world import (
    TAU_A_S,
    KitchenConfig,
    KitchenSegment,
    KitchenVideo,
    KitchenWorld,
    load_kitchen_features,
    make_world,
    read_config,
    step_features,
    video_path,
    write_annotations,
)

__all__ = [
    "TAU_A_S",
    "KitchenConfig",
    "KitchenLaw",
    "KitchenScores",
    "KitchenSegment",
    "KitchenVideo",
    "KitchenWorld",
    "VideoRenderer",
    "bayes_ceiling",
    "bayes_scores",
    "build_kitchen",
    "frequency_baseline",
    "kitchen_law",
    "load_kitchen_features",
    "make_world",
    "read_config",
    "recall_ranking",
    "render_video",
    "step_features",
    "video_path",
    "write_annotations",
]
