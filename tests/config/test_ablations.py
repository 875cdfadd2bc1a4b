"""Every ablation of the kitchen can be started from the kitchen's recognition run and prototypes."""

from pathlib import Path

import pytest

from sgear.config import compose_experiment, list_experiments
from sgear.config.build import build_data, load_benchmark
from sgear.config.network import build_network
from sgear.datasets.kitchen import KitchenConfig
from sgear.datasets.kitchen.build import build_kitchen
from sgear.pipeline import train_run, visual_prototypes
from sgear.prototypes import encode_taxonomy

ABLATIONS = [name for name in list_experiments() if name.startswith("kitchen/ablation/")]
TINY = [
    "model.width=32",
    "model.decoder.width=32",
    "model.decoder.num_heads=2",
    "model.encoder.embed_dim=32",
    "model.encoder.depth=1",
    "model.encoder.num_heads=2",
    "optim.epochs=1",
    "optim.warmup_epochs=0",
    "runtime.device=cpu",
    "runtime.num_workers=0",
]


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ablations")
    small = KitchenConfig(
        num_train_videos=2,
        num_validation_videos=1,
        num_unseen_participants=0,
        actions_per_video=8,
        height=96,
        width=144,
    )
    build_kitchen(root / "kitchen", small, num_processes=1)
    config = compose(root / "kitchen", "kitchen/recognition")
    encode_taxonomy(load_benchmark(config.dataset).taxonomy).save(root / "kitchen-language.safetensors")
    train_run(config)
    visual_prototypes(root / "kitchen-recognition", root / "kitchen-visual.safetensors")
    return root / "kitchen"


def compose(kitchen: Path, name: str):
    return compose_experiment(
        [f"experiment={name}", f"dataset.root={kitchen}", f"output_root={kitchen.parent}", *TINY],
    )


def test_there_are_ablations():
    assert len(ABLATIONS) >= 9


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_starts_from_the_recognition_run(name: str, kitchen: Path):
    config = compose(kitchen, name)
    _, notes = build_network(config, build_data(config))
    assert any("encoder" in note for note in notes)
