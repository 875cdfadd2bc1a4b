"""Every recipe is built, trained for a step or two and evaluated, at tiny size, in the order they depend on.

The data are a small kitchen in the csv layout of EPIC-KITCHENS-100, with films, and stores of random features under
the names and widths of the published ones; sizes of the networks are overridden, everything else is the recipe's.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sgear.config import compose_experiment, list_experiments
from sgear.config.build import load_benchmark
from sgear.config.schema import ExperimentConfig
from sgear.datasets.kitchen import KitchenConfig
from sgear.datasets.kitchen.build import build_kitchen
from sgear.datasets.registry import stated_lengths
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.models.counted import COUNTED_MODELS
from sgear.pipeline import train_run, visual_prototypes
from sgear.prototypes import encode_taxonomy
from sgear.training.run import read_json

WIDTHS = {"rgb": 1024, "flow": 1024, "obj": 352, "igm": 2048, "vit": 384}
FAMILIES = ("epic100", "epic55", "egtea", "salads50", "own", "kitchen")
STORED_SALADS = ("salads50/spatialcnn", "salads50/accelerometer", "salads50/fused", "salads50/ablation")
_TRANSFORMER = [
    "model.width=32",
    "model.decoder.width=32",
    "model.decoder.num_layers=1",
    "model.decoder.num_heads=2",
]
_VIT = [
    "model.encoder.name=vit_tiny_patch16_224",
    "model.encoder.pretrained=false",
    "model.encoder.image_height=32",
    "model.encoder.image_width=32",
    "model.encoder.embed_dim=32",
    "model.encoder.depth=1",
    "model.encoder.num_heads=2",
]


@cache
def configs() -> dict[str, ExperimentConfig]:
    """All recipes and ablations; first what others start from."""
    names = [name for name in list_experiments() if name.split("/")[0] in FAMILIES]
    found = {name: compose_experiment([f"experiment={name}"]) for name in names}
    file_of_run = {config.name: name for name, config in found.items()}

    def depth(name: str) -> int:
        init = found[name].init
        return max([depth(file_of_run[Path(run).name]) + 1 for run in (init.run, *init.branches) if run], default=0)

    return {name: found[name] for name in sorted(names, key=lambda name: (depth(name), name))}


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
    rng = np.random.default_rng(0)
    lengths_s = stated_lengths("kitchen", root / "kitchen")
    for name, width in WIDTHS.items():
        writer = FeatureStoreWriter(
            root / "kitchen" / "features" / name,
            Provenance(encoder="random", weights="", preprocessing="none", fps=4.0),
            width=width,
        )
        for path in sorted((root / "kitchen" / "videos").rglob("*.mp4")):
            times_s = np.arange(0.0, lengths_s[path.stem], 0.25)
            writer.write(path.stem, times_s, rng.standard_normal((len(times_s), width)).astype(np.float32))
        writer.finish()
    return root / "kitchen"


def tiny(name: str, kitchen: Path) -> ExperimentConfig:
    config = configs()[name]
    overrides = [
        "dataset.name=kitchen",
        f"dataset.root={kitchen}",
        f"output_root={kitchen.parent}",
        "optim.batch_size=32",
        "runtime.device=cpu",
        "runtime.num_workers=0",
    ]
    if config.model.name not in COUNTED_MODELS:
        overrides += ["optim.epochs=1", "optim.warmup_epochs=0"]
    if config.dataset.split != 1:
        overrides.append("dataset.split=1")
    if config.model.name == "rulstm":
        overrides.append("model.rulstm.hidden_dim=16")
    elif config.model.name not in COUNTED_MODELS:
        overrides += _TRANSFORMER
    if config.model.name == "sgear" and config.model.prototype_attention.enabled:
        overrides.append("model.prototype_attention.num_heads=2")
    if config.source.kind == "video":
        overrides += _VIT
    if name.startswith(STORED_SALADS):
        # The recogniser and class confusion want features in memory: the kitchen's own.
        overrides += ["source.features=oracle", "model.encoder.feature_dim=64"]
    return compose_experiment([f"experiment={name}", *overrides])


def prepare(config: ExperimentConfig) -> None:
    """Make what a recipe needs by the commands that its head names."""
    for run in (config.init.run, *config.init.branches):
        if run and not (Path(run) / "model").is_dir():
            names = {found.name: name for name, found in configs().items()}
            train(names[Path(run).name], Path(config.dataset.root))
    language, visual = config.init.language_prototypes, config.init.visual_prototypes
    if language and not Path(language).is_file():
        encode_taxonomy(load_benchmark(config.dataset).taxonomy).save(Path(language))
    if visual and not Path(visual).is_file():
        visual_prototypes(Path(config.init.run), Path(visual))


def train(name: str, kitchen: Path) -> dict:
    config = tiny(name, kitchen)
    run = Path(config.output_root) / config.name
    if not run.is_dir():
        prepare(config)
        train_run(config)
    return read_json(run / "report.json")


@pytest.mark.parametrize("name", configs())
def test_a_recipe_trains_and_is_evaluated(name: str, kitchen: Path):
    report = train(name, kitchen)
    assert report["num_evaluated"] == report["num_asked"] > 0
    assert 0 <= report["scores"]["overall"]["action"]["recall5"] <= 1


@pytest.mark.parametrize("name", [name for name in configs() if not name.startswith(("kitchen/", *STORED_SALADS))])
def test_a_recipe_says_what_was_published_its_command_its_needs_and_its_deviations(name: str):
    from importlib import resources

    text = (resources.files("sgear.config.conf") / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    head = text[: text.index("\nname:") if "\nname:" in text else None]
    words = ["Published:", "Needs:", f"experiment={name}"] + ([] if name.startswith("own/") else ["Deviations:"])
    for word in words:
        assert word in head, word
