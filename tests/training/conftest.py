from pathlib import Path

import pytest

from sgear.kitchen import KitchenConfig, build_kitchen


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory) -> Path:
    """A kitchen without videos: 60 training clips, which are 3 batches of 16 and one of 12."""
    config = KitchenConfig(
        num_train_videos=5, num_validation_videos=2, num_participants=3, num_unseen_participants=1, actions_per_video=12
    )
    root = tmp_path_factory.mktemp("training") / "kitchen"
    build_kitchen(root, config, num_processes=1, with_videos=False)
    return root


@pytest.fixture(scope="module")
def root(kitchen: Path, tmp_path_factory) -> Path:
    """A folder for the runs of a file, with the kitchen in it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "kitchen").symlink_to(kitchen)
    return folder
