"""Small data sets, and recipes at tiny size: what makes their networks small, and runs in the order they depend on.

On real annotations, features and videos are generated under the real names. The annotations are read by the ordinary
loader and cut to these videos, with the whole vocabulary.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib import resources
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from sgear.data import AnticipationDataset
from sgear.datasets import Benchmark, load_dataset
from sgear.datasets.own import import_own
from sgear.experiment import compose_experiment, list_experiments
from sgear.experiment.build import build_data, load_benchmark
from sgear.experiment.leakage import require_unseen, training_part
from sgear.experiment.recipes import command_for, recipe_of_run
from sgear.experiment.schema import DatasetConfig, ExperimentConfig, InitConfig
from sgear.experiment.train import train_run, visual_prototypes
from sgear.features import FeatureStoreWriter, Provenance
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.lineage import Lineage
from sgear.models import Baseline, model_class
from sgear.prototypes import LanguagePrototypes, class_means, encode_taxonomy
from sgear.taxonomy import Taxonomy
from sgear.training.run import RunDirectory, read_json

WIDTHS = {"rgb": 1024, "flow": 1024, "obj": 352, "igm": 2048, "vit": 384}
"""Width of the published features, by name."""
MINUTE_S = 60.0
"""Features say when they were seen in minutes, so that the time is no larger than the other numbers."""
FAMILIES = ("epic100", "epic55", "egtea", "salads50", "own", "kitchen")
_FRAMES_PER_S = 2
_DECODER = ["model.decoder.width=32", "model.decoder.num_layers=1", "model.decoder.num_heads=2"]
_VIT = [
    *("model.encoder.name=vit_tiny_patch16_224", "model.encoder.pretrained=false", "model.encoder.embed_dim=32"),
    *("model.encoder.image_height=32", "model.encoder.image_width=32"),
    *("model.encoder.depth=1", "model.encoder.num_heads=2"),
]


def recipes(*families: str) -> list[str]:
    """All recipes and ablations, or those of some data sets."""
    return [name for name in list_experiments() if name.split("/")[0] in (families or FAMILIES)]


@cache
def recipe(name: str) -> ExperimentConfig:
    return compose_experiment([f"experiment={name}"])


def head_of(name: str) -> str:
    """What the file of an experiment says before its settings."""
    text = (resources.files("sgear.experiment.conf") / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    return text[: text.index("\nname:") if "\nname:" in text else None]


def shrunk(name: str) -> list[str]:
    """What makes the network of a recipe tiny and its training one epoch; everything else is the recipe's."""
    config = recipe(name)
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

    def _train(self, run: str) -> RunDirectory:
        """Train the recipe of a run."""
        name = recipe_of_run(Path(run).name)
        assert name is not None
        return self.run(name)

    def _prepare(self, config: ExperimentConfig) -> None:
        init = config.init
        for run in (init.run, *init.branches):
            if run:
                self._train(run)
        language, visual = Path(init.language_prototypes), Path(init.visual_prototypes)
        if init.language_prototypes and not language.is_file():
            self.embed(load_benchmark(config.dataset).taxonomy).save(language)
        if init.visual_prototypes and not visual.is_file():
            # Those of the run to start from, or of the one that the head of the recipe names.
            named = re.search(r"prototypes visual (\S+)", command_for(visual) or "")
            recognition = init.run or (named[1] if named else "")
            visual_prototypes(self._train(recognition).path, visual)


def small_kitchen(root: Path, *, with_videos: bool = True, **changes) -> Path:
    """Build a kitchen of three short videos of 64 x 64 pixels."""
    usual = {"num_train_videos": 2, "num_validation_videos": 1, "num_unseen_participants": 0, "actions_per_video": 4}
    config = KitchenConfig(**{**usual, "height": 64, "width": 64, **changes})
    build_kitchen(root, config, num_processes=1, with_videos=with_videos)
    return root


def own_data(folder: Path, rows: Iterable[tuple]) -> DatasetConfig:
    """Import own data from rows of video, split, start, stop and label, or from rows without a split."""
    lines = [",".join(map(str, row)) for row in rows]
    split = "split," if lines[0].count(",") == 4 else ""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.csv").write_text("\n".join([f"video,{split}start,stop,label", *lines]) + "\n")
    assert import_own(folder / "own.csv", folder / "data").is_accepted
    return DatasetConfig(name="csv", root=str(folder / "data"))


def learnt_from(
    dataset: DatasetConfig, out: Path, contents: Mapping[str, Sequence[str]] | None = None, *, width: int = 4
) -> str:
    """Write visual prototypes that say that they were learnt from the training segments of a data set."""
    benchmark = load_benchmark(dataset)
    number = benchmark.taxonomy.num_actions
    lineage = Lineage(parts=(training_part(dataset, benchmark.train, contents),))
    class_means(torch.ones(number, width), torch.arange(number), benchmark.taxonomy, run="r", lineage=lineage).save(out)
    return str(out)


def notes_of(dataset: DatasetConfig, contents: Mapping[str, Sequence[str]] | None = None, **init) -> list[str]:
    """What the guard says of a start of a run on a data set."""
    config = ExperimentConfig(dataset=dataset, init=InitConfig(**init))
    return require_unseen(config, load_benchmark(dataset), contents=contents)


def write_features(folder: Path, lengths_s: Mapping[str, float], *, width: int) -> None:
    """Write a store of random features, four rows a second, of videos as long as given; column 0 is their minute."""
    made_by = Provenance(encoder="random", weights="", preprocessing="none", fps=4.0)
    writer, rng = FeatureStoreWriter(folder, made_by, width=width), np.random.default_rng(width)
    for video_id, length_s in lengths_s.items():
        times_s = np.arange(0.0, length_s, 0.25)
        rows = rng.standard_normal((len(times_s), width), dtype=np.float32)
        rows[:, 0] = times_s / MINUTE_S
        writer.write(video_id, times_s, rows)
    writer.finish()


def write_seconds(folder: Path, lengths_s: Mapping[str, int]) -> None:
    """Write videos of one image a second, each as grey as half its second: what is read says when it was shown."""
    for video_id, length_s in lengths_s.items():
        (folder / video_id).mkdir(parents=True)
        for second in range(length_s):
            Image.new("L", (40, 32), second // 2).save(folder / video_id / f"frame_{second:06d}.png")


LIKE_OTHERS = re.compile(r".*(flow|obj|igm).*|.*/rulstm")
"""Recipes that differ from others in their features alone."""


def recipes_on_kitchen() -> list[object]:
    """Return all recipes as parameters of a test on the kitchen; those that train on their own annotations are slow."""
    own = tuple(f"{family}/" for family in ("epic100", "epic55", "egtea"))
    is_trained = {name: name.startswith(own) and not LIKE_OTHERS.fullmatch(name) for name in recipes()}
    return [pytest.param(name, marks=[pytest.mark.slow] if slow else []) for name, slow in is_trained.items()]


def recipes_of(*families: str) -> list[object]:
    """Return data set and recipe as parameters of a test; recipes that differ in their features alone are slow."""
    names = recipes(*families)
    marks = {name: [pytest.mark.slow] if LIKE_OTHERS.fullmatch(name) else [] for name in names}
    return [pytest.param(name.partition("/")[0], name, marks=marks[name], id=name) for name in names]


@contextmanager
def recipes_on(
    name: str, videos: Mapping[str, float], *, annotations: Path, out: Path, folder: str
) -> Iterator[tuple[TinyRuns, Benchmark]]:
    """Give runs of the recipes of a data set on some of its videos of a length in s, and what is annotated there.

    The real annotations are read; features, videos (in `folder` of SGEAR_DATA) and runs go to `out`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGEAR_DATA", str(annotations))
        benchmark = _cut(load_dataset(name), list(videos))
        patch.setenv("SGEAR_DATA", str(out))
        # What a run notes of its data, such as the digests of the annotation files, is read from the real ones.
        for place in ("epic-kitchens-100-annotations", "epic-kitchens-55-annotations", "rulstm"):
            (out / place).symlink_to(annotations / place)

        def load(chosen: str, *args, **settings) -> Benchmark:
            return benchmark if chosen == name else load_dataset(chosen, *args, **settings)

        patch.setattr("sgear.experiment.build.load_dataset", load)
        for feature, width in WIDTHS.items():
            write_features(out / name / "features" / feature, videos, width=width)
        for video_id, length_s in videos.items():
            _write_video(out / "videos" / folder / video_id.partition("_")[0] / f"{video_id}.MP4", length_s)
        yield TinyRuns(out / "runs", lambda recipe: [], _random_language), benchmark


def seen_after_limit_s(config: ExperimentConfig) -> float:
    """Return how many seconds after the last allowed instant any step of a recipe on stored features was seen."""
    data, latest_s = build_data(config), -np.inf
    for samples in (data.train, *data.asked.views):
        assert isinstance(samples, AnticipationDataset)
        for segment, sample in zip(samples.segments, samples, strict=True):
            seen_s = sample["clip"][sample["mask"]][:, 0].numpy() * MINUTE_S
            latest_s = max(latest_s, float(seen_s.max()) - (segment.start_s - samples.protocol.tau_a_s))
    return latest_s


def _cut(benchmark: Benchmark, video_ids: list[str]) -> Benchmark:
    in_videos = pl.col("video_id").is_in(video_ids)
    return replace(
        benchmark,
        train=benchmark.train.filter(in_videos),
        validation=benchmark.validation.filter(in_videos),
        tests={part: table.filter(in_videos) for part, table in benchmark.tests.items()},
    )


def _write_video(path: Path, length_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    with av.open(path, "w") as video:
        stream = video.add_stream("libx264", rate=_FRAMES_PER_S, options={"preset": "ultrafast", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = 36, 64, "yuv420p"
        for number in range(int(length_s * _FRAMES_PER_S) + 1):
            frame = av.VideoFrame.from_ndarray(np.roll(shades, number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FRAMES_PER_S)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))


def _random_language(taxonomy: Taxonomy) -> LanguagePrototypes:
    """Stand in for sentence embeddings of thousands of names, which take longer than all runs."""
    vectors = torch.randn(taxonomy.num_actions, 384, generator=torch.Generator().manual_seed(0))
    texts = tuple(map(str, range(taxonomy.num_actions)))
    return LanguagePrototypes(vectors=vectors, texts=texts, encoder="random", taxonomy=taxonomy)
