"""Kill, stop, replace and wear out what the commands work on, and compare what they end with.

    make torture            50 kills and everything else, about 20 minutes on 2 cores
    python tests/torture/torture.py --kills 10 --seed 1

Moments are drawn from a seed that is printed. Prints a table; the exit code is 1 where a row of it failed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from forked import finish, start

from sgear.datasets import load_dataset
from sgear.features.store_index import Provenance
from sgear.features.store_writer import FeatureStoreWriter
from sgear.kitchen import KitchenConfig, build_kitchen
from sgear.training.checkpoints import list_checkpoints

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
PLACE = ("runtime.device=cpu", "optim.epochs=12", "optim.batch_size=4", "runtime.checkpoint_every=2")
SMALL = (
    *PLACE,
    *("protocol.tau_o_s=3.0", "protocol.fps=2.0", "model.width=32"),
    *("model.decoder.width=32", "model.decoder.num_layers=1", "model.decoder.num_heads=2", "optim.warmup_epochs=0"),
    *("init.run=", "init.blocks=[]", "optim.ema_decay=0.9", "optim.accumulate=2", "runtime.evaluate_every=4"),
)
ENCODER = (
    *("model.encoder.image_height=32", "model.encoder.image_width=32", "model.encoder.embed_dim=32"),
    *("model.encoder.depth=1", "model.encoder.num_heads=2", "model.encoder.patch_size=16"),
)


class TortureError(AssertionError):
    """Something did not end as it should."""


def hold(is_true: object, text: str) -> None:
    """Raise if something is not so."""
    if not is_true:
        raise TortureError(text)


@dataclass(frozen=True)
class World:
    """What all scenarios work on: a kitchen with videos, a recognition run, and a store of its features."""

    root: Path

    @property
    def kitchen(self) -> Path:
        return self.root / "kitchen"

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
        words += [f"dataset.root={world.kitchen}", "source.reading=films", "model.width=32", "runtime.device=cpu"]
        done(start([*words, "optim.epochs=2", "optim.batch_size=8", *ENCODER], log), log)
        done(start(extraction(world, world.store), log), log)
        return world


@dataclass(frozen=True)
class Job:
    """A command that is killed and begun again.

    Args:
        name: In the table.
        words: The command that writes to a folder, given the folder.
        result: What it ends with, by name, given the folder.
    """

    name: str
    words: Callable[[Path], Sequence[object]]
    result: Callable[[Path], dict[str, bytes]]


def training(world: World, out: Path, *overrides: str) -> list[str]:
    words = ["train", f"dataset.root={world.kitchen}", f"output_root={out}", "name=run", *SMALL, *overrides]
    return [*words, "runtime.resume=true"] if list_checkpoints(out / "run" / "checkpoints") else words


def from_store(world: World, width: int = 32) -> list[str]:
    features = [f"source.features={world.store}", f"model.encoder.feature_dim={width}"]
    return ["experiment=own/avt_features", "dataset.name=kitchen", *features]


def extraction(world: World, out: Path) -> list[object]:
    videos = world.kitchen / "videos"
    return ["features", "extract", videos, "--encoder", world.recognition, "--fps", 4, "--batch-size", 8, "--out", out]


def files_of(folder: Path, *endings: str) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.suffix in endings and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run_files(out: Path) -> dict[str, bytes]:
    names = ("model/weights.safetensors", "model/model.json", "metrics.jsonl", "report.json")
    return {name: (out / "run" / name).read_bytes() for name in names}


def jobs(world: World) -> list[Job]:
    """Return all that is killed."""
    films = ("experiment=kitchen/avt", *ENCODER)
    return [
        Job("training from videos", lambda out: training(world, out, *films, "source.reading=films"), run_files),
        Job(
            "training from videos, two loader processes",
            lambda out: training(world, out, *films, "source.reading=films", "runtime.num_workers=2"),
            run_files,
        ),
        Job("training from a store", lambda out: training(world, out, *from_store(world)), run_files),
        Job("extraction", lambda out: extraction(world, out), lambda out: files_of(out, ".safetensors", ".json")),
        Job(
            "transcoding",
            lambda out: [
                "data",
                "transcode",
                world.kitchen / "videos",
                "--short-side",
                32,
                "--workers",
                1,
                "--out",
                out,
            ],
            lambda out: files_of(out, ".mp4"),
        ),
        Job(
            "visual prototypes",
            lambda out: ["prototypes", "visual", world.recognition, "--out", out / "visual.safetensors"],
            lambda out: files_of(out, ".safetensors"),
        ),
    ]


def done(process: BaseProcess, log: Path) -> None:
    code = finish(process, timeout_s=TIMEOUT_S)
    hold(code == 0, f"ended with {code}:\n{log.read_text()[-3000:]}")


def kill_and_resume(job: Job, folder: Path, num_kills: int, rng: random.Random) -> str:
    """Kill a command at random moments of its work and begin it again, until that has been done often enough.

    Returns:
        What was done, in words.

    Raises:
        TortureError: If it does not go on, ends otherwise than one that was never killed, or leaves half a file.
    """
    log = folder / "log.txt"
    whole = folder / "whole"
    begin_s = time.monotonic()
    done(start(job.words(whole), log), log)
    length_s = time.monotonic() - begin_s
    expected = job.result(whole)
    hold(expected, "there is something to compare")
    num_killed = num_runs = 0
    while num_killed < num_kills:
        out = folder / f"killed{num_runs}"
        while True:
            # A wrong clock changes nothing either.
            process = start(job.words(out), log, clock_s=rng.choice((-86_400.0, 0.0, 86_400.0)))
            process.join(rng.uniform(0.0, length_s) if num_killed < num_kills else TIMEOUT_S)
            if not process.is_alive():
                done(process, log)
                break
            process.kill()
            process.join()
            num_killed += 1
        found = job.result(out)
        for name in expected.keys() | found.keys():
            hold(found.get(name) == expected.get(name), f"{name} of run {num_runs} is not that of a run never killed")
        left = [str(path) for path in out.parent.rglob("*") if path.suffix in (".lock", ".part")]
        left += [str(path) for path in (out / "run").rglob("*.partial")]
        hold(not left, f"left behind: {left}")
        num_runs += 1
    return f"{num_killed} kills, {num_runs} runs, each with the bits of one never killed ({length_s:.1f} s)"


def stop_a_rank(world: World, folder: Path, number: int) -> str:
    """Stop or kill one of two processes of a run; the other one ends by itself and says why."""
    told = []
    for victim in (0, 1):
        out = folder / f"victim{victim}"
        out.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        words = training(world, out, *from_store(world), "runtime.timeout_s=10", "optim.epochs=5000")
        common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        logs = [out / f"log{rank}.txt" for rank in range(2)]
        ranks = [start(words, log, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank, log in enumerate(logs)]
        try:
            while len(list_checkpoints(out / "run" / "checkpoints")) < 2:
                hold(all(rank.is_alive() for rank in ranks), "\n".join(log.read_text()[-3000:] for log in logs))
                time.sleep(0.05)
            begin_s = time.monotonic()
            pid = ranks[victim].pid
            assert pid is not None
            os.kill(pid, number)
            code = finish(ranks[1 - victim], timeout_s=60)
            told.append(f"{time.monotonic() - begin_s:.1f} s")
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()
        text = logs[1 - victim].read_text()
        hold(code == 2 and "another process of this run ended, or gave no answer" in text, f"{code}: {text[-2000:]}")
    return f"the other process ended with one message after {' and '.join(told)}"


def replace_videos(world: World, folder: Path) -> str:
    """Put another video in the place of one that is in use: in place, and by a new file of the same name."""
    told = []
    for how in ("overwritten", "replaced"):
        place = World(folder / how)
        shutil.copytree(world.kitchen, place.kitchen, copy_function=shutil.copy2)
        shutil.copytree(world.recognition, place.recognition)
        films = ("experiment=kitchen/avt", *ENCODER, "source.reading=films", "optim.epochs=500")
        commands = {
            "train": training(place, place.root, *films),
            "extract": extraction(place, place.root / "store"),
            "transcode": [
                "data",
                "transcode",
                place.kitchen / "videos",
                "--workers",
                1,
                "--out",
                place.root / "copies",
            ],
        }
        videos = sorted((place.kitchen / "videos").rglob("*.mp4"))
        for name, words in commands.items():
            log = place.root / f"{name}.txt"
            # It never ends: the videos change as soon as the command has begun to read.
            process = start(words, log)
            deadline_s = time.monotonic() + TIMEOUT_S
            while process.is_alive() and time.monotonic() < deadline_s:
                for path in videos:
                    content = path.read_bytes()
                    if how == "replaced":
                        path.with_suffix(".new").write_bytes(content)
                        path.with_suffix(".new").replace(path)
                    else:
                        path.write_bytes(content)
                time.sleep(0.01)
            code = finish(process, timeout_s=1)
            text = log.read_text()
            named = [path for path in videos if f"{path}: was changed or replaced while it was in use" in text]
            # A video may also be met while it is half-written; then that is said, by its name.
            named += [path for path in videos if f"{path}: " in text]
            hold(code == 2 and named, f"{name}, videos {how}: {code} {text[-2000:]}")
            told.append(name)
    return f"{', '.join(told[:3])}: an error that names the video, {len(told)} times"


def watch(process: BaseProcess, marks: Callable[[], int]) -> list[tuple[int, int, int]]:
    """Return (mark, resident MiB, open descriptors) of a process whenever the mark grows, until it ends."""
    seen: list[tuple[int, int, int]] = []
    while process.is_alive():
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            num_open = len(os.listdir(f"/proc/{process.pid}/fd"))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            break
        mark = marks()
        if mark and (not seen or seen[-1][0] != mark):
            seen.append((mark, pages * os.sysconf("SC_PAGESIZE") >> 20, num_open))
        time.sleep(0.01)
    return seen


def wear_out(world: World, folder: Path, *source: str) -> str:
    """Train for ten epochs; memory and descriptors at the end are those after the second epoch.

    Args:
        world: Holds the kitchen.
        folder: Where the run goes.
        source: What is read.
    """
    folder.mkdir(parents=True)
    log, metrics = folder / "log.txt", folder / "run" / "metrics.jsonl"
    words = training(world, folder, *source, "optim.epochs=10", "optim.batch_size=32", "optim.accumulate=1")
    process = start([*words, "runtime.checkpoint_every=0", "runtime.evaluate_every=1"], log)

    def num_epochs() -> int:
        return metrics.read_text().count('"validation"') if metrics.exists() else 0

    seen = watch(process, num_epochs)
    done(process, log)
    hold(len(seen) >= 8, f"epochs seen: {seen}")
    (_, early_mib, early_open), (_, late_mib, late_open) = seen[1], seen[-1]
    hold(late_mib <= 1.03 * early_mib + 8, f"memory grew (epoch, MiB, descriptors): {seen}")
    hold(late_open <= early_open + 2, f"descriptors grew (epoch, MiB, descriptors): {seen}")
    num_clips = int(re.findall(r"(\d+) training clips", log.read_text())[0])
    return (
        f"10 epochs of {num_clips} clips: {early_mib} MiB and {early_open} descriptors after epoch {seen[1][0]}, "
        f"{late_mib} and {late_open} after epoch {seen[-1][0]}"
    )


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


def wear_out_videos(folder: Path) -> str:
    """Read 1,000 clips of 20 videos in each epoch."""
    world = World(folder)
    size = {"height": 48, "width": 48, "fps": 10, "num_unseen_participants": 0}
    build_kitchen(
        world.kitchen,
        KitchenConfig(num_train_videos=20, num_validation_videos=2, actions_per_video=50, **size),
        num_processes=1,
    )
    return wear_out(world, folder / "out", "experiment=kitchen/avt", *ENCODER, "source.reading=films")


def wear_out_store(folder: Path) -> str:
    """Read 10,000 clips of 100 videos in each epoch."""
    world = World(folder)
    build_kitchen(
        world.kitchen,
        KitchenConfig(num_train_videos=100, num_validation_videos=4, actions_per_video=100, num_unseen_participants=0),
        num_processes=1,
        with_films=False,
    )
    write_random_store(world.kitchen, world.store)
    return wear_out(world, folder / "out", *from_store(world, 16))


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    rows: list[tuple[str, bool, str]] = []

    def attempt(name: str, work: Callable[[], str]) -> None:
        begin_s = time.monotonic()
        try:
            rows.append((name, True, work()))
        except (TortureError, TimeoutError) as err:
            rows.append((name, False, str(err)))
        print(f"{name}: {'ok' if rows[-1][1] else 'FAILED'}, {time.monotonic() - begin_s:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        world = World.build(root / "world")
        work = jobs(world)
        for idx, job in enumerate(work):
            share = options.kills * (idx + 1) // len(work) - options.kills * idx // len(work)
            folder = root / f"job{idx}"
            folder.mkdir()
            attempt(job.name, lambda job=job, folder=folder, share=share: kill_and_resume(job, folder, share, rng))
        attempt("a killed rank", lambda: stop_a_rank(world, root / "killed", signal.SIGKILL))
        attempt("a stopped rank", lambda: stop_a_rank(world, root / "stopped", signal.SIGSTOP))
        attempt("videos that change", lambda: replace_videos(world, root / "changing"))
        attempt("wear by videos", lambda: wear_out_videos(root / "videos"))
        attempt("wear by a store", lambda: wear_out_store(root / "stored"))
    width = max(len(name) for name, _, _ in rows)
    print()
    for name, is_ok, text in rows:
        print(f"{name:{width}}  {'ok    ' if is_ok else 'FAILED'}  {text}")
    return 0 if all(is_ok for _, is_ok, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
