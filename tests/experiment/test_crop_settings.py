"""How large the image around the crop is: the released sizes in pixels, and settings that say something else."""

from pathlib import Path

import pytest
import torch

from sgear.data.sources import VideoSource
from sgear.errors import ConfigError
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_data
from sgear.kitchen import KitchenConfig, build_kitchen


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("crops") / "kitchen"
    small = KitchenConfig(
        num_train_videos=1,
        num_validation_videos=1,
        num_unseen_participants=0,
        actions_per_video=4,
        height=64,
        width=64,
    )
    build_kitchen(root, small, num_processes=1)
    return root


def compose(kitchen: Path, *overrides: str):
    small = ["model.encoder.image_height=32", "model.encoder.image_width=32", "source.reading=videos"]
    return compose_experiment(["experiment=kitchen/avt", f"dataset.root={kitchen}", *small, *overrides])


@pytest.mark.parametrize(
    ("recipe", "crop", "training", "evaluation"),
    [
        ("epic100/vit", 384, (384, 425), 388),
        ("epic100/vit_recognition", 384, (384, 425), 388),
        ("epic100/avt_vit", 224, (248, 280), 248),
        ("epic55/vit", 384, (384, 428), 388),
        ("epic55/vit_recognition", 224, (248, 280), 248),
        ("egtea/vit", 224, (248, 280), 248),
        ("salads50/vit", 224, (248, 280), 248),
    ],
)
def test_a_recipe_has_the_released_short_sides(recipe, crop, training, evaluation):
    config = compose_experiment([f"experiment={recipe}"])
    assert config.model.encoder.image_height == config.model.encoder.image_width == crop
    margins = (*config.source.scale_jitter, config.source.crop_margin)
    assert [round(crop * (1 + margin)) for margin in margins] == [*training, evaluation]


def test_videos_are_read_with_room_for_the_widest_crop(kitchen):
    data = build_data(compose(kitchen, "source.crop_margin=0.1", "source.scale_jitter=[0.0,0.5]"))
    source = data.train.source
    assert isinstance(source, VideoSource)
    assert source.transform.scale_jitter == (0.0, 0.5)
    assert (data.preprocessing.crop_margin, data.preprocessing.reading_margin) == (0.1, 0.5)
    assert source.frames.frames_played_at(data.train.segments.video_ids[0], [0.0]).frames.shape[-2:] == (48, 48)
    assert data.train[0]["clip"].dtype == torch.uint8


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("scale_jitter=[0.1]", r"scale_jitter must be empty or two margins, got \[0\.1\]"),
        ("scale_jitter=[0.3,0.1]", r"source: scale_jitter must be two ascending margins"),
        ("crop_margin=1.5", r"source\.crop_margin=1\.5 is out of range; it takes a number in \[0, 1\]"),
    ],
)
def test_a_wrong_margin_is_named(kitchen, setting, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_data(compose(kitchen, f"source.{setting}"))


def test_margins_have_no_effect_on_stored_features():
    with pytest.raises(ConfigError, match=r"source\.kind=features has no setting source\.scale_jitter"):
        compose_experiment(["experiment=smoke/kitchen", "source.scale_jitter=[0.0,0.1]"])
