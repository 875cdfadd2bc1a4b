"""Recipes at tiny size: what makes their networks small, and runs of them in the order they depend on."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.build import load_benchmark
from sgear.experiment.recipes import command_for
from sgear.experiment.schema import ExperimentConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.features import FeatureStoreWriter, Provenance
from sgear.models import Baseline, model_class
from sgear.prototypes import LanguagePrototypes, encode_taxonomy
from sgear.taxonomy import Taxonomy
from sgear.training.run import RunDirectory, read_json

WIDTHS = {"rgb": 1024, "flow": 1024, "obj": 352, "igm": 2048, "vit": 384}
"""Width of the published features, by name."""
FAMILIES = ("epic100", "epic55", "egtea", "salads50", "own", "kitchen")
_DECODER = ["model.decoder.width=32", "model.decoder.num_layers=1", "model.decoder.num_heads=2"]
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
    """All recipes and ablations, or those of some data sets; first what others start from."""
    names = [name for name in list_experiments() if name.split("/")[0] in (families or FAMILIES)]
    found = {name: compose_experiment([f"experiment={name}"]) for name in names}
    file_of_run = {config.name: name for name, config in found.items()}

    def depth(name: str) -> int:
        init = found[name].init
        return max([depth(file_of_run[Path(run).name]) + 1 for run in (init.run, *init.branches) if run], default=0)

    return {name: found[name] for name in sorted(names, key=lambda name: (depth(name), name))}


def head_of(name: str) -> str:
    """What the file of an experiment says before its settings."""
    text = (resources.files("sgear.experiment.conf") / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    return text[: text.index("\nname:") if "\nname:" in text else None]


def recipe_of_run(run: str) -> str:
    return next(name for name, config in configs().items() if config.name == Path(run).name)


def shrunk(name: str) -> list[str]:
    """What makes the network of a recipe tiny and its training one epoch; everything else is the recipe's."""
    config = configs()[name]
    overrides = ["optim.batch_size=32", "runtime.device=cpu", "runtime.num_workers=0"]
    if issubclass(model_class(config.model.name), Baseline):
        return overrides
    overrides += ["optim.epochs=1", "optim.warmup_epochs=0"]
    if config.model.name == "rulstm":
        return [*overrides, "model.rulstm.hidden_dim=16"]
    # Without a map the width is that of the features.
    overrides += _DECODER if not config.model.encoder.map else ["model.width=32", *_DECODER]
    if config.model.name == "sgear" and config.model.prototype_attention.enabled:
        overrides.append("model.prototype_attention.num_heads=2")
    return overrides + (_VIT if config.source.kind == "video" else [])


@dataclass(frozen=True)
class TinyRuns:
    """Runs of recipes in one folder, each trained once, after what its head says that it needs.

    `settings` gives the overrides of a recipe beside `shrunk`; `embed` makes language prototypes.
    """

    out: Path
    settings: Callable[[str], list[str]]
    embed: Callable[[Taxonomy], LanguagePrototypes] = encode_taxonomy

    def config(self, name: str, *changes: str) -> ExperimentConfig:
        overrides = [*shrunk(name), *self.settings(name), f"output_root={self.out}", *changes]
        return compose_experiment([f"experiment={name}", *overrides])

    def run(self, name: str) -> RunDirectory:
        """Train a recipe, or take the finished run."""
        config = self.config(name)
        run = RunDirectory(self.out / config.name)
        if not run.path.is_dir():
            self._prepare(config)
            train_run(config)
        return run

    def report(self, name: str) -> dict:
        return read_json(self.run(name).report)

    def _prepare(self, config: ExperimentConfig) -> None:
        init = config.init
        for run in (init.run, *init.branches):
            if run:
                self.run(recipe_of_run(run))
        language, visual = Path(init.language_prototypes), Path(init.visual_prototypes)
        if init.language_prototypes and not language.is_file():
            self.embed(load_benchmark(config.dataset).taxonomy).save(language)
        if init.visual_prototypes and not visual.is_file():
            # Those of the run to start from, or of the one that the head of the recipe names.
            named = re.search(r"prototypes visual (\S+)", command_for(visual) or "")
            recognition = init.run or (named[1] if named else "")
            visual_prototypes(self.run(recipe_of_run(recognition)).path, visual)


def write_features(folder: Path, lengths_s: Mapping[str, float], *, width: int, fps: float = 4.0) -> None:
    """Write a store of random features of videos as long as given."""
    made_by = Provenance(encoder="random", weights="", preprocessing="none", fps=fps)
    writer, rng = FeatureStoreWriter(folder, made_by, width=width), np.random.default_rng(0)
    for video_id, length_s in lengths_s.items():
        times_s = np.arange(0.0, length_s, 1 / fps)
        writer.write(video_id, times_s, rng.standard_normal((len(times_s), width)).astype(np.float32))
    writer.finish()


def write_seconds(folder: Path, lengths_s: Mapping[str, int]) -> None:
    """Write videos of one image a second, each as grey as half its second: what is read says when it was shown."""
    for video_id, length_s in lengths_s.items():
        (folder / video_id).mkdir(parents=True)
        for second in range(length_s):
            Image.new("L", (40, 32), second // 2).save(folder / video_id / f"frame_{second:06d}.png")
