"""Every recipe is built, trained for a step or two and evaluated, at tiny size, in the order they depend on.

The data are a small kitchen in the csv layout of EPIC-KITCHENS-100, with videos, and stores of random features under
the names and widths of the published ones; sizes of the networks are overridden, everything else is the recipe's.
"""

from pathlib import Path

import pytest
from tiny_recipes import WIDTHS, TinyRuns, configs, head_of, write_features

from sgear.datasets import stated_lengths
from sgear.kitchen import KitchenConfig, build_kitchen

STORED_SALADS = (
    *("salads50/spatialcnn", "salads50/accelerometer", "salads50/fused", "salads50/ablation"),
    *("salads50/last_recognised", "salads50/pooled", "salads50/history"),
)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("recipes")
    small = KitchenConfig(
        num_train_videos=2,
        num_validation_videos=1,
        num_unseen_participants=0,
        actions_per_video=12,
        height=64,
        width=64,
    )
    build_kitchen(root / "kitchen", small, num_processes=1)
    for name, width in WIDTHS.items():
        write_features(root / "kitchen" / "features" / name, stated_lengths("kitchen", root / "kitchen"), width=width)
    return root / "kitchen"


@pytest.fixture(scope="module")
def runs(kitchen: Path) -> TinyRuns:
    def settings(name: str) -> list[str]:
        overrides = ["dataset.name=kitchen", f"dataset.root={kitchen}"]
        if configs()[name].dataset.split != 1:
            overrides.append("dataset.split=1")
        if name.startswith(STORED_SALADS):
            # The recogniser and class confusion want features in memory: the kitchen's own.
            overrides += ["source.features=oracle", "model.encoder.feature_dim=64"]
        return overrides

    return TinyRuns(kitchen.parent, settings)


@pytest.mark.parametrize("name", configs())
def test_a_recipe_trains_and_is_evaluated(name: str, runs: TinyRuns):
    report = runs.report(name)
    assert report["num_evaluated"] == report["num_asked"] > 0
    assert 0 <= report["scores"]["overall"]["action"]["recall5"] <= 1


@pytest.mark.parametrize("name", [name for name in configs() if not name.startswith(("kitchen/", *STORED_SALADS))])
def test_a_recipe_says_what_was_published_its_command_its_needs_and_its_deviations(name: str):
    head = head_of(name)
    words = ["Published:", "Needs:", f"experiment={name}"] + ([] if name.startswith("own/") else ["Deviations:"])
    for word in words:
        assert word in head, word
