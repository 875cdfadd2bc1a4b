"""What is tortured: a small kitchen with what was made of it, and the commands that work on it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from forked import finish, start

from sgear.datasets import load_dataset
from sgear.features import FeatureStoreWriter, Provenance
from sgear.kitchen import KitchenConfig, build_kitchen

TIMEOUT_S = 600.0
KITCHEN = KitchenConfig(
    num_train_videos=4,
    num_validation_videos=3,
    num_unseen_participants=0,
    actions_per_video=6,
    height=48,
    width=48,
    fps=10,
)
SMALL = (
    *("runtime.device=cpu", "optim.epochs=12", "optim.batch_size=4", "runtime.checkpoint_every=2"),
    *("protocol.tau_o_s=3.0", "protocol.fps=2.0", "model.width=32"),
    *("model.decoder.width=32", "model.decoder.num_layers=1", "model.decoder.num_heads=2", "optim.warmup_epochs=0"),
    *("init.run=", "init.blocks=[]", "optim.ema_decay=0.9", "optim.accumulate=2", "runtime.evaluate_every=4"),
)
ENCODER = (
    *("model.encoder.image_height=32", "model.encoder.image_width=32", "model.encoder.embed_dim=32"),
    *("model.encoder.depth=1", "model.encoder.num_heads=2", "model.encoder.patch_size=16"),
)
FROM_VIDEOS = ("experiment=kitchen/avt", *ENCODER, "source.reading=videos")
# They name the folder of the run, and the time and how it was begun.
_VARYING = re.compile(r"run/(config\.yaml|run\.json|tensorboard/.*)")


class TortureError(AssertionError):
    """Something did not end as it should."""


def hold(is_true: object, text: str) -> None:
    """Raise if something is not so."""
    if not is_true:
        raise TortureError(text)


def done(process: BaseProcess, log: Path) -> None:
    """Wait for the end of a command, which is to be a good one."""
    code = finish(process, timeout_s=TIMEOUT_S)
    hold(code == 0, f"ended with {code}:\n{log.read_text()[-3000:]}")


@dataclass(frozen=True)
class World:
    """What all parts work on: a kitchen with videos, a recognition run, and a store of its features."""

    root: Path

    @property
    def kitchen(self) -> Path:
        return self.root / "kitchen"

    @property
    def videos(self) -> Path:
        return self.kitchen / "videos"

    @property
    def recognition(self) -> Path:
        return self.root / "recognition"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @classmethod
    def build(cls, root: Path) -> World:
        """Make it, in a few seconds."""
        world = cls(root)
        build_kitchen(world.kitchen, KITCHEN, num_processes=1)
        log = root / "log.txt"
        words = ["train", "experiment=kitchen/recognition", "name=recognition", f"output_root={root}"]
        words += [f"dataset.root={world.kitchen}", "source.reading=videos", "model.width=32", "runtime.device=cpu"]
        done(start([*words, "optim.epochs=2", "optim.batch_size=8", *ENCODER], log), log)
        done(start(extraction(world, world.store), log), log)
        return world


@dataclass(frozen=True)
class Job:
    """A command that is killed and begun again.

    Args:
        name: In the table and for `--only`.
        words: The command that writes to a folder, given the folder.
    """

    name: str
    words: Callable[[Path], Sequence[object]]


def jobs(world: World) -> list[Job]:
    """Return all that is killed."""
    workers = "runtime.num_workers=2"
    return [
        Job("training-from-videos", lambda out: training(world, out, *FROM_VIDEOS)),
        Job("training-with-loader-processes", lambda out: training(world, out, *FROM_VIDEOS, workers)),
        Job("training-from-a-store", lambda out: training(world, out, *from_store(world))),
        Job("extraction", lambda out: extraction(world, out)),
        Job("transcoding", lambda out: transcoding(world, out)),
        Job("prototypes", lambda out: ["prototypes", "visual", world.recognition, "--out", out / "visual.safetensors"]),
    ]


def training(world: World, out: Path, *overrides: str) -> list[str]:
    """Return the words of a run in a folder, which goes on from its last checkpoint, if there is any."""
    words = ["train", f"dataset.root={world.kitchen}", f"output_root={out}", "name=run", *SMALL, *overrides]
    return [*words, "runtime.resume=true"] if checkpoints(out) else words


def checkpoints(out: Path) -> list[Path]:
    """Return the whole checkpoints of the run in a folder."""
    return [path.parent for path in out.glob("run/checkpoints/step-*/manifest.json") if path.parent.suffix != ".part"]


def from_store(world: World, width: int = 32) -> list[str]:
    features = [f"source.features={world.store}", f"model.encoder.feature_dim={width}"]
    return ["experiment=own/avt_features", "dataset.name=kitchen", *features]


def extraction(world: World, out: Path) -> list[object]:
    words = ["features", "extract", world.videos, "--encoder", world.recognition, "--fps", 4, "--batch-size", 8]
    return [*words, "--out", out]


def transcoding(world: World, out: Path) -> list[object]:
    return ["data", "transcode", world.videos, "--short-side", 32, "--workers", 1, "--out", out]


def result(out: Path) -> dict[str, object]:
    """Return what a command left by relative name; without content where that may differ between two runs."""
    names = (str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return {
        re.sub(r"(tensorboard)/.*", r"\1", name): None if _VARYING.fullmatch(name) else _content(out / name)
        for name in names
    }


def _content(path: Path) -> object:
    """Return what a file holds; of tensor files without the order of their metadata, and what says how they came."""
    content = path.read_bytes()
    if path.suffix != ".safetensors":
        return content
    length = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:length])
    header.get("__metadata__", {}).pop("provenance", None)
    return header, content[length:]


def half_written(out: Path) -> bool:
    """Return whether a file or checkpoint is being written at this moment, or was left so."""
    return any(path.suffix in (".part", ".partial") for path in out.rglob("*"))


def write_random_store(kitchen: Path, folder: Path) -> None:
    """Write features of random numbers for all videos of a kitchen."""
    benchmark = load_dataset("kitchen", kitchen)
    origin = Provenance(encoder="random", weights="none", preprocessing="none", fps=4.0)
    writer = FeatureStoreWriter(folder, origin, width=16)
    rng = np.random.default_rng(0)
    for segments in (benchmark.train, benchmark.validation):
        for video_id in segments.video_ids:
            times_s = np.arange(0.0, segments.of_video(video_id).column("stop_s").max(), 0.25)
            writer.write(video_id, times_s, rng.standard_normal((len(times_s), 16), dtype=np.float32))
    writer.finish()


def num_epochs(metrics: Path) -> int:
    """Return how many evaluations a run has logged."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    # The last line may be half-written.
    return sum(json.loads(line)["kind"] == "validation" for line in lines if line.endswith("}"))
