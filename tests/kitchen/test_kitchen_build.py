"""Builds on disk: complete, resumable, and never over another kitchen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sgear.errors import ConfigError
from sgear.kitchen import KitchenConfig, build_kitchen, film_path, make_world, world_benchmark

CONFIG = KitchenConfig(
    num_train_videos=2,
    num_validation_videos=2,
    num_participants=3,
    num_unseen_participants=1,
    actions_per_video=2,
    height=64,
    width=96,
)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("builds") / "kitchen"
    build_kitchen(root, CONFIG, num_processes=2)
    return root


def test_build_makes_every_film_and_returns_the_world(kitchen: Path) -> None:
    world = make_world(CONFIG)
    benchmark = build_kitchen(kitchen, CONFIG, num_processes=1)
    assert benchmark.name == "kitchen"
    assert benchmark.train.frame.equals(world_benchmark(world).train.frame)
    expected = {film_path(kitchen, film) for film in world.films}
    assert set((kitchen / "videos").rglob("*.*")) == expected
    assert film_path(kitchen, world.films[0]) == kitchen / "videos" / "P01" / "P01_01.mp4"
    assert json.loads((kitchen / "kitchen.json").read_text())["digest"] == world.digest


def test_complete_build_is_reused(kitchen: Path) -> None:
    times_ns = {path: path.stat().st_mtime_ns for path in (kitchen / "videos").rglob("*.mp4")}
    calls: list[tuple[int, int]] = []
    build_kitchen(kitchen, CONFIG, num_processes=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 4)]
    assert times_ns == {path: path.stat().st_mtime_ns for path in times_ns}


def test_interrupted_build_renders_only_what_is_missing(kitchen: Path) -> None:
    lost, kept = (film_path(kitchen, film) for film in make_world(CONFIG).films[:2])
    content, kept_ns = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    calls: list[tuple[int, int]] = []
    build_kitchen(kitchen, CONFIG, num_processes=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 4), (4, 4)]
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == kept_ns


def test_other_config_in_the_same_folder_is_refused(kitchen: Path) -> None:
    with pytest.raises(ConfigError, match=r"another kitchen: config, digest differ"):
        build_kitchen(kitchen, replace(CONFIG, seed=1), num_processes=1)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    with pytest.raises(ConfigError, match="not of a kitchen"):
        build_kitchen(tmp_path, CONFIG, num_processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["annotations"]


def test_no_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_processes"):
        build_kitchen(tmp_path / "new", CONFIG, num_processes=0)
