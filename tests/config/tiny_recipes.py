"""Recipes at tiny size: sizes of networks are overridden, everything else is the recipe's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from sgear.config import compose_experiment, list_experiments
from sgear.config.build import load_benchmark
from sgear.config.schema import ExperimentConfig
from sgear.features import FeatureStoreWriter, Provenance
from sgear.models.counted import COUNTED_MODELS
from sgear.pipeline import train_run, visual_prototypes
from sgear.prototypes import encode_taxonomy
from sgear.training.run import read_json

DataSettings = Callable[[str], list[str]]
"""Recipe -> the settings that point it to its data and its folder of runs."""

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
def configs(*families: str) -> dict[str, ExperimentConfig]:
    """All recipes and ablations of some data sets; first what others start from."""
    names = [name for name in list_experiments() if name.split("/")[0] in families]
    found = {name: compose_experiment([f"experiment={name}"]) for name in names}
    file_of_run = {config.name: name for name, config in found.items()}

    def depth(name: str) -> int:
        init = found[name].init
        return max([depth(file_of_run[Path(run).name]) + 1 for run in (init.run, *init.branches) if run], default=0)

    return {name: found[name] for name in sorted(names, key=lambda name: (depth(name), name))}


def tiny_settings(name: str) -> list[str]:
    """Return the settings that make a recipe small enough for one core."""
    config = compose_experiment([f"experiment={name}"])
    overrides = ["optim.batch_size=32", "runtime.device=cpu", "runtime.num_workers=0"]
    if config.model.name not in COUNTED_MODELS:
        overrides += ["optim.epochs=1", "optim.warmup_epochs=0"]
    if config.model.name == "rulstm":
        overrides.append("model.rulstm.hidden_dim=16")
    elif config.model.name not in COUNTED_MODELS:
        overrides += _TRANSFORMER
    if config.model.name == "sgear" and config.model.prototype_attention.enabled:
        overrides.append("model.prototype_attention.num_heads=2")
    return overrides + (_VIT if config.source.kind == "video" else [])


def compose_tiny(name: str, data: DataSettings) -> ExperimentConfig:
    """Return a recipe at tiny size on the data that `data` names."""
    return compose_experiment([f"experiment={name}", *tiny_settings(name), *data(name)])


def train(name: str, data: DataSettings) -> dict:
    """Train a recipe, after all that it starts from, and return its report; a run that is there is not made again."""
    config = compose_tiny(name, data)
    run = Path(config.output_root) / config.name
    if not run.is_dir():
        _prepare(config, name.split("/")[0], data)
        train_run(config)
    return read_json(run / "report.json")


def _prepare(config: ExperimentConfig, family: str, data: DataSettings) -> None:
    """Make what a recipe needs by the commands that its head names."""
    for run in (config.init.run, *config.init.branches):
        if run and not (Path(run) / "model").is_dir():
            names = {found.name: name for name, found in configs(family).items()}
            train(names[Path(run).name], data)
    language, visual = config.init.language_prototypes, config.init.visual_prototypes
    if language and not Path(language).is_file():
        encode_taxonomy(load_benchmark(config.dataset).taxonomy).save(Path(language))
    if visual and not Path(visual).is_file():
        visual_prototypes(Path(config.init.run), Path(visual))


def write_features(folder: Path, video_ids: Iterable[str], *, width: int, stop_s: float, fps: float = 4.0) -> None:
    """Write a store of random features."""
    made_by = Provenance(encoder="random", weights="", preprocessing="none", fps=fps)
    writer, rng = FeatureStoreWriter(folder, made_by, width=width), np.random.default_rng(0)
    times_s = np.arange(0.0, stop_s, 1 / fps)
    for video_id in video_ids:
        writer.write(video_id, times_s, rng.standard_normal((len(times_s), width)).astype(np.float32))
    writer.finish()


def write_seconds(folder: Path, lengths_s: Mapping[str, int]) -> None:
    """Write videos of one picture a second, each as grey as half its second: what is read says when it was shown."""
    for video_id, length_s in lengths_s.items():
        (folder / video_id).mkdir(parents=True)
        for second in range(length_s):
            Image.new("L", (40, 32), second // 2).save(folder / video_id / f"frame_{second:06d}.png")
