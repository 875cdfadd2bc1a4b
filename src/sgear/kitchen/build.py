"""Write a kitchen world to disk: annotations, films, and the record of what they were made from.

`kitchen.json` is written first and claims the folder for one config. Films appear under their names only when they
are complete, so an interrupted build goes on where it stopped and a complete one is reused.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from sgear.datasets.benchmark import Benchmark
from sgear.datasets.epic100 import load_epic100
from sgear.errors import ConfigError
from sgear.files import quoted
from sgear.kitchen.annotations import write_annotations
from sgear.kitchen.recipes import LAW_VERSION
from sgear.kitchen.render import render_film
from sgear.kitchen.world import LOOK_VERSION, KitchenConfig, KitchenFilm, KitchenWorld, make_world

RECORD_NAME = "kitchen.json"


def film_path(root: Path, film: KitchenFilm) -> Path:
    """Return where a film of a built kitchen lies."""
    return root / "videos" / film.participant_id / f"{film.video_id}.mp4"


def build_kitchen(
    root: Path,
    config: KitchenConfig,
    *,
    num_processes: int,
    progress: Callable[[int, int], None] | None = None,
    with_films: bool = True,
) -> Benchmark:
    """Make a kitchen in a folder, or reuse what is already there.

    Args:
        root: Folder of this kitchen: new, empty, or of the same config.
        config: The world to make.
        num_processes: Films that are rendered at the same time, >= 1.
        progress: Called with (films done, films in all), first for what was already there.
        with_films: Render the films; without them the kitchen has annotations and features only.

    Returns:
        The benchmark, read back by the loader of EPIC-KITCHENS-100.

    Raises:
        ValueError: If `num_processes` is less than 1.
        ConfigError: If the folder holds another kitchen or other files.
    """
    if num_processes < 1:
        raise ValueError(f"num_processes must be at least 1, got {num_processes}")
    world = make_world(config)
    _claim(root, world)
    write_annotations(world, root / "annotations")
    if not with_films:
        return replace(load_epic100(root / "annotations"), name="kitchen")
    missing = [film for film in world.films if not film_path(root, film).exists()]
    done = len(world.films) - len(missing)
    if progress:
        progress(done, len(world.films))
    jobs = [(world, film.video_id, film_path(root, film)) for film in missing]
    for _ in _run(jobs, num_processes):
        done += 1
        if progress:
            progress(done, len(world.films))
    return replace(load_epic100(root / "annotations"), name="kitchen")


def read_config(root: Path) -> KitchenConfig:
    """Return the config of the kitchen in a folder.

    Raises:
        ConfigError: If the folder holds no kitchen, or one of another version.
    """
    path = root / RECORD_NAME
    if not path.is_file():
        raise ConfigError(f"{root}: no kitchen there; make one with: sgear data kitchen {quoted(root)}")
    try:
        record = json.loads(path.read_text())
        return KitchenConfig(**record["config"])
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path}: not a record of this version's kitchens ({err}); make it again") from err


def _claim(root: Path, world: KitchenWorld) -> None:
    """Write the record of a new kitchen, or check that the folder holds this very one."""
    record = {
        "config": asdict(world.config),
        "law_version": LAW_VERSION,
        "look_version": LOOK_VERSION,
        "digest": world.digest,
    }
    path = root / RECORD_NAME
    if not path.exists():
        if root.exists() and any(root.iterdir()):
            raise ConfigError(f"{root} holds files that are not of a kitchen; choose a new or empty folder")
        root.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{RECORD_NAME}.{os.getpid()}.part")
        partial.write_text(json.dumps(record, indent=2) + "\n")
        partial.replace(path)
        return
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as err:
        raise ConfigError(f"{path} is not valid JSON ({err}); delete the folder or choose another one") from err
    if found != record:
        different = [name for name in record if not isinstance(found, dict) or found.get(name) != record[name]]
        raise ConfigError(
            f"{root} holds another kitchen: {', '.join(different)} differ from what is asked for "
            f"({record['config']}). Choose another folder, or delete this one."
        )


def _run(jobs: list[tuple[KitchenWorld, str, Path]], num_processes: int) -> Iterator[None]:
    if num_processes == 1 or len(jobs) <= 1:
        for job in jobs:
            yield _render(job)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(num_processes, len(jobs))) as pool:
        yield from pool.imap_unordered(_render, jobs)


def _render(job: tuple[KitchenWorld, str, Path]) -> None:
    render_film(*job)
