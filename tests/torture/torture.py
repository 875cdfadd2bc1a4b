"""Kill, stop, replace and wear out what the commands work on, and compare what they end with.

    make torture                                             50 kills and everything else
    python tests/torture/torture.py --only extraction --kills 5 --seed 1

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from forked import Clock, finish, kill, kill_all, start, survivors
from world import (
    ENCODER,
    FROM_VIDEOS,
    TIMEOUT_S,
    Job,
    TortureError,
    World,
    checkpoints,
    done,
    extraction,
    from_store,
    half_written,
    hold,
    jobs,
    num_epochs,
    result,
    training,
    transcoding,
    write_random_store,
)

from sgear.kitchen import KitchenConfig, build_kitchen

DAY_S = 86_400.0


def kill_and_resume(job: Job, folder: Path, num_kills: int, rng: random.Random) -> str:
    """Kill a command at random moments of its work and begin it again, until that has been done often enough.

    Half of the moments are drawn from all its time, half are those at which a file is half-written.

    Returns:
        What was done, in words.

    Raises:
        TortureError: If it does not go on, ends otherwise than one that was never killed, or leaves anything behind.
    """
    folder.mkdir(parents=True)
    log, whole = folder / "log.txt", folder / "whole"
    begin_s = time.monotonic()
    done(start(job.words(whole), log), log)
    length_s = time.monotonic() - begin_s
    expected = result(whole)
    hold(expected, "there is something to compare")
    killed: list[BaseProcess] = []
    num_runs = num_half = num_clocks = 0
    while len(killed) < num_kills:
        out = folder / f"killed{num_runs}"
        while True:
            # A clock that is set while it runs changes nothing either, nor do files from its future.
            clock = Clock(rng.choice((-DAY_S, 0.0, DAY_S)), rng.uniform(0.0, length_s))
            process = start(job.words(out), log, clock=clock)
            num_clocks += bool(clock.offset_s)
            if len(killed) < num_kills:
                _wait_for_moment(process, out, rng.uniform(0.0, length_s), is_aimed=rng.random() < 0.5)
            else:
                process.join(TIMEOUT_S)
            if not process.is_alive():
                done(process, log)
                break
            kill(process, whole_session=rng.random() < 0.5)
            killed.append(process)
            num_half += half_written(out)
            _redate(out, rng.choice((-DAY_S, 0.0, DAY_S)))
        found = result(out)
        for name in sorted(expected.keys() | found.keys()):
            hold(name in found, f"{name} of run {num_runs} is missing")
            hold(name in expected, f"{name} of run {num_runs} was left behind")
            hold(found[name] == expected[name], f"{name} of run {num_runs} is not that of a run never killed")
        shutil.rmtree(out)
        num_runs += 1
    left = [pid for process in killed for pid in survivors(process, timeout_s=60)]
    hold(not left, f"processes left behind: {left}")
    return (
        f"{len(killed)} kills, {num_half} of them while a file was written; {num_clocks} starts whose clock was set; "
        f"{num_runs} runs, each with the bits of one never killed, which takes {length_s:.1f} s"
    )


def _wait_for_moment(process: BaseProcess, out: Path, after_s: float, *, is_aimed: bool) -> None:
    """Wait for a time, and then for a half-written file, if a moment is aimed at; not longer than for the end."""
    process.join(after_s)
    while is_aimed and process.is_alive() and not half_written(out):
        time.sleep(0.0005)


def _redate(out: Path, offset_s: float) -> None:
    """Date all files as if the clock had been wrong when they were written."""
    for path in [*out.rglob("*")]:
        when_s = path.stat().st_mtime + offset_s
        os.utime(path, (when_s, when_s))


@contextmanager
def two_ranks(world: World, out: Path) -> Iterator[tuple[list[BaseProcess], list[Path]]]:
    """Start one run in two processes, and wait until it has two checkpoints; killed at the end of the block."""
    out.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = training(world, out, *from_store(world), "runtime.timeout_s=10", "optim.epochs=5000")
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    logs = [out / f"log{rank}.txt" for rank in range(2)]
    ranks = [start(words, log, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank, log in enumerate(logs)]
    try:
        while len(checkpoints(out)) < 2:
            hold(all(rank.is_alive() for rank in ranks), "\n".join(log.read_text()[-3000:] for log in logs))
            time.sleep(0.05)
        yield ranks, logs
    finally:
        for rank in ranks:
            kill(rank, whole_session=True)


def stop_a_rank(world: World, folder: Path, number: int) -> str:
    """Stop or kill one of two processes of a run; the other one ends by itself and says why."""
    told = []
    for victim in (0, 1):
        with two_ranks(world, folder / f"victim{victim}") as (ranks, logs):
            begin_s = time.monotonic()
            pid = ranks[victim].pid
            assert pid is not None
            os.kill(pid, number)
            code = finish(ranks[1 - victim], timeout_s=60)
            told.append(f"{time.monotonic() - begin_s:.1f} s")
        text = logs[1 - victim].read_text()
        hold(code == 2 and "another process of this run ended, or gave no answer" in text, f"{code}: {text[-2000:]}")
    return f"the other process ended with one message after {' and '.join(told)}"


def _put(path: Path, content: bytes, how: str) -> None:
    """Write a file anew, in place or by a new file of its name."""
    if how == "replaced":
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").replace(path)
    else:
        path.write_bytes(content)


def change_inputs(world: World, folder: Path) -> str:
    """Put other files in the place of videos and stored features that are in use."""
    told = []
    for how in ("overwritten", "replaced"):
        place = World(folder / how)
        for kept in ("kitchen", "recognition", "store"):
            shutil.copytree(world.root / kept, place.root / kept, copy_function=shutil.copy2)
        # They never end by themselves.
        endless = ("optim.epochs=5000", "runtime.evaluate_every=0")
        commands = {
            "training from videos": training(place, place.root / "a", *FROM_VIDEOS, *endless),
            "training from a store": training(place, place.root / "b", *from_store(place), *endless),
            "extraction": extraction(place, place.root / "c"),
            "transcoding": transcoding(place, place.root / "d"),
        }
        for name, words in commands.items():
            inputs = place.store / "videos" if "store" in name else place.videos
            log = folder / f"{how} {name}.txt"
            process = start(words, log)
            if name.startswith("training"):
                while not checkpoints(place.root / ("b" if "store" in name else "a")):
                    hold(process.is_alive(), f"{name}: {log.read_text()[-2000:]}")
                    time.sleep(0.01)
            contents = {path: path.read_bytes() for path in sorted(inputs.rglob("*")) if path.is_file()}
            deadline_s = time.monotonic() + TIMEOUT_S
            while process.is_alive() and time.monotonic() < deadline_s:
                for path, content in contents.items():
                    _put(path, content, how)
                time.sleep(0.01)
            code = finish(process, timeout_s=1)
            text = log.read_text()
            # A file may also be met while it is half-written; then that is said, by its name.
            hold(code == 2 and any(f"{path}: " in text for path in contents), f"{name}, {how}: {code} {text[-2000:]}")
            told.append(name)
    return f"{', '.join(told[: len(told) // 2])}: an error that names the file, {len(told)} times"


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
        time.sleep(0.05)
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
    seen = watch(process, lambda: num_epochs(metrics))
    done(process, log)
    hold(len(seen) >= 8, f"epochs seen: {seen}")
    (_, early_mib, early_open), (_, late_mib, late_open) = seen[1], seen[-1]
    hold(late_mib <= 1.03 * early_mib + 8, f"memory grew (epoch, MiB, descriptors): {seen}")
    hold(late_open <= early_open + 2, f"descriptors grew (epoch, MiB, descriptors): {seen}")
    num_clips = int(re.findall(r"(\d+) training clips", log.read_text())[0])
    figures = ", ".join(f"{epoch}: {mib} MiB {num_open}" for epoch, mib, num_open in seen)
    return f"10 epochs of {num_clips} clips; memory and descriptors after epoch {figures}"


def wear_out_videos(folder: Path) -> str:
    """Read 1,000 clips of 20 videos in each epoch."""
    world = World(folder)
    size = {"height": 48, "width": 48, "fps": 10, "num_unseen_participants": 0}
    kitchen = KitchenConfig(num_train_videos=20, num_validation_videos=2, actions_per_video=50, **size)
    build_kitchen(world.kitchen, kitchen, num_processes=1)
    return wear_out(world, folder / "out", "experiment=kitchen/avt", *ENCODER, "source.reading=videos")


def wear_out_store(folder: Path) -> str:
    """Read 10,000 clips of 100 videos in each epoch."""
    world = World(folder)
    kitchen = KitchenConfig(
        num_train_videos=100, num_validation_videos=4, actions_per_video=100, num_unseen_participants=0
    )
    build_kitchen(world.kitchen, kitchen, num_processes=1, with_videos=False)
    write_random_store(world.kitchen, world.store)
    # Rows of random numbers end where the annotations do, the videos a little later.
    return wear_out(world, folder / "out", *from_store(world, 16), "source.check_clock=false")


def parts(world: World, root: Path, num_kills: int, seed: int) -> dict[str, Callable[[], str]]:
    """Return all parts by name; the kills are spread evenly over the commands that are killed."""
    killed = jobs(world)
    share = [num_kills * (idx + 1) // len(killed) - num_kills * idx // len(killed) for idx in range(len(killed))]
    return {
        **{
            job.name: lambda job=job, num=num: kill_and_resume(
                job, root / job.name, num, random.Random(f"{seed} {job.name}")
            )
            for job, num in zip(killed, share, strict=True)
        },
        "killed-rank": lambda: stop_a_rank(world, root / "killed", signal.SIGKILL),
        "stopped-rank": lambda: stop_a_rank(world, root / "stopped", signal.SIGSTOP),
        "changing-files": lambda: change_inputs(world, root / "changing"),
        "wear-by-videos": lambda: wear_out_videos(root / "videos"),
        "wear-by-a-store": lambda: wear_out_store(root / "stored"),
    }


def main() -> int:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*parts(World(Path()), Path(), 0, 0)]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--kills", type=int, default=50, help="of all commands together that are chosen")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    rows: list[tuple[str, bool, str]] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        try:
            world = World.build(root / "world")
            num_killed = sum(job.name in options.only for job in jobs(world))
            num_kills = options.kills * len(jobs(world)) // max(1, num_killed)
            for part, work in parts(world, root, num_kills, options.seed).items():
                if part not in options.only:
                    continue
                begin_s = time.monotonic()
                try:
                    rows.append((part, True, work()))
                except (TortureError, TimeoutError) as err:
                    rows.append((part, False, str(err)))
                took_s = time.monotonic() - begin_s
                _, is_ok, text = rows[-1]
                print(f"{part}: {'ok' if is_ok else 'FAILED'}, {took_s:.0f} s: {text}", flush=True)
        finally:
            kill_all()
    width = max(len(name) for name, _, _ in rows)
    print()
    for name, is_ok, text in rows:
        print(f"{name:{width}}  {'ok    ' if is_ok else 'FAILED'}  {text}")
    return 0 if all(is_ok for _, is_ok, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
